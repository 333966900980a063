//! The admin's routes and its listener.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::ALLOW;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Extension, Json, Router, middleware};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::{ListensOn, Peer, guard};
use super::aside::Aside;
use super::audit;
use super::body;
use super::countries::countries;
use super::desk::Desk;
use super::door::{Door, MOST_CONNECTIONS, MOST_OF_ONE};
use super::explain::{Explanation, explain};
use super::explained_token::TokenReader;
use super::files;
use super::follow::events;
use super::force;
use super::histogram::first_bytes;
use super::live_traffic::traffic;
use super::page;
use super::parameters::Parameters;
use super::positions::positions;
use super::present::present;
use super::probes::probes;
use super::question::{Field, NotAField, Question};
use super::state::AdminState;
use super::writes::{self, Refused, bad, error};
use crate::clock;

/// How long a client of the admin may take for TLS.
const HANDSHAKE: std::time::Duration = std::time::Duration::from_secs(10);

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
    let desk = Desk::open(state.clone(), &tasks);
    let router = router(state.clone(), address, desk);
    let mut door = Door::new(listener, MOST_CONNECTIONS, MOST_OF_ONE);
    loop {
        let (stream, peer, place) = tokio::select! {
            () = stop.cancelled() => return,
            next = door.next() => next,
        };
        let router = router.clone().layer(Extension(Peer(peer.ip())));
        let (tls, stop) = (state.access.tls(), stop.clone());
        tasks.spawn(async move {
            let _held = place;
            match tls {
                None => converse(stream, router, stop).await,
                Some(tls) => {
                    if let Some(stream) = shake_hands(TlsAcceptor::from(tls), stream).await {
                        converse(stream, router, stop).await;
                    }
                }
            }
        });
    }
}

/// TLS; `None` if the client does not come to it in time.
async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(
    acceptor: TlsAcceptor,
    stream: S,
) -> Option<tokio_rustls::server::TlsStream<S>> {
    let shaken = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await;
    shaken.ok()?.ok()
}

/// Answers one client's requests until it leaves, or the edge ends.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    stop: CancellationToken,
) {
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
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
}

fn router(state: Arc<AdminState>, address: SocketAddr, desk: Desk) -> Router {
    let guarded = (state.clone(), ListensOn(address));
    let routes = Router::new()
        .route("/", get(page::html))
        .merge(files::routes())
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/api/v1/openapi.yaml", get(openapi))
        .route("/api/v1/status", get(status_json))
        .route("/api/v1/explain", get(explain_json))
        .route("/api/v1/events", get(events))
        .route("/api/v1/lab", get(lab_json))
        .route("/api/v1/probes", get(probes))
        .route("/api/v1/traffic", get(traffic))
        .route("/api/v1/countries", get(countries))
        .route(
            "/api/v1/drains/{region}",
            put(writes::drain).delete(writes::undrain),
        )
        .route(
            "/api/v1/forced/{region}",
            put(force::put).delete(force::delete),
        )
        .route("/api/v1/reload", post(writes::reload))
        .route("/api/v1/positions/{region}", put(positions))
        .fallback(|| async { error(StatusCode::NOT_FOUND, "there is nothing here") })
        .layer(middleware::from_fn_with_state(state.clone(), audit::tell))
        .layer(middleware::from_fn(body::await_whole))
        .layer(middleware::from_fn_with_state(guarded, guard))
        .layer(Extension(desk))
        .with_state(state);
    // Only who stands outside of the routes sees which methods they take.
    Router::new()
        .fallback_service(routes)
        .layer(middleware::map_response(tell_methods))
}

/// RFC 9110 §15.5.6: what a path takes, in words as well as in `Allow`.
async fn tell_methods(mut response: Response) -> Response {
    let allowed = response.headers_mut().remove(ALLOW);
    let Some(allowed) = allowed.filter(|_| response.status() == StatusCode::METHOD_NOT_ALLOWED)
    else {
        return response;
    };
    let methods = allowed.to_str().unwrap_or_default().replace(',', ", ");
    let told = error(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("this path takes {methods} alone"),
    );
    ([(ALLOW, methods)], told).into_response()
}

