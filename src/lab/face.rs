//! What a region's clients meet: a key-value store over HTTP that reports its positions.
//!
//! Every answer carries `Meridian-Applied`, read in the same moment as the data that it answers
//! with, and takes the region's emulated round trip, half of it before the request is handled and
//! half after.

use std::sync::Arc;

use axum::extract::rejection::StringRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::causal::Dots;
use super::follow::follow;
use super::position::NotAVector;
use super::region::Region;
use super::register::{Register, Version};
use super::replica::{Commit, Effect, Refused, Replica, Write};
use super::store::Store;
use super::vector::{Applied, Required};
use super::{crdt_face, demo};
use crate::clock;

const APPLIED: HeaderName = HeaderName::from_static("meridian-applied");
const COMMITTED: HeaderName = HeaderName::from_static("meridian-committed");
const REQUIRE: HeaderName = HeaderName::from_static("meridian-require");
/// The versions of a key that a reader got, for a write that replaces them.
const SEEN: HeaderName = HeaderName::from_static("lab-seen");

/// The largest value.
const VALUE_BYTES_MAX: usize = 64 * 1024;
/// The longest key.
const KEY_BYTES_MAX: usize = 512;
/// How many keys are listed at most.
pub(super) const LISTED_MAX: usize = 1000;

/// Everything but replication.
pub(super) fn router(region: Arc<Region>) -> Router {
    let value = get(read).put(write).post(write).delete(delete);
    Router::new()
        .route("/", get(demo::home))
        .route("/health", get(health))
        .route("/follow", get(follow))
        .route("/kv", get(list))
        .route(
            "/kv/{*key}",
            value.layer(DefaultBodyLimit::max(VALUE_BYTES_MAX)),
        )
        .merge(crdt_face::router())
        .route("/echo", any(demo::echo))
        .route("/slow", get(demo::slow))
        .fallback(nothing_here)
        .layer(middleware::from_fn_with_state(Arc::clone(&region), travel))
        .with_state(region)
}

/// Emulates the distance.
async fn travel(State(region): State<Arc<Region>>, request: Request, next: Next) -> Response {
    let there = region.round_trip() / 2;
    sleep(there).await;
    let answer = next.run(request).await;
    sleep(region.round_trip().saturating_sub(there)).await;
    answer
}

async fn health(State(region): State<Arc<Region>>) -> Response {
    answer(&region, "ok")
}

async fn nothing_here(State(region): State<Arc<Region>>) -> Response {
    refuse(
        &region,
        StatusCode::NOT_FOUND,
        "nothing here; try / for what there is",
    )
}

async fn write(
    State(region): State<Arc<Region>>,
    Path(key): Path<String>,
    headers: HeaderMap,
    value: Result<String, StringRejection>,
) -> Response {
    match value {
        Ok(value) => put(&region, &key, &headers, Some(value.into())),
        Err(rejection) => refuse(&region, rejection.status(), &rejection.body_text()),
    }
}

async fn delete(
    State(region): State<Arc<Region>>,
    Path(key): Path<String>,
    headers: HeaderMap,
) -> Response {
    put(&region, &key, &headers, None)
}

fn put(region: &Region, key: &str, headers: &HeaderMap, value: Option<Arc<str>>) -> Response {
    let seen = match seen(headers) {
        Ok(seen) => seen,
        Err(error) => return refuse(region, StatusCode::BAD_REQUEST, &error.to_string()),
    };
    commit(
        region,
        key,
        Write::Put { value, seen },
        |replica, answer| {
            mark_seen(answer, replica.store().register(key));
        },
    )
}

/// `None`: the write names no versions.
fn seen(headers: &HeaderMap) -> Result<Option<Dots>, NotAVector> {
    let mut named = None;
    for value in headers.get_all(SEEN) {
        let dots: Dots = String::from_utf8_lossy(value.as_bytes()).parse()?;
        named.get_or_insert_with(Dots::default).merge(&dots);
    }
    Ok(named)
}

fn mark_seen(answer: &mut Response, register: Option<&Register>) {
    let seen = register.map(|register| HeaderValue::try_from(register.seen.to_string()));
    if let Some(Ok(seen)) = seen {
        answer.headers_mut().insert(SEEN, seen);
    }
}

/// Takes a write and answers with its position; `finish` adds to the answer.
pub(super) fn commit(
    region: &Region,
    key: &str,
    write: Write,
    finish: impl FnOnce(&Replica, &mut Response),
) -> Response {
    if key.len() > KEY_BYTES_MAX {
        let long = "a key has at most 512 bytes";
        return refuse(region, StatusCode::URI_TOO_LONG, long);
    }
    let taken = region.commit(key, write, |commit, replica| {
        let mut answer = stamp(replica.applied(), committed(region, key, commit));
        finish(replica, &mut answer);
        answer
    });
    taken.unwrap_or_else(|refused| refuse(region, status_of(refused), &refused.to_string()))
}

fn committed(region: &Region, key: &str, commit: Commit) -> Response {
    let status = match commit.effect {
        Effect::Created => StatusCode::CREATED,
        Effect::Replaced | Effect::Deleted => StatusCode::OK,
    };
    let mut written =
        json!({ "key": key, "region": region.name().as_str(), "seq": commit.position.seq });
    tell_epoch(&mut written, commit.position.epoch);
    let mut answer = (status, Json(written)).into_response();
    if let Ok(position) = HeaderValue::try_from(commit.position.to_string()) {
        answer.headers_mut().insert(COMMITTED, position);
    }
    answer
}

