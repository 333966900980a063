mod ending;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;

use super::pause::LAST_REQUEST;
use super::*;
use crate::proxy::access_log::Logged;
use crate::proxy::body::{Body, Source, Whole};
use crate::proxy::handler::Answer;
use crate::proxy::problem::Problem;
use crate::proxy::tunnel::take_client_side;

const TIMES: Times = Times {
    head: Duration::from_secs(10),
    idle: Duration::from_secs(60),
};

/// Answers by the path of a request, and notes what came of it.
#[derive(Default)]
struct Paths {
    notes: Arc<Mutex<Vec<String>>>,
    is_ending: Arc<AtomicBool>,
}

impl Paths {
    fn note(&self, note: impl Into<String>) {
        self.notes.lock().unwrap().push(note.into());
    }

    async fn respond(
        &self,
        mut request: Request<Source>,
        interim: Option<&Interim>,
    ) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let left = take_client_side(request.extensions_mut());
        let body = request.into_body();
        match path.as_str() {
            "/echo" => match body.collect().await {
                Ok(body) => Response::new(Body::made(body.to_bytes())),
                Err(error) => {
                    self.note(error.to_string());
                    Response::new(Body::made("broken"))
                }
            },
            "/trailers" => {
                let mut trailers = HeaderMap::new();
                trailers.insert("sum", HeaderValue::from_static("7"));
                Response::new(Body::Whole(Whole::with_trailers("0123456789", trailers)))
            }
            "/never" => {
                drop(body);
                let _noted = Dropped(self);
                std::future::pending().await
            }
            "/slow" => {
                drop(body);
                tokio::time::sleep(Duration::from_secs(1)).await;
                Response::new(Body::made("/slow"))
            }
            "/hint" => {
                let hint = StatusCode::from_u16(103).unwrap();
                interim.inspect(|interim| interim.say(hint, &HeaderMap::new()));
                tokio::task::yield_now().await;
                Response::new(Body::made("ok"))
            }
            "/leave" => {
                let left = left.unwrap();
                let notes = self.notes.clone();
                tokio::spawn(async move {
                    let (mut tunnel, mut said) = (left.await.unwrap(), String::new());
                    tunnel.read_to_string(&mut said).await.unwrap();
                    notes.lock().unwrap().push(said);
                });
                let mut response = Response::new(Body::Empty);
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                let headers = response.headers_mut();
                headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                response
            }
            _ => Response::new(Body::made(path)),
        }
    }
}

/// Notes when it is given up.
struct Dropped<'a>(&'a Paths);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        self.0.note("given up");
    }
}

impl Handler for Paths {
    async fn answer(
        &self,
        request: Request<Source>,
        _: Option<Duration>,
        interim: Option<&Interim>,
    ) -> Answer {
        let response = self.respond(request, interim).await;
        Answer {
            response: response.map(|body| Logged::new(body, None)),
            in_flight: None,
        }
    }

    fn refuse(&self, problem: &Problem, _: Option<Duration>) -> Vec<u8> {
        problem.as_message("fra-1", "id").0
    }

    fn note_refusal(&self, _: &Problem, _: bool) {}

    fn note_reset(&self, _: &Interim, _: String) {}

    fn break_off(&self, _: String) {}

    fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }
}

/// A client's end of a connection that is served.
struct Client {
    stream: DuplexStream,
    notes: Arc<Mutex<Vec<String>>>,
    is_ending: Arc<AtomicBool>,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

impl Client {
    fn new() -> Self {
        Self::with_room(1 << 20)
    }

    fn with_room(bytes: usize) -> Self {
        let (stream, edge) = duplex(bytes);
        let (paths, stop) = (Paths::default(), CancellationToken::new());
        let (notes, is_ending) = (paths.notes.clone(), paths.is_ending.clone());
        let serving = tokio::spawn(serve(Box::new(edge), TIMES, stop.clone(), paths));
        Self {
            stream,
            notes,
            is_ending,
            stop,
            serving,
        }
    }

