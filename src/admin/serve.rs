//! The admin's routes and its listener.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router, middleware};
use futures_util::stream::{self, Stream, StreamExt};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::{ListensOn, guard};
use super::explain::{Question, QuestionError, explain};
use super::page;
use super::state::AdminState;
use super::status::status;
use super::writes::{self, error};
use crate::clock;
use crate::control::Event;

/// How long a client of the admin may take for a request head.
const HEADERS: std::time::Duration = std::time::Duration::from_secs(10);

/// How long a client that has just connected gets for its request at the end, and for its answer.
const LAST_REQUEST: std::time::Duration = std::time::Duration::from_millis(500);

/// Serves until `stop`.
pub async fn serve(
    listener: TcpListener,
    address: SocketAddr,
    state: Arc<AdminState>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let router = router(state, address);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let (service, stop) = (TowerToHyperService::new(router.clone()), stop.clone());
        tasks.spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS)
                .serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection);
            let over = async {
                stop.cancelled().await;
                tokio::time::sleep(LAST_REQUEST).await;
            };
            tokio::select! {
                // Whatever ends a client's connection is the client's business.
                _ = connection.as_mut() => {}
                () = over => {
                    connection.as_mut().graceful_shutdown();
                    let _ = tokio::time::timeout(LAST_REQUEST, connection).await;
                }
            }
        });
    }
}

fn router(state: Arc<AdminState>, address: SocketAddr) -> Router {
    let guarded = (state.clone(), ListensOn(address));
    Router::new()
        .route("/", get(page::html))
        .route("/dashboard.js", get(page::script))
        .route("/lag.js", get(page::lag_script))
        .route("/dashboard.css", get(page::style))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/api/v1/status", get(status_json))
        .route("/api/v1/explain", get(explain_json))
        .route("/api/v1/events", get(events))
        .route(
            "/api/v1/drains/{region}",
            put(writes::drain).delete(writes::undrain),
        )
        .route("/api/v1/reload", post(writes::reload))
        .route("/api/v1/positions/{region}", put(writes::positions))
        .method_not_allowed_fallback(|| async {
            error(StatusCode::METHOD_NOT_ALLOWED, "this cannot be done here")
        })
        .fallback(|| async { error(StatusCode::NOT_FOUND, "there is nothing here") })
        .layer(middleware::from_fn_with_state(guarded, guard))
        .with_state(state)
}

async fn readyz(State(state): State<Arc<AdminState>>) -> (StatusCode, &'static str) {
    if state.readiness.get() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

async fn metrics(State(state): State<Arc<AdminState>>) -> Response {
    let content_type = [("content-type", "text/plain; version=0.0.4; charset=utf-8")];
    (content_type, state.metrics.render()).into_response()
}

async fn status_json(State(state): State<Arc<AdminState>>) -> Response {
    match state.control.status().await {
        Ok(world) => Json(status(&state, &world)).into_response(),
        Err(closed) => error(StatusCode::SERVICE_UNAVAILABLE, closed.to_string()).into_response(),
    }
}

async fn explain_json(
    State(state): State<Arc<AdminState>>,
    Query(query): Query<Vec<(String, String)>>,
) -> Response {
    let field = |key: &str| {
        query
            .iter()
            .find(|(k, v)| k == key && !v.is_empty())
            .map(|(_, v)| v.clone())
    };
    let (Some(name), Some(client)) = (field("name"), field("client")) else {
        return error(StatusCode::BAD_REQUEST, "`name` and `client` are needed").into_response();
    };
    let client = match client.parse() {
        Ok(client) => client,
        Err(problem) => {
            return error(StatusCode::BAD_REQUEST, format!("`client`: {problem}")).into_response();
        }
    };
    let question = Question {
        name,
        client,
        record_type: field("type"),
        method: field("method"),
        token: field("token"),
    };
    let live = state.proxy.live.load_full();
    let now = (clock::unix_secs(), clock::steady_ms());
    match explain(
        &live.snapshot,
        &state.database.load(),
        &live.keyring,
        &question,
        now,
    ) {
        Ok(explanation) => Json(explanation.to_json()).into_response(),
        Err(problem @ QuestionError::UnknownName(_)) => {
            error(StatusCode::NOT_FOUND, problem.to_string()).into_response()
        }
        Err(
            problem @ (QuestionError::Type(_) | QuestionError::Method(_) | QuestionError::Token(_)),
        ) => error(StatusCode::BAD_REQUEST, problem.to_string()).into_response(),
    }
}

/// Server-Sent Events: first what is kept since `?since=ID` (or `Last-Event-ID`), then what comes.
async fn events(
    State(state): State<Arc<AdminState>>,
    headers: axum::http::HeaderMap,
    Query(query): Query<Vec<(String, String)>>,
) -> Response {
    let asked = query
        .iter()
        .find(|(key, _)| key == "since")
        .map(|(_, value)| value.as_str());
    let resumed = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok());
    let since = match asked.or(resumed).map(str::parse::<u64>) {
        None => 0,
        Some(Ok(since)) => since,
        Some(Err(_)) => {
            return error(StatusCode::BAD_REQUEST, "`since` must be an event's number")
                .into_response();
        }
    };
    let (past, follower) = state.control.events().follow(since);
    let past = stream::iter(past);
    let all = past
        .chain(following(follower))
        .map(|event| Ok::<_, Infallible>(sse(&event)));
    Sse::new(all)
        .keep_alive(KeepAlive::default())
        .into_response()
}

/// What comes, until the follower falls behind: it then comes back with the last id that it saw.
fn following(follower: broadcast::Receiver<Event>) -> impl Stream<Item = Event> {
    stream::unfold(follower, |mut follower| async move {
        follower.recv().await.ok().map(|event| (event, follower))
    })
}

fn sse(event: &Event) -> axum::response::sse::Event {
    let data = json!({
        "id": event.id,
        "at": clock::rfc3339(event.at_ms),
        "kind": event.kind.as_str(),
        "region": event.region,
        "service": event.service,
        "message": event.message,
    });
    axum::response::sse::Event::default()
        .id(event.id.to_string())
        .event(event.kind.as_str())
        .data(data.to_string())
}
