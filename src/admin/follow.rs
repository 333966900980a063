//! `GET /api/v1/events`: what happened and happens, and on demand what traffic does, as Server-Sent Events.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt};
use serde_json::json;
use tokio::sync::{Semaphore, SemaphorePermit, broadcast, watch};

use super::parameters::Parameters;
use super::right::Right;
use super::state::AdminState;
use super::writes::{Refused, bad, error};
use crate::clock;
use crate::control::{Event, EventLog};

/// Who may follow at once: each costs a connection, and what is sent to it.
const FOLLOWERS: usize = 4_096;

static PLACES: Semaphore = Semaphore::const_new(FOLLOWERS);

/// So often something comes, if only a comment: whoever hears nothing for longer hears nothing of what happens either.
const BEAT: Duration = Duration::from_secs(5);

/// What stands between the events that are kept and those to come.
const NOW: &str = "now";

/// First what is kept since `?since=ID` (or `Last-Event-ID`), a comment, then what comes; with `?with=traffic` also every
/// report of what traffic does, without an id. Whoever loses the right to see it is sent no more: the event of the reload
/// that takes it away is what ends the answer.
pub(super) async fn events(
    State(state): State<Arc<AdminState>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Refused> {
    let given = Parameters::of(&uri, &["since", "with"])?;
    let resumed = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok());
    let (since, with) = (given.text("since"), given.text("with"));
    let since = match since.as_deref().or(resumed).map(str::parse::<u64>) {
        None => 0,
        Some(Ok(since)) => since,
        Some(Err(_)) => return Err(bad("`since` must be an event's number")),
    };
    let with_traffic = match with.as_deref() {
        None => false,
        Some("traffic") => true,
        Some(_) => return Err(bad("`with` may be `traffic`")),
    };
    let traffic = with_traffic.then(|| state.traffic.follow());
    let mut right = Right::of(state.clone(), &headers);
    let may_see = move || right.holds();
    Ok(match PLACES.try_acquire() {
        Ok(place) => follow(state.control.events(), since, traffic, may_see, place),
        Err(_) => full(),
    })
}

fn full() -> Response {
    let retry = [("retry-after", "5")];
    let full = format!("{FOLLOWERS} follow the events already");
    (retry, error(StatusCode::SERVICE_UNAVAILABLE, full)).into_response()
}

fn follow(
    events: &EventLog,
    since: u64,
    traffic: Option<watch::Receiver<Arc<str>>>,
    mut may_see: impl FnMut() -> bool + Send + 'static,
    place: SemaphorePermit<'static>,
) -> Response {
    let (past, follower) = events.follow(since);
    let past = stream::iter(past).map(|event| sse(&event));
    let now = stream::iter([Sent::default().comment(NOW)]);
    let next = following(follower).map(|event| sse(&event));
    let events = past.chain(now).chain(next).map(Some);
    // Followers that fall behind are to be disconnected: the end of the events is the end of all.
    let events = events.chain(stream::iter([None]));
    let reports: Pin<Box<dyn Stream<Item = Option<Sent>> + Send>> = match traffic {
        Some(traffic) => Box::pin(reports(traffic).map(Some)),
        None => Box::pin(stream::empty()),
    };
    let all = stream::select(events, reports)
        .take_while(move |sent| std::future::ready(sent.is_some() && may_see()))
        .filter_map(std::future::ready)
        .map(move |sent| {
            let _held = &place;
            Ok::<_, Infallible>(sent)
        });
    Sse::new(all)
        .keep_alive(KeepAlive::new().interval(BEAT))
        .into_response()
}

/// What comes, until the follower falls behind: it then comes back with the last id that it saw.
fn following(follower: broadcast::Receiver<Event>) -> impl Stream<Item = Event> {
    stream::unfold(follower, |mut follower| async move {
        follower.recv().await.ok().map(|event| (event, follower))
    })
}

/// The report that there is and those that come; who is slow gets the latest alone.
fn reports(traffic: watch::Receiver<Arc<str>>) -> impl Stream<Item = Sent> {
    stream::unfold((traffic, true), |(mut traffic, is_first)| async move {
        if !is_first {
            traffic.changed().await.ok()?;
        }
        let report = traffic.borrow_and_update().clone();
        let sent = Sent::default().event("traffic").data(report);
        Some((sent, (traffic, false)))
    })
}

fn sse(event: &Event) -> Sent {
    let data = json!({
        "id": event.id,
        "at": clock::rfc3339(event.at_ms),
        "kind": event.kind.as_str(),
        "region": event.region,
        "service": event.service,
        "message": event.message,
    });
    Sent::default()
        .id(event.id.to_string())
        .event(event.kind.as_str())
        .data(data.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Kind;

    #[tokio::test]
    async fn so_many_follow_and_no_more_and_whoever_leaves_makes_room() {
        let log = EventLog::new(1);
        static PLACES: Semaphore = Semaphore::const_new(FOLLOWERS);
        let come = || Some(follow(&log, 0, None, || true, PLACES.try_acquire().ok()?));
        let mut following: Vec<Response> = (0..4_096).map(|_| come().unwrap()).collect();
        assert!(come().is_none());
        following.pop();
        following.push(come().unwrap());
        assert!(come().is_none());
    }

    #[tokio::test]
    async fn what_is_kept_ends_with_a_comment_and_a_silent_stream_has_one_every_5_s() {
        tokio::time::pause();
        let log = EventLog::new(1);
        log.record(Event::new(Kind::Reload, 0, "kept".to_owned()));
        static PLACES: Semaphore = Semaphore::const_new(1);
        let place = PLACES.try_acquire().unwrap();
        let mut body = follow(&log, 0, None, || true, place)
            .into_body()
            .into_data_stream();
        let mut next =
            async || String::from_utf8(body.next().await.unwrap().unwrap().into()).unwrap();
        assert!(next().await.contains("\"message\":\"kept\""));
        assert_eq!(next().await, ": now\n\n");
        let quiet_since = tokio::time::Instant::now();
        assert_eq!(next().await, ":\n\n");
        // Tokio's timers are right within a millisecond.
        assert_eq!(quiet_since.elapsed().as_secs(), 5);
        log.record(Event::new(Kind::Reload, 0, "new".to_owned()));
        assert!(next().await.contains("\"message\":\"new\""));
    }

    #[test]
    fn one_too_many_is_told_when_to_come_back() {
        let answer = full();
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()["retry-after"], "5");
    }
}
