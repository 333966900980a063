//! A region of our own that says how far it has applied another one's log: on answers, on its health
//! path and to long polls.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use tokio::sync::watch;

use super::served::Served;

/// What a replica does with a read that requires more than it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Answers with what it has, and says so.
    Answers,
    /// Answers 409.
    Refuses,
    /// Answers with what it has, and says nothing of it.
    SaysNothing,
}

#[derive(Debug, Default)]
struct Counts {
    probes: AtomicUsize,
    probes_now: AtomicUsize,
    most_probes: AtomicUsize,
    polls: AtomicUsize,
    polls_now: AtomicUsize,
    reads: AtomicUsize,
}

struct Shared {
    name: String,
    /// How far it has applied `far`'s log; being `far`, how many writes it took.
    applied: watch::Sender<u64>,
    nonsense: Mutex<Option<String>>,
    mode: Mutex<Mode>,
    health_pause: Mutex<Duration>,
    health_told: AtomicBool,
    follow_fails: AtomicBool,
    /// What the last long poll said to be known.
    told: Mutex<String>,
    last_read_at: Mutex<Instant>,
    counts: Counts,
}

/// A server that ends with the test.
pub struct Replica {
    served: Served,
    shared: Arc<Shared>,
}

impl Replica {
    /// Listens on a free port of loopback; nothing is applied.
    pub fn start(name: &str) -> Self {
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            applied: watch::Sender::new(0),
            nonsense: Mutex::default(),
            mode: Mutex::new(Mode::Answers),
            health_pause: Mutex::default(),
            health_told: AtomicBool::new(true),
            follow_fails: AtomicBool::new(false),
            told: Mutex::default(),
            last_read_at: Mutex::new(Instant::now()),
            counts: Counts::default(),
        });
        let router = Router::new().fallback(answer).with_state(shared.clone());
        Self {
            served: Served::start(router),
            shared,
        }
    }

    pub fn url(&self) -> String {
        self.served.url()
    }

    /// It has applied this much from now on; less means that it ran backwards.
    pub fn apply(&self, seq: u64) {
        self.shared.applied.send_replace(seq);
    }

    /// What it says instead of its positions from now on.
    pub fn say_nonsense(&self, text: &str) {
        *self.shared.nonsense.lock().unwrap() = Some(text.to_owned());
        self.shared.applied.send_modify(|_| {});
    }

    pub fn set_mode(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
    }

    pub fn set_health_pause(&self, pause: Duration) {
        *self.shared.health_pause.lock().unwrap() = pause;
    }

    /// Whether the health path says what is applied.
    pub fn set_health_told(&self, told: bool) {
        self.shared.health_told.store(told, Ordering::SeqCst);
    }

    pub fn set_follow_fails(&self, fails: bool) {
        self.shared.follow_fails.store(fails, Ordering::SeqCst);
    }

    /// Health checks so far, and since the start at once.
    pub fn probes(&self) -> usize {
        self.shared.counts.probes.load(Ordering::SeqCst)
    }

    pub fn probes_now(&self) -> usize {
        self.shared.counts.probes_now.load(Ordering::SeqCst)
    }

    pub fn most_probes_at_once(&self) -> usize {
        self.shared.counts.most_probes.load(Ordering::SeqCst)
    }

    pub fn polls(&self) -> usize {
        self.shared.counts.polls.load(Ordering::SeqCst)
    }

    /// Long polls that wait at present.
    pub fn polls_held(&self) -> usize {
        self.shared.counts.polls_now.load(Ordering::SeqCst)
    }

    /// What the last long poll said to be known.
    pub fn told(&self) -> String {
        self.shared.told.lock().unwrap().clone()
    }

    /// Reads so far.
    pub fn reads(&self) -> usize {
        self.shared.counts.reads.load(Ordering::SeqCst)
    }

    pub fn last_read_at(&self) -> Instant {
        *self.shared.last_read_at.lock().unwrap()
    }

    /// Cuts every connection and refuses new ones.
    pub fn stop(&mut self) {
        self.served.stop();
    }
}

impl Shared {
    fn says(&self) -> String {
        let nonsense = self.nonsense.lock().unwrap().clone();
        nonsense.unwrap_or_else(|| format!("near=0,far={}", *self.applied.borrow()))
    }

    fn stamped(&self, status: u16, body: &str) -> Response<Body> {
        Response::builder()
            .status(status)
            .header("Meridian-Applied", self.says())
            .body(Body::from(body.to_owned()))
            .unwrap()
    }
}

/// Counts one while it lives.
struct Now<'a>(&'a AtomicUsize);

impl<'a> Now<'a> {
    fn count(now: &'a AtomicUsize, most: Option<&AtomicUsize>) -> Self {
        let count = now.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(most) = most {
            most.fetch_max(count, Ordering::SeqCst);
        }
        Self(now)
    }
}

impl Drop for Now<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    match request.uri().path() {
        "/health" => health(&shared).await,
        "/follow" => follow(&shared, request.uri().query().unwrap_or_default()).await,
        _ if request.method() == "POST" => write(&shared),
        _ => read(&shared, &request),
    }
}

async fn health(shared: &Shared) -> Response<Body> {
    let counts = &shared.counts;
    let _now = Now::count(&counts.probes_now, Some(&counts.most_probes));
    let pause = *shared.health_pause.lock().unwrap();
    tokio::time::sleep(pause).await;
    counts.probes.fetch_add(1, Ordering::SeqCst);
    if shared.health_told.load(Ordering::SeqCst) {
        shared.stamped(200, "ok")
    } else {
        Response::new(Body::from("ok"))
    }
}

async fn follow(shared: &Shared, query: &str) -> Response<Body> {
    if shared.follow_fails.load(Ordering::SeqCst) {
        return shared.stamped(500, "no");
    }
    let field = |name: &str| query.split('&').find_map(|field| field.strip_prefix(name));
    assert_eq!(field("wait="), Some("30s"));
    let after = field("after=").unwrap().to_owned();
    shared.counts.polls.fetch_add(1, Ordering::SeqCst);
    shared.told.lock().unwrap().clone_from(&after);
    let held = Now::count(&shared.counts.polls_now, None);
    let mut applied = shared.applied.subscribe();
    let is_news = |seq: &u64| {
        shared.nonsense.lock().unwrap().is_some() || after != format!("far={seq},near=0")
    };
    let _ = tokio::time::timeout(Duration::from_secs(30), applied.wait_for(is_news)).await;
    drop(held);
    shared.stamped(200, "")
}

fn write(shared: &Shared) -> Response<Body> {
    let mut seq = 0;
    shared.applied.send_modify(|applied| {
        *applied += 1;
        seq = *applied;
    });
    let mut response = shared.stamped(200, &shared.name);
    let headers = response.headers_mut();
    headers.insert("Meridian-Committed", seq.into());
    response
}

fn read(shared: &Shared, request: &Request) -> Response<Body> {
    *shared.last_read_at.lock().unwrap() = Instant::now();
    shared.counts.reads.fetch_add(1, Ordering::SeqCst);
    let required = request.headers().get("meridian-require");
    let required =
        required.and_then(|value| value.to_str().ok()?.strip_prefix("far=")?.parse().ok());
    let lacks = required.is_some_and(|seq: u64| *shared.applied.borrow() < seq);
    match *shared.mode.lock().unwrap() {
        Mode::Refuses if lacks => shared.stamped(409, "not yet"),
        Mode::Answers | Mode::Refuses => shared.stamped(200, &shared.name),
        Mode::SaysNothing => Response::new(Body::from(shared.name.clone())),
    }
}
