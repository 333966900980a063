//! A region's counters and sets, over HTTP.

use std::sync::Arc;

use axum::extract::rejection::StringRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde_json::json;

use super::face::{LISTED_MAX, commit, failure, refuse, show_when_applied};
use super::region::Region;
use super::replica::Write;
use super::store::Store;

/// The longest member of a set.
const MEMBER_BYTES_MAX: usize = 512;
/// A number, with room for blanks.
const NUMBER_BYTES_MAX: usize = 64;

pub(super) fn router() -> Router<Arc<Region>> {
    let counter = get(value).post(count);
    Router::new()
        .route(
            "/counters/{*key}",
            counter.layer(DefaultBodyLimit::max(NUMBER_BYTES_MAX)),
        )
        .route("/sets/{key}", get(members))
        .route("/sets/{key}/{*member}", put(add).delete(remove))
}

async fn value(
    State(region): State<Arc<Region>>,
    Path(key): Path<String>,
    headers: HeaderMap,
) -> Response {
    let show = |store: &Store| match store.counter(&key) {
        // JSON's numbers end where many readers' do; the sum of many 64-bit totals is text beyond that.
        Some(counter) => match i64::try_from(counter.value()) {
            Ok(value) => shown(&region, &key, json!(value)),
            Err(_) => shown(&region, &key, json!(counter.value().to_string())),
        },
        None => failure(&region, StatusCode::NOT_FOUND, "no such counter"),
    };
    show_when_applied(&region, &headers, show).await
}

fn shown(region: &Region, key: &str, value: serde_json::Value) -> Response {
    Json(json!({ "key": key, "region": region.name().as_str(), "value": value })).into_response()
}

/// By the number in the body; by one without a body.
async fn count(
    State(region): State<Arc<Region>>,
    Path(key): Path<String>,
    by: Result<String, StringRejection>,
) -> Response {
    let by = match by {
        Ok(by) => by,
        Err(rejection) => return refuse(&region, rejection.status(), &rejection.body_text()),
    };
    let by = match by.trim() {
        "" => 1,
        by => match by.parse() {
            Ok(by) => by,
            Err(_) => {
                let usage = "say by how much as a whole number, such as 1 or -5";
                return refuse(&region, StatusCode::BAD_REQUEST, usage);
            }
        },
    };
    commit(&region, &key, Write::Count(by), |_, _| {})
}

async fn members(
    State(region): State<Arc<Region>>,
    Path(key): Path<String>,
    headers: HeaderMap,
) -> Response {
    let show = |store: &Store| match store.set(&key) {
        Some(set) => {
            let all = set.members();
            let listed: Vec<&str> = all.iter().copied().take(LISTED_MAX).collect();
            let more = all.len() > listed.len();
            let name = region.name().as_str();
            Json(json!({ "key": key, "region": name, "members": listed, "more": more }))
                .into_response()
        }
        None => failure(&region, StatusCode::NOT_FOUND, "no such set"),
    };
    show_when_applied(&region, &headers, show).await
}

async fn add(
    State(region): State<Arc<Region>>,
    Path((key, member)): Path<(String, String)>,
) -> Response {
    if member.len() > MEMBER_BYTES_MAX {
        let long = "a member has at most 512 bytes";
        return refuse(&region, StatusCode::URI_TOO_LONG, long);
    }
    commit(&region, &key, Write::Add(member.into()), |_, _| {})
}

async fn remove(
    State(region): State<Arc<Region>>,
    Path((key, member)): Path<(String, String)>,
) -> Response {
    commit(&region, &key, Write::Remove(member.into()), |_, _| {})
}