/// Only a store that was restored has one to tell.
fn tell_epoch(shown: &mut Value, epoch: u64) {
    if epoch > 0
        && let Some(shown) = shown.as_object_mut()
    {
        shown.insert("epoch".to_owned(), epoch.into());
    }
}

fn status_of(refused: Refused) -> StatusCode {
    match refused {
        Refused::Log | Refused::Store => StatusCode::INSUFFICIENT_STORAGE,
        Refused::Key => StatusCode::PAYLOAD_TOO_LARGE,
        Refused::Unseen | Refused::Counter => StatusCode::CONFLICT,
        Refused::NoMember => StatusCode::NOT_FOUND,
    }
}

async fn read(
    State(region): State<Arc<Region>>,
    Path(key): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let all = query.iter().any(|(name, _)| name == "siblings");
    let show = |store: &Store| {
        let register = store.register(&key);
        let shown = register.and_then(|register| {
            if all {
                show_siblings(&region, &key, register)
            } else {
                show_value(&region, &key, register)
            }
        });
        let Some(shown) = shown else {
            return failure(&region, StatusCode::NOT_FOUND, "no such key");
        };
        let mut answer = Json(shown).into_response();
        mark_seen(&mut answer, register);
        answer
    };
    show_when_applied(&region, &headers, show).await
}

/// The last write, and how many others stand beside it.
fn show_value(region: &Region, key: &str, register: &Register) -> Option<Value> {
    let held = register.held()?;
    let (name, by) = (region.name().as_str(), held.written_by.as_str());
    let mut shown = json!({
        "key": key, "value": held.value, "region": name, "written_by": by, "seq": held.position.seq,
    });
    tell_epoch(&mut shown, held.position.epoch);
    let siblings = register.present.len();
    if siblings > 1
        && let Some(shown) = shown.as_object_mut()
    {
        shown.insert("siblings".to_owned(), siblings.into());
    }
    Some(shown)
}

/// Every version that no other has replaced; a deletion is one whose value is null.
fn show_siblings(region: &Region, key: &str, register: &Register) -> Option<Value> {
    let siblings = register.siblings();
    siblings.iter().find(|version| version.value.is_some())?;
    let siblings: Vec<_> = siblings.into_iter().map(show_version).collect();
    Some(json!({
        "key": key, "region": region.name().as_str(), "seen": register.seen.to_string(), "siblings": siblings,
    }))
}

fn show_version(version: &Version) -> Value {
    let mut shown = json!({
        "value": version.value.as_deref(), "written_by": version.stamp.region.as_str(),
        "seq": version.position.seq, "at": clock::rfc3339(version.stamp.moment.unix_ms),
    });
    tell_epoch(&mut shown, version.position.epoch);
    shown
}

async fn list(State(region): State<Arc<Region>>, headers: HeaderMap) -> Response {
    let show = |store: &Store| {
        let mut keys = store.keys();
        let listed: Vec<&str> = keys.by_ref().take(LISTED_MAX).collect();
        let more = keys.next().is_some();
        Json(json!({ "region": region.name().as_str(), "keys": listed, "more": more }))
            .into_response()
    };
    show_when_applied(&region, &headers, show).await
}

/// Shows the data once it has what the reader must see, or answers 409: "not yet".
///
/// The 409 never carries a vector that has it after all: that would say that the conflict is the
/// client's own.
pub(super) async fn show_when_applied(
    region: &Region,
    headers: &HeaderMap,
    show: impl FnOnce(&Store) -> Response,
) -> Response {
    let required = match required(headers) {
        Ok(required) => required,
        Err(error) => return refuse(region, StatusCode::BAD_REQUEST, &error.to_string()),
    };
    region.catch_up(&required).await;
    region.read(|replica| {
        let answer = if replica.applied().satisfies(&required) {
            show(replica.store())
        } else {
            failure(region, StatusCode::CONFLICT, "not yet applied here")
        };
        stamp(replica.applied(), answer)
    })
}

fn required(headers: &HeaderMap) -> Result<Required, NotAVector> {
    headers
        .get_all(REQUIRE)
        .iter()
        .try_fold(Required::default(), |required, value| {
            let text = String::from_utf8_lossy(value.as_bytes());
            Ok(required.and(text.parse()?))
        })
}

pub(super) fn failure(region: &Region, status: StatusCode, error: &str) -> Response {
    let failure = json!({ "region": region.name().as_str(), "error": error });
    (status, Json(failure)).into_response()
}

pub(super) fn refuse(region: &Region, status: StatusCode, error: &str) -> Response {
    answer(region, failure(region, status, error))
}

/// An answer that shows nothing of the data.
pub(super) fn answer(region: &Region, answer: impl IntoResponse) -> Response {
    region.read(|replica| stamp(replica.applied(), answer))
}

fn stamp(applied: &Applied, answer: impl IntoResponse) -> Response {
    let mut answer = answer.into_response();
    // Names are letters and digits, so there is always a header of it.
    if let Ok(value) = HeaderValue::try_from(applied.to_string()) {
        answer.headers_mut().insert(APPLIED, value);
    }
    answer
}