    async fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// What is heard up to this, without the date.
    async fn hear_to(&mut self, end: &str) -> String {
        let mut heard = Vec::new();
        while !heard.ends_with(end.as_bytes()) {
            let byte = self.stream.read_u8().await;
            heard.push(byte.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&heard))));
        }
        dateless(&heard)
    }

    /// All that is heard from now on.
    async fn hear_all(&mut self) -> String {
        let mut heard = Vec::new();
        self.stream.read_to_end(&mut heard).await.unwrap();
        dateless(&heard)
    }

    fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap().clone()
    }
}

fn dateless(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines = text.split_inclusive("\r\n");
    lines.filter(|line| !line.starts_with("date: ")).collect()
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[tokio::test(start_paused = true)]
async fn an_answer_has_a_length_and_a_date_and_its_connection_is_kept() {
    let mut client = Client::new();
    for _ in 0..3 {
        client.say(&get("/a")).await;
        let mut heard = [0; 75];
        client.stream.read_exact(&mut heard).await.unwrap();
        let heard = String::from_utf8_lossy(&heard);
        assert!(
            heard.contains("\r\ndate: ") && heard.ends_with("GMT\r\n\r\n"),
            "{heard}"
        );
        assert!(
            heard.starts_with("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n"),
            "{heard}"
        );
        assert_eq!(client.hear_to("/a").await, "/a");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_come_together_are_answered_one_after_the_other() {
    let mut client = Client::new();
    let post = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    let text = [&get("/a"), post, &get("/b")].concat();
    client.say(&text).await;
    let ok = |body: &str| {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let expected = [ok("/a"), ok("hello"), ok("/b")].concat();
    assert_eq!(client.hear_to("/b").await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_head_is_answered_with_the_length_that_get_would_have() {
    let mut client = Client::new();
    client.say("HEAD /abc HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let heard = client.hear_to("\r\n\r\n").await;
    assert_eq!(heard, "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n");
}

#[tokio::test(start_paused = true)]
async fn a_client_of_http_1_0_is_spoken_to_as_such() {
    let mut client = Client::new();
    client
        .say("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        .await;
    let kept = "HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\n/a";
    assert_eq!(client.hear_to("/a").await, kept);
    client
        .say("GET /trailers HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        .await;
    let ended = "HTTP/1.0 200 OK\r\nconnection: close\r\n\r\n0123456789";
    assert_eq!(client.hear_all().await, ended, "it does not know chunks");
}

#[tokio::test(start_paused = true)]
async fn a_client_of_http_1_0_that_says_both_that_it_closes_and_that_it_does_not_is_not_kept() {
    for options in [
        "close, keep-alive",
        "keep-alive, close",
        "keep-alive\r\nConnection: close",
    ] {
        let mut client = Client::new();
        client
            .say(&format!("GET /a HTTP/1.0\r\nConnection: {options}\r\n\r\n"))
            .await;
        let ended = "HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n/a";
        assert_eq!(client.hear_all().await, ended, "{options}");
    }
}

#[tokio::test(start_paused = true)]
async fn trailers_reach_a_client_that_takes_them() {
    for (takes, end) in [
        ("TE: trailers\r\n", "0\r\nsum: 7\r\n\r\n"),
        ("", "0\r\n\r\n"),
    ] {
        let mut client = Client::new();
        client
            .say(&format!("GET /trailers HTTP/1.1\r\nHost: a\r\n{takes}\r\n"))
            .await;
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(
            client.hear_to(end).await,
            format!("{head}a\r\n0123456789\r\n{end}")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_wants_no_more_is_told_that_it_was_the_last_answer() {
    let mut client = Client::new();
    client
        .say("GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    let expected = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n/a";
    assert_eq!(client.hear_all().await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_stalls_is_told_408_after_its_time() {
    let mut client = Client::new();
    client.say("GET / HT").await;
    let began = Instant::now();
    let heard = client.hear_to("\r\n\r\n").await;
    assert_eq!(began.elapsed(), TIMES.head);
    assert!(heard.starts_with("HTTP/1.1 408 "), "{heard}");
    assert!(heard.contains("application/problem+json") && heard.contains("proxy-status"));
}

#[tokio::test(start_paused = true)]
async fn a_pause_before_or_within_a_request_is_no_stalled_head() {
    let mut client = Client::new();
    tokio::time::sleep(TIMES.head * 3).await;
    client
        .say("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\no")
        .await;
    tokio::time::sleep(TIMES.idle * 3).await;
    client.say("k").await;
    assert!(
        client
            .hear_to("\r\n\r\nok")
            .await
            .starts_with("HTTP/1.1 200 ")
    );
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_request_ends_after_its_time() {
    let mut client = Client::new();
    client.say(&get("/a")).await;
    client.hear_to("/a").await;
    let began = Instant::now();
    assert_eq!(client.hear_all().await, "");
    assert_eq!(began.elapsed(), TIMES.idle);
}

#[tokio::test(start_paused = true)]
async fn a_body_is_asked_for_once_somebody_reads_it() {
    let mut client = Client::new();
    let head =
        "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    client.say(head).await;
    assert_eq!(
        client.hear_to("\r\n\r\n").await,
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    client.say("ok").await;
    assert!(client.hear_to("ok").await.starts_with("HTTP/1.1 200 "));
    client.say(&format!("{head}ok")).await;
    let heard = client.hear_to("\r\n\r\nok").await;
    assert!(
        heard.starts_with("HTTP/1.1 200 "),
        "it came already: {heard}"
    );
    let unread = head.replace("/echo", "/a");
    client.say(&unread).await;
    let heard = client.hear_to("/a").await;
    assert!(
        heard.starts_with("HTTP/1.1 200 "),
        "nobody reads it: {heard}"
    );
}

#[tokio::test(start_paused = true)]
async fn chunks_come_with_their_trailers_and_a_bad_one_ends_the_connection() {
    let mut client = Client::new();
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.say(&format!("{head}3\r\nabc\r\n")).await;
    client.say("2\r\nde\r\n0\r\nsum: 7\r\n\r\n").await;
    assert!(client.hear_to("abcde").await.starts_with("HTTP/1.1 200 "));
    client.say(&format!("{head}x\r\n{}", get("/b"))).await;
    let heard = client.hear_all().await;
    assert!(
        heard.ends_with("broken") && !heard.contains("/b"),
        "{heard}"
    );
    let why = "the body broke off: the size of a chunk is no hexadecimal number";
    assert_eq!(client.notes(), [why]);
}

#[tokio::test(start_paused = true)]
async fn a_hint_comes_before_the_answer_and_none_over_http_1_0() {
    let mut client = Client::new();
    client.say(&get("/hint").repeat(2)).await;
    let both = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    for _ in 0..2 {
        assert_eq!(client.hear_to("ok").await, both);
    }
    client.say("GET /hint HTTP/1.0\r\n\r\n").await;
    assert!(client.hear_all().await.starts_with("HTTP/1.0 200 "));
}

const LEAVE: &str =
    "GET /leave HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn what_comes_behind_a_websocket_s_request_is_the_websocket_s() {
    let mut client = Client::new();
    client.say(&format!("{LEAVE}frames\n")).await;
    let expected =
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    assert_eq!(client.hear_to("\r\n\r\n").await, expected);
    client.say("more").await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.hear_all().await, "");
    assert_eq!(client.notes(), ["frames\nmore"]);
}

#[tokio::test(start_paused = true)]
async fn what_comes_behind_a_websocket_that_is_refused_is_the_next_request() {
    let mut client = Client::new();
    let refused = LEAVE.replace("/leave", "/a");
    client.say(&[&refused, &get("/b")[..], "\n"].concat()).await;
    let heard = client.hear_all().await;
    assert!(heard.contains("\r\n\r\n/aHTTP/1.1 200 OK\r\n"), "{heard}");
    assert!(heard.contains("\r\n\r\n/bHTTP/1.1 400 "), "{heard}");
}
