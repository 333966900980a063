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
    let wait = field("wait").and_then(|(_, value)| parse_duration(value).ok());
    let mut replica = region.watch_replica();
    let news = replica.wait_for(|replica| positions(replica.applied()) != after);
    let most = wait.unwrap_or_default().min(WAIT_MAX);
    // Over or not, the answer says what is applied now.
    let _in_time = timeout(most, news).await.is_ok();
    face::answer(&region, "")
}

/// As `after` says it: how far, and not where epochs began.
fn positions(applied: &Applied) -> String {
    let applied = applied.to_string();
    let entries = applied
        .split(',')
        .filter_map(|entry| entry.split('@').next());
    entries.collect::<Vec<_>>().join(",")
}
