//! What a region's clients meet: a key-value store over HTTP that reports its positions.
//!
//! Every answer carries `Meridian-Applied`, read in the same moment as the data that it answers
//! with, and takes the region's emulated round trip, half of it before the request is handled and
//! half after.

use std::sync::Arc;

use axum::extract::rejection::StringRejection;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use serde_json::json;
use tokio::time::sleep;

use super::demo;
use super::follow::follow;
use super::region::Region;
use super::replica::{Effect, Full};
use super::store::Store;
use super::vector::{Applied, NotAVector, Required};

const APPLIED: HeaderName = HeaderName::from_static("meridian-applied");
const COMMITTED: HeaderName = HeaderName::from_static("meridian-committed");
const REQUIRE: HeaderName = HeaderName::from_static("meridian-require");

/// The largest value.
const VALUE_BYTES_MAX: usize = 64 * 1024;
/// The longest key.
const KEY_BYTES_MAX: usize = 512;
/// How many keys are listed at most.
const LISTED_MAX: usize = 1000;

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
    value: Result<String, StringRejection>,
) -> Response {
    match value {
        Ok(value) => commit(&region, &key, Some(&value)),
        Err(rejection) => refuse(&region, rejection.status(), &rejection.body_text()),
    }
}

async fn delete(State(region): State<Arc<Region>>, Path(key): Path<String>) -> Response {
    commit(&region, &key, None)
}

fn commit(region: &Region, key: &str, value: Option<&str>) -> Response {
    if key.len() > KEY_BYTES_MAX {
        return refuse(
            region,
            StatusCode::URI_TOO_LONG,
            "a key has at most 512 bytes",
        );
    }
    let (commit, applied) = match region.commit(key, value) {
        Ok(taken) => taken,
        Err(full @ (Full::Log | Full::Store)) => {
            return refuse(region, StatusCode::INSUFFICIENT_STORAGE, &full.to_string());
        }
    };
    let status = match commit.effect {
        Effect::Created => StatusCode::CREATED,
        Effect::Replaced | Effect::Deleted => StatusCode::OK,
    };
    let written = json!({ "key": key, "region": region.name().as_str(), "seq": commit.seq });
    let committed = [(COMMITTED, HeaderValue::from(commit.seq))];
    stamp(&applied, (status, committed, Json(written)))
}

async fn read(
    State(region): State<Arc<Region>>,
    Path(key): Path<String>,
    headers: HeaderMap,
) -> Response {
    let name = region.name().as_str();
    let show = |store: &Store| {
        match store.held(&key) {
        Some(held) => Json(json!({
            "key": key, "value": held.value, "region": name, "written_by": held.written_by.as_str(), "seq": held.seq,
        }))
        .into_response(),
        None => failure(&region, StatusCode::NOT_FOUND, "no such key"),
    }
    };
    show_when_applied(&region, &headers, show).await
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
async fn show_when_applied(
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

fn failure(region: &Region, status: StatusCode, error: &str) -> Response {
    let failure = json!({ "region": region.name().as_str(), "error": error });
    (status, Json(failure)).into_response()
}

fn refuse(region: &Region, status: StatusCode, error: &str) -> Response {
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
