//! Long polls: a region answers as soon as it has applied something else than the asker knows of.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::Response;
use tokio::time::timeout;

use super::face;
use super::region::Region;
use super::vector::Applied;
use crate::units::parse_duration;

/// The longest that a poll is held.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// `GET /follow?after=VECTOR&wait=30s`.
pub(super) async fn follow(
    State(region): State<Arc<Region>>,
    Query(asked): Query<Vec<(String, String)>>,
) -> Response {
    let field = |name: &str| asked.iter().find(|(key, _)| key == name);
    let after = field("after").map_or("", |(_, value)| value);
    let wait = field("wait").map(|(_, value)| &**value);
    let mut replica = region.watch_replica();
    let news = replica.wait_for(|replica| positions(replica.applied()) != after);
    // Over or not, the answer says what is applied now.
    let _in_time = timeout(held_for(wait), news).await.is_ok();
    face::answer(&region, "")
}

/// Not at all without a duration.
fn held_for(wait: Option<&str>) -> Duration {
    let wait = wait.and_then(|wait| parse_duration(wait).ok());
    wait.unwrap_or_default().min(WAIT_MAX)
}

/// As `after` says it: how far, and not where epochs began.
fn positions(applied: &Applied) -> String {
    let applied = applied.to_string();
    let entries = applied
        .split(',')
        .filter_map(|entry| entry.split('@').next());
    entries.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_is_held_as_long_as_it_asks_up_to_a_minute() {
        for (wait, secs) in [
            (None, 0),
            (Some("soon"), 0),
            (Some("30s"), 30),
            (Some("60s"), 60),
            (Some("61s"), 60),
            (Some("1h"), 60),
        ] {
            assert_eq!(held_for(wait).as_secs(), secs, "{wait:?}");
        }
    }
}
