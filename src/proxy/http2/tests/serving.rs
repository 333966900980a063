use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::super::serve;
use super::by_hand::{
    ACK, ByHand, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};
use super::{HINT, IDLE, over_the_bound, read, to, unhurried};
use crate::proxy::access_log::Logged;
use crate::proxy::body::{Arriving, Body, Source, Whole};
use crate::proxy::handler::{Answer, Handler, Times};
use crate::proxy::interim::Interim;
use crate::proxy::problem::Problem;
use crate::proxy::tunnel::take_client_side;

/// Answers by the path of a request, and notes what came of it.
#[derive(Clone, Default)]
struct Paths(Arc<Mutex<Vec<String>>>);

impl Paths {
    fn note(&self, note: impl Into<String>) {
        self.0.lock().unwrap().push(note.into());
    }

    fn notes(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    async fn respond(&self, mut request: Request<Source>, interim: &Interim) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let left = take_client_side(request.extensions_mut());
        match path.as_str() {
            "/echo" => match request.into_body().collect().await {
                Ok(body) => Response::new(Body::made(body.to_bytes())),
                Err(error) => {
                    self.note(error.to_string());
                    Response::new(Body::made("broken"))
                }
            },
            "/wait" => {
                sleep(IDLE / 2).await;
                let body = request.into_body().collect().await.unwrap();
                Response::new(Body::made(body.to_bytes()))
            }
            "/stream" => {
                let body = Arriving::response(request.into_body());
                Response::new(Body::streamed(body, 0, unhurried(), None))
            }
            "/trailers" => {
                let mut trailers = HeaderMap::new();
                trailers.insert("sum", HeaderValue::from_static("7"));
                Response::new(Body::Whole(Whole::with_trailers("0123456789", trailers)))
            }
            "/collect" => {
                let _noted = Dropped(self);
                let body = request.into_body().collect().await;
                self.note(if body.is_ok() { "whole" } else { "broken off" });
                Response::new(Body::Empty)
            }
            "/never" => {
                let _noted = Dropped(self);
                std::future::pending().await
            }
            "/panic" => panic!("a fault of the edge"),
            "/hint" => {
                let hint = StatusCode::from_u16(HINT).unwrap();
                interim.say(hint, &HeaderMap::new());
                sleep(Duration::from_secs(1)).await;
                Response::new(Body::made("ok"))
            }
            "/large" => Response::new(Body::made(vec![7; 1 << 20])),
            "/bye" => {
                let left = left.unwrap();
                tokio::spawn(async move {
                    let mut tunnel = left.await.unwrap();
                    tunnel.write_all(b"bye").await.unwrap();
                    tunnel.shutdown().await.unwrap();
                });
                Response::new(Body::Empty)
            }
            "/leave" => {
                let mut tunnel = left.unwrap();
                tokio::spawn(async move {
                    let mut tunnel = (&mut tunnel).await.unwrap();
                    let mut said = String::new();
                    tunnel.read_to_string(&mut said).await.unwrap();
                    tunnel.write_all(said.as_bytes()).await.unwrap();
                    tunnel.shutdown().await.unwrap();
                });
                Response::new(Body::Empty)
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
        let response = self.respond(request, interim.unwrap()).await;
        Answer {
            response: response.map(|body| Logged::new(body, None)),
            in_flight: None,
        }
    }

    fn refuse(&self, _: &Problem, _: Option<Duration>) -> Vec<u8> {
        Vec::new()
    }

    fn note_refusal(&self, _: &Problem, _: bool) {}

    fn note_reset(&self, _: &Interim, why: String) {
        self.note(&why);
    }

    fn break_off(&self, _: String) {}

    fn is_ending(&self) -> bool {
        false
    }
}

/// A client on a connection that is served.
struct Client {
    requests: SendRequest<Bytes>,
    /// Ends with the connection; fails if that was an error.
    connection: tokio::task::JoinHandle<Result<(), h2::Error>>,
    paths: Paths,
    stop: CancellationToken,
}

/// The edge's side of a connection; what it notes and what stops it.
fn served(window: usize) -> (DuplexStream, Paths, CancellationToken) {
    let (client, edge) = duplex(window);
    let (paths, stop) = (Paths::default(), CancellationToken::new());
    let times = Times {
        head: Duration::from_secs(10),
        idle: IDLE,
    };
    tokio::spawn(serve(edge, times, stop.clone(), paths.clone()));
    (client, paths, stop)
}

async fn client() -> Client {
    let (client, paths, stop) = served(1 << 20);
    // So large that a stream which is not read holds up no other.
    let mut builder = h2::client::Builder::new();
    let shaking_hands = builder
        .initial_connection_window_size(1 << 20)
        .handshake(client);
    let (requests, connection) = shaking_hands.await.unwrap();
    Client {
        requests,
        connection: tokio::spawn(connection),
        paths,
        stop,
    }
}

/// Extended CONNECT (RFC 8441 §4).
fn connect_to(path: &str) -> Request<()> {
    let mut request = to(path);
    *request.method_mut() = Method::CONNECT;
    let protocol = h2::ext::Protocol::from_static("websocket");
    request.extensions_mut().insert(protocol);
    request
}

impl Client {
    /// Sends a request whose body follows.
    fn begin(&mut self, request: Request<()>) -> (ResponseFuture, SendStream<Bytes>) {
        self.requests.send_request(request, false).unwrap()
    }

    async fn get(&mut self, path: &str) -> (Response<RecvStream>, Bytes) {
        let (answer, _) = self.requests.send_request(to(path), true).unwrap();
        whole(answer).await
    }
}

/// An answer and its body.
async fn whole(answer: ResponseFuture) -> (Response<RecvStream>, Bytes) {
    let mut answer = answer.await.unwrap();
    let body = read(answer.body_mut()).await.unwrap();
    (answer, body)
}

#[tokio::test(start_paused = true)]
async fn a_hint_comes_before_the_answer_that_it_belongs_to() {
    let mut client = client().await;
    let (mut answer, _) = client.requests.send_request(to("/hint"), true).unwrap();
    let began = Instant::now();
    let hint = poll_fn(|cx| answer.poll_informational(cx)).await;
    assert_eq!(hint.unwrap().unwrap().status(), HINT);
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(whole(answer).await.1, "ok");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_for_it_is_told_when_its_body_is_wanted() {
    let mut client = client().await;
    let mut request = to("/echo");
    let expect = HeaderValue::from_static("100-continue");
    request.headers_mut().insert(EXPECT, expect);
    let (mut answer, mut body) = client.begin(request);
    let go_on = poll_fn(|cx| answer.poll_informational(cx)).await;
    assert_eq!(go_on.unwrap().unwrap().status(), StatusCode::CONTINUE);
    body.send_data("hello".into(), true).unwrap();
    assert_eq!(whole(answer).await.1, "hello");
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_wait_is_told_nothing() {
    let mut client = client().await;
    let (mut answer, mut body) = client.begin(to("/echo"));
    body.send_data("hello".into(), true).unwrap();
    let said = poll_fn(|cx| answer.poll_informational(cx)).await;
    assert!(said.is_none(), "{said:?}");
    assert_eq!(whole(answer).await.1, "hello");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_its_client_gives_up_is_not_answered() {
    let mut client = client().await;
    let (answer, mut body) = client.begin(to("/never"));
    client.get("/").await;
    drop(answer);
    body.send_reset(Reason::CANCEL);
    client.get("/").await;
    assert_eq!(client.paths.notes(), ["given up"]);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_its_client_breaks_off_is_not_taken_for_a_whole_one() {
    for reason in [Reason::CANCEL, Reason::NO_ERROR, Reason::INTERNAL_ERROR] {
        let mut client = client().await;
        let (_answer, mut body) = client.begin(to("/collect"));
        body.send_data("some".into(), false).unwrap();
        client.get("/").await;
        body.send_reset(reason);
        client.get("/").await;
        assert_eq!(client.paths.notes(), ["given up"], "{reason:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_and_its_reset_that_come_together_reach_nobody() {
    let mut client = client().await;
    client.get("/").await;
    let (_answer, mut body) = client.begin(to("/never"));
    body.send_reset(Reason::CANCEL);
    client.get("/").await;
    assert!(client.paths.notes().is_empty(), "it was never begun");
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_the_edge_costs_one_request_and_not_its_connection() {
    let mut client = client().await;
    let (answer, _) = client.requests.send_request(to("/panic"), true).unwrap();
    let (other, mut body) = client.begin(to("/echo"));
    assert!(answer.await.unwrap_err().is_reset());
    body.send_data("hello".into(), true).unwrap();
    assert_eq!(whole(other).await.1, "hello");
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_head_has_a_length_and_no_body() {
    let mut client = client().await;
    let mut request = to("/hello");
    *request.method_mut() = Method::HEAD;
    let (answer, _) = client.requests.send_request(request, true).unwrap();
    let (answer, body) = whole(answer).await;
    assert_eq!(answer.headers()[CONTENT_LENGTH], "6");
    assert!(answer.headers().contains_key("date"));
    assert!(body.is_empty() && answer.body().is_end_stream());
}

#[tokio::test(start_paused = true)]
async fn trailers_come_behind_the_body() {
    let mut client = client().await;
    let (mut answer, body) = client.get("/trailers").await;
    let trailers = answer.body_mut().trailers().await.unwrap().unwrap();
    assert_eq!(
        (body.as_ref(), trailers["sum"].as_bytes()),
        (&b"0123456789"[..], &b"7"[..])
    );
}

#[tokio::test(start_paused = true)]
async fn bodies_stream_in_both_directions_at_once() {
    let mut client = client().await;
    let (answer, mut body) = client.begin(to("/stream"));
    let mut answer = answer.await.unwrap();
    for part in ["one", "two"] {
        body.send_data(part.into(), false).unwrap();
        assert_eq!(answer.body_mut().data().await.unwrap().unwrap(), part);
    }
    body.send_data(Bytes::new(), true).unwrap();
    assert!(read(answer.body_mut()).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn small_frames_of_an_upload_that_waits_hold_up_no_other_request() {
    let mut client = client().await;
    let (answer, mut body) = client.begin(to("/wait"));
    for _ in 0..17_000 {
        body.send_data(Bytes::from_static(&[7; 30]), false).unwrap();
    }
    assert_eq!(client.get("/").await.1, "/");
    body.send_data(Bytes::new(), true).unwrap();
    assert_eq!(whole(answer).await.1.len(), 17_000 * 30);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_takes_is_given_up_and_others_go_on() {
    let mut client = client().await;
    let (answer, _) = client.requests.send_request(to("/large"), true).unwrap();
    let mut answer = answer.await.unwrap();
    let began = Instant::now();
    let first = answer.body_mut().data().await.unwrap().unwrap();
    for _ in 0..3 {
        sleep(IDLE / 2).await;
        assert_eq!(client.get("/").await.1, "/");
    }
    let mut rest = 0;
    let error = loop {
        match answer.body_mut().data().await.unwrap() {
            Ok(data) => rest += data.len(),
            Err(error) => break error,
        }
    };
    assert_eq!(error.reason(), Some(Reason::CANCEL));
    assert!(first.len() + rest < 1 << 20);
    assert!(began.elapsed() < IDLE * 2);
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_when_it_was_idle_for_its_time_and_not_before() {
    let mut client = client().await;
    sleep(IDLE * 2 / 3).await;
    client.get("/").await;
    let began = Instant::now();
    client.connection.await.unwrap().unwrap();
    assert_eq!(began.elapsed().as_secs(), IDLE.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_request_under_way_keeps_its_connection() {
    let mut client = client().await;
    let (answer, mut body) = client.begin(to("/echo"));
    sleep(IDLE * 5).await;
    body.send_data("late".into(), true).unwrap();
    assert_eq!(whole(answer).await.1, "late");
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_keeps_its_connection_and_carries_both_directions() {
    let mut client = client().await;
    client.get("/").await; // The edge's settings have come with it.
    let (answer, mut body) = client.begin(connect_to("/leave"));
    let mut answer = answer.await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    sleep(IDLE * 5).await;
    body.send_data("there and back".into(), true).unwrap();
    assert_eq!(read(answer.body_mut()).await.unwrap(), "there and back");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_answer_a_ping_is_gone() {
    let (mut client, paths, _stop) = served(1 << 20);
    // RFC 9113 §3.4: the preface, SETTINGS, and a request whose body never comes.
    client
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    client
        .write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])
        .await
        .unwrap();
    let mut head = vec![0x82, 0x87, 0x41, 1, b'a', 0x04, 6];
    head.extend_from_slice(b"/never");
    let length = u8::try_from(head.len()).unwrap();
    client
        .write_all(&[0, 0, length, 1, 4, 0, 0, 0, 1])
        .await
        .unwrap();
    client.write_all(&head).await.unwrap();
    let began = Instant::now();
    let mut said = Vec::new();
    client.read_to_end(&mut said).await.unwrap();
    assert_eq!(paths.notes(), ["given up"]);
    // It has spoken when the first look came, is asked after the second, and has as long for its answer.
    assert_eq!(began.elapsed(), 3 * IDLE);
}

/// A client of frames that grants all there is, and asks.
async fn asks(paths: &[&str]) -> ByHand {
    let (client, ..) = served(16 << 10);
    let mut client = ByHand(client);
    client.say_preface().await;
    // RFC 9113 §6.5.2: INITIAL_WINDOW_SIZE.
    let widest = [&[0, 4][..], &(u32::MAX >> 1).to_be_bytes()].concat();
    client.say(SETTINGS, 0, 0, &widest).await;
    let more = (1_u32 << 30).to_be_bytes();
    client.say(WINDOW_UPDATE, 0, 0, &more).await;
    for (id, path) in (1..).step_by(2).zip(paths) {
        let length = u8::try_from(path.len()).unwrap();
        let mut head = vec![0x82, 0x87, 0x41, 1, b'a', 0x04, length];
        head.extend_from_slice(path.as_bytes());
        client
            .say(HEADERS, END_HEADERS | END_STREAM, id, &head)
            .await;
    }
    client
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_and_steadily_and_says_nothing_gets_all_of_its_answers() {
    const STREAMS: usize = 32;
    let mut client = asks(&["/large"; STREAMS]).await;
    let (mut content, mut ended) = (0, 0);
    while ended < STREAMS {
        sleep(Duration::from_secs(3)).await; // 5 KB a second.
        let (kind, flags, length) = client.hear_frame().await;
        if kind == DATA {
            content += length;
            ended += usize::from(flags & END_STREAM != 0);
        } else {
            assert!([SETTINGS, HEADERS, WINDOW_UPDATE].contains(&kind), "{kind}");
        }
    }
    assert_eq!(content, 32 << 20);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_hear_the_farewell_is_waited_for_five_seconds() {
    let (client, _paths, stop) = served(1 << 20);
    let mut client = ByHand(client);
    client.say_preface().await;
    client.say(SETTINGS, 0, 0, &[]).await;
    client.hear(SETTINGS, 2).await;
    stop.cancel();
    let began = Instant::now();
    let mut rest = Vec::new();
    client.0.read_to_end(&mut rest).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn what_a_client_says_behind_the_last_answer_meets_no_closed_door() {
    let (client, paths, stop) = served(1 << 20);
    drop(paths);
    let mut client = ByHand(client);
    client.say_preface().await;
    client.say(SETTINGS, 0, 0, &[]).await;
    client
        .say(
            HEADERS,
            END_HEADERS | END_STREAM,
            1,
            &[0x82, 0x87, 0x41, 1, b'a', 0x84],
        )
        .await;
    client.hear(DATA, 1).await;
    stop.cancel();
    client.hear(PING, 1).await;
    client.say(PING, ACK, 0, b"farewell").await;
    let mut rest = Vec::new();
    client.0.read_to_end(&mut rest).await.unwrap();
    let more = 1_u32.to_be_bytes();
    client.say(WINDOW_UPDATE, 0, 0, &more).await;
}

#[tokio::test(start_paused = true)]
async fn when_the_edge_stops_what_is_under_way_is_answered() {
    let mut client = client().await;
    let (answer, mut body) = client.begin(to("/echo"));
    client.get("/").await;
    client.stop.cancel();
    sleep(Duration::from_secs(1)).await;
    assert!(client.requests.send_request(to("/"), true).is_err() || client.get_fails().await);
    body.send_data("in time".into(), true).unwrap();
    assert_eq!(whole(answer).await.1, "in time");
    client.connection.await.unwrap().unwrap();
}

impl Client {
    async fn get_fails(&mut self) -> bool {
        match self.requests.send_request(to("/"), true) {
            Ok((answer, _)) => answer.await.is_err(),
            Err(_) => true,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_tunnel_says_last_is_read_though_it_is_given_up_then() {
    let mut client = client().await;
    client.get("/").await;
    let (answer, _body) = client.begin(connect_to("/bye"));
    let mut answer = answer.await.unwrap();
    assert_eq!(answer.body_mut().data().await.unwrap().unwrap(), "bye");
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_head_is_over_256_kib_is_refused() {
    let mut client = client().await;
    let mut request = to("/");
    request.headers_mut().insert("large", over_the_bound());
    let (answer, _) = client.requests.send_request(request, true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 431);
}

#[tokio::test(start_paused = true)]
async fn what_clients_go_on_to_send_for_requests_that_are_over_ends_no_connection() {
    const OVER: usize = 200;
    let (client, _, _) = served(1 << 20);
    let mut client = ByHand(client);
    client.say_preface().await;
    client.say(SETTINGS, 0, 0, &[]).await;
    // POST, https, `/`, and an authority, of HPACK's static table.
    let head = [&[0x83, 0x87, 0x84, 0x41, 15][..], b"www.example.com"].concat();
    let streams = || (1..).step_by(2).take(OVER);
    for stream in streams() {
        client.say(HEADERS, END_HEADERS, stream, &head).await;
    }
    client.hear(RST_STREAM, OVER).await;
    for _ in 0..10 {
        for stream in streams() {
            client.say(DATA, 0, stream, b"z").await;
        }
    }
    client.say(PING, 0, 0, b"are you?").await;
    client.hear(PING, 1).await;
}
