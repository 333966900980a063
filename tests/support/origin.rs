//! An origin of our own: a real HTTP server whose answers a test can change.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;

use super::served::Served;

/// A request as the origin saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub uri: String,
    pub headers: http::HeaderMap,
    pub body: Bytes,
}

impl Seen {
    /// The one value of a header.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {:?}", self.headers))
            .to_str()
            .unwrap()
    }
}

type Answerer = Arc<dyn Fn(&Seen) -> Response<Body> + Send + Sync>;

#[derive(Clone)]
struct Shared {
    name: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    healthy: Arc<AtomicBool>,
    answer: Arc<Mutex<Option<Answerer>>>,
    pause: Arc<Mutex<Duration>>,
    pause_of_required: Arc<Mutex<Duration>>,
    pause_of_health: Arc<Mutex<Duration>>,
    asked: Arc<AtomicUsize>,
}

/// A server that ends with the test. It answers with its name, unless it is told otherwise.
pub struct Origin {
    pub address: SocketAddr,
    served: Served,
    shared: Shared,
}

impl Origin {
    /// Listens on a free port of loopback.
    pub fn start(name: &str) -> Self {
        Self::start_on(name, "127.0.0.1:0".parse().unwrap())
    }

    /// Listens on this address: a test brings back one that it stopped.
    pub fn start_on(name: &str, address: SocketAddr) -> Self {
        let shared = Shared {
            name: name.to_owned(),
            seen: Arc::default(),
            healthy: Arc::new(AtomicBool::new(true)),
            answer: Arc::default(),
            pause: Arc::default(),
            pause_of_required: Arc::default(),
            pause_of_health: Arc::default(),
            asked: Arc::default(),
        };
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let served = Served::start_on(address, router);
        Self {
            address: served.address,
            served,
            shared,
        }
    }

    /// As the configuration names it.
    pub fn url(&self) -> String {
        self.served.url()
    }

    /// What `/health` says from now on.
    pub fn set_healthy(&self, healthy: bool) {
        self.shared.healthy.store(healthy, Ordering::SeqCst);
    }

    /// What everything but `/health` is answered with from now on.
    pub fn set_answer(&self, answer: impl Fn(&Seen) -> Response<Body> + Send + Sync + 'static) {
        *self.shared.answer.lock().unwrap() = Some(Arc::new(answer));
    }

    /// How long every answer takes from now on.
    pub fn set_pause(&self, pause: Duration) {
        *self.shared.pause.lock().unwrap() = pause;
    }

    /// How long an answer to a read with `Meridian-Require` is held from now on.
    pub fn set_pause_of_required(&self, pause: Duration) {
        *self.shared.pause_of_required.lock().unwrap() = pause;
    }

    /// How long an answer to a health check takes from now on: the round trip that the edge measures.
    pub fn set_pause_of_health(&self, pause: Duration) {
        *self.shared.pause_of_health.lock().unwrap() = pause;
    }

    /// Whether any request but a health check has arrived, answered or not.
    pub fn is_asked(&self) -> bool {
        self.asked() > 0
    }

    /// How many requests but health checks have arrived, answered or not.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// Every request so far but those of health checks.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Cuts every connection and refuses new ones.
    pub fn stop(&mut self) {
        self.served.stop();
    }
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response<Body> {
    if request.uri().path() != "/health" {
        shared.asked.fetch_add(1, Ordering::SeqCst);
        let mut pause = *shared.pause.lock().unwrap();
        if request.headers().contains_key("meridian-require") {
            pause += *shared.pause_of_required.lock().unwrap();
        }
        tokio::time::sleep(pause).await;
    } else {
        let pause = *shared.pause_of_health.lock().unwrap();
        tokio::time::sleep(pause).await;
    }
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 26)
        .await
        .unwrap_or_default();
    let seen = Seen {
        method: parts.method.to_string(),
        uri: parts.uri.to_string(),
        headers: parts.headers,
        body,
    };
    if parts.uri.path() == "/health" {
        let status = if shared.healthy.load(Ordering::SeqCst) {
            200
        } else {
            503
        };
        return Response::builder()
            .status(status)
            .body(Body::from("ok"))
            .unwrap();
    }
    let own = shared.answer.lock().unwrap().clone();
    let response = match own {
        Some(own) => own(&seen),
        None => Response::new(Body::from(shared.name.clone())),
    };
    shared.seen.lock().unwrap().push(seen);
    response
}