async fn readyz(State(state): State<Arc<AdminState>>) -> (StatusCode, &'static str) {
    if state.readiness.get() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

/// Of many regions and services the numbers take milliseconds.
static COUNTING: Aside = Aside::new();

async fn metrics(State(state): State<Arc<AdminState>>) -> Result<Response, Refused> {
    let content_type = [("content-type", "text/plain; version=0.0.4; charset=utf-8")];
    let counting = move || {
        let totals = state.proxy.live.load().routes.served().totals();
        present(&state.metrics.render(), &state.snapshot().plan) + &first_bytes(totals)
    };
    let text = COUNTING.run(counting).await?;
    Ok((content_type, text).into_response())
}

async fn openapi() -> Response {
    let content_type = [("content-type", "application/yaml")];
    (content_type, include_str!("../../docs/openapi.yaml")).into_response()
}

async fn status_json(Extension(desk): Extension<Desk>) -> Response {
    match desk.status().await {
        Ok(rendered) => {
            let json = [("content-type", "application/json")];
            (json, rendered.json.clone()).into_response()
        }
        Err(closed) => error(StatusCode::SERVICE_UNAVAILABLE, closed.to_string()).into_response(),
    }
}

async fn explain_json(
    State(state): State<Arc<AdminState>>,
    uri: Uri,
) -> Result<Json<Value>, Refused> {
    let question = question(&uri)?;
    let live = state.proxy.live.load_full();
    let now = (clock::unix_secs(), clock::steady_ms());
    let reader = TokenReader {
        keyring: &live.keyring,
        sessions: Some(state.proxy.sessions()),
    };
    match explain(
        &live.snapshot,
        &state.database.load(),
        reader,
        &question,
        now,
    ) {
        Ok(mut explanation) => {
            date_probes(&state, &mut explanation).await;
            Ok(Json(explanation.to_json()))
        }
        Err(problem) => Err(problem.refused()),
    }
}

/// Says how old the figures of the edge's own probes are.
async fn date_probes(state: &AdminState, explanation: &mut Explanation) {
    let probed = explanation.probed();
    if probed.is_empty() {
        return;
    }
    // An edge that ends tells no ages any more.
    let answered = state.control.answered_ms().await.unwrap_or_default();
    let now_ms = clock::unix_ms();
    for region in probed {
        if let Some(at_ms) = answered.get(&*region) {
            explanation.date(&region, now_ms.saturating_sub(*at_ms) / 1_000);
        }
    }
}

fn question(uri: &Uri) -> Result<Question, Refused> {
    let known = [
        "name", "client", "type", "method", "token", "path", "header",
    ];
    let given = Parameters::with_repeated(uri, &known, Some("header"))?;
    let (Some(name), Some(client)) = (given.text("name"), given.text("client")) else {
        return Err(bad("`name` and `client` are needed"));
    };
    let client = client.parse();
    let fields: Result<Vec<Field>, NotAField> = given.all("header").map(str::parse).collect();
    Ok(Question {
        name,
        client: client.map_err(|problem| bad(format!("`client`: {problem}")))?,
        record_type: given.text("type"),
        method: given.text("method"),
        token: given.text("token"),
        path: given.text("path"),
        fields: fields.map_err(|problem| bad(format!("`header`: {problem}")))?,
    })
}

async fn lab_json(State(state): State<Arc<AdminState>>) -> Response {
    match state.lab.get() {
        Some(told) => Json(told.borrow().clone()).into_response(),
        None => error(StatusCode::NOT_FOUND, "this edge runs in no lab").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::time::Instant;

    use super::*;

    /// Whoever connects and says nothing; how long that lasts.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_no_head_is_closed_after_ten_seconds() {
        let (mut client, server) = tokio::io::duplex(1_024);
        let began = Instant::now();
        converse(server, Router::new(), CancellationToken::new()).await;
        assert_eq!(began.elapsed().as_secs(), HEADERS.as_secs());
        let mut said = Vec::new();
        client.read_to_end(&mut said).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_come_to_tls_is_closed_after_ten_seconds() {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let nobody = Arc::new(rustls::server::ResolvesServerCertUsingSni::new());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(nobody);
        let (_client, server) = tokio::io::duplex(1_024);
        let began = Instant::now();
        let shaken = shake_hands(TlsAcceptor::from(Arc::new(config)), server).await;
        assert!(shaken.is_none());
        assert_eq!(began.elapsed().as_secs(), HANDSHAKE.as_secs());
    }
}
