//! Reads that a connection repeats: what was found for the last one counts until anything changes.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::io::{BufReader, Read};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::response::Response;
use support::{Edge, Origin, read_head, wait_until};
use support::{connect, say};

/// Three regions in one domain, of which `slow` never gets a write of `far`, so that no token is taken back.
struct Scene {
    edge: Edge,
    near: Origin,
    far: Origin,
    slow: Origin,
    /// What `near` has of far's log.
    near_has: Arc<AtomicU64>,
}

fn saying(name: &'static str, has: Arc<AtomicU64>) -> Origin {
    let origin = Origin::start(name);
    origin.set_answer(move |seen| {
        let mut answer = Response::builder();
        if seen.method == "POST" {
            answer = answer.header("Meridian-Committed", "1");
        }
        let applied = format!("far={}", has.load(Ordering::SeqCst));
        let answer = answer.header("Meridian-Applied", applied);
        answer.body(Body::from(name)).unwrap()
    });
    origin
}

impl Scene {
    fn new(consistency: &str) -> Self {
        let near_has = Arc::new(AtomicU64::new(1));
        let near = saying("near", near_has.clone());
        let far = saying("far", Arc::new(AtomicU64::new(1)));
        let slow = saying("slow", Arc::default());
        // A read goes where the answer comes soonest.
        far.set_pause_of_health(std::time::Duration::from_secs(1));
        let yaml = yaml([&near, &far, &slow], "near, far, slow", consistency);
        Self {
            edge: Edge::start(&yaml),
            near,
            far,
            slow,
            near_has,
        }
    }

    fn origins(&self) -> [&Origin; 3] {
        [&self.near, &self.far, &self.slow]
    }

    /// A connection of a client that has written, and how it has been served so far.
    fn client(&self) -> Client {
        let mut client = Client {
            stream: connect(self.edge.address("http")),
            token: String::new(),
        };
        client.ask("GET"); // Its answer tells the edge what `near` has.
        let (head, _) = client.ask("POST");
        let token = field(&head, "meridian-token").unwrap();
        client.token = format!("Meridian-Token: {token}\r\n");
        assert!(wait_until(|| client.reads() == "near fresh"));
        for _ in 0..3 {
            assert_eq!(client.reads(), "near fresh");
        }
        client
    }
}

fn yaml(origins: [&Origin; 3], regions: &str, consistency: &str) -> String {
    let [near, far, slow] = origins.map(Origin::url);
    format!(
        "listen: {{ http: ['127.0.0.1:0'], http_mode: serve, admin: '127.0.0.1:0' }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions:
  near: {{ location: [50, 8], origins: ['{near}'] }}
  far: {{ location: [39, -77], origins: ['{far}'] }}
  slow: {{ location: [35, 139], origins: ['{slow}'] }}
services:
  api:
    hosts: [api.example.com]
    regions: [{regions}]
    steering: {{ policy: priority }}
    writes: {{ to: {{ primary: far }} }}
    health: {{ interval: 500ms, timeout: 20s }}
    consistency: {{ read_your_writes: true, wait: 0s{consistency} }}
"
    )
}

struct Client {
    stream: BufReader<TcpStream>,
    token: String,
}

impl Client {
    fn ask(&mut self, method: &str) -> (String, String) {
        let length = if method == "POST" {
            "Content-Length: 0\r\n"
        } else {
            ""
        };
        let token = &self.token;
        let head = format!("{method} / HTTP/1.1\r\nHost: api.example.com\r\n{token}{length}\r\n");
        say(&mut self.stream, &head);
        let head = read_head(&mut self.stream);
        let length = field(&head, "content-length").unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        self.stream.read_exact(&mut body).unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    /// Who answers a read, and how it is marked.
    fn reads(&mut self) -> String {
        let (head, by) = self.ask("GET");
        let mark = field(&head, "meridian-consistency").unwrap_or("unmarked");
        format!("{by} {mark}")
    }

    #[track_caller]
    fn comes_to_read(&mut self, expected: &str) {
        let mut last = String::new();
        let comes = wait_until(|| {
            let token = std::mem::take(&mut self.token);
            self.ask("GET"); // So that the edge hears of whoever has come back.
            self.token = token;
            last = self.reads();
            last == expected
        });
        assert!(comes, "{last}, not {expected}");
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    let found = fields.find(|(given, _)| given.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value)
}

#[test]
fn a_region_that_runs_backwards_no_longer_answers_the_next_read() {
    let scene = Scene::new("");
    let mut client = scene.client();
    scene.near_has.store(0, Ordering::SeqCst);
    assert_eq!(client.reads(), "far routed");
    assert_eq!(client.reads(), "far routed");
    scene.near_has.store(1, Ordering::SeqCst);
    client.comes_to_read("near fresh");
}

#[test]
fn a_region_that_goes_down_or_is_drained_no_longer_answers() {
    let scene = Scene::new("");
    let mut client = scene.client();
    let (status, _) = scene.edge.admin("PUT", "/api/v1/drains/near", "{}");
    assert_eq!(status, 200);
    client.comes_to_read("far fresh");
    let (status, _) = scene.edge.admin("DELETE", "/api/v1/drains/near", "");
    assert!(status < 300, "{status}");
    client.comes_to_read("near fresh");
    scene.near.set_healthy(false);
    client.comes_to_read("far fresh");
}

#[test]
fn a_reload_counts_for_the_next_read() {
    let scene = Scene::new("");
    let mut client = scene.client();
    let yaml = |regions| yaml(scene.origins(), regions, "");
    scene.edge.write(&yaml("far, slow"));
    client.comes_to_read("far fresh");
    scene.edge.write(&yaml("near, far, slow"));
    client.comes_to_read("near fresh");
    let other_key = yaml("near, far, slow").replace("0123456789abcdef", "fedcba9876543210");
    scene.edge.write(&other_key);
    client.comes_to_read("near unmarked");
}

#[test]
fn a_token_that_expires_between_two_reads_is_absent_from_the_second() {
    let scene = Scene::new(", ttl: 4s");
    let mut client = scene.client();
    client.comes_to_read("near unmarked");
}
