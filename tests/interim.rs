//! What comes before the answer: 100 Continue, 103 Early Hints and their kin (RFC 9110 §15.2).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::io::{BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::{Edge, connect, raw_origin, read_head, say};
use tokio::time::Instant;

fn edge(origin: SocketAddr, service: &str) -> Edge {
    Edge::start(&format!(
        "listen: {{ http: ['127.0.0.1:0'], http_mode: serve, https: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
regions: {{ here: {{ origins: ['http://{origin}'] }} }}
services: {{ www: {{ hosts: [www.example.com], {service} }} }}
"
    ))
}

fn body(stream: &mut BufReader<TcpStream>, length: usize) -> String {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
}

const HINT: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nMeridian-Region: forged\r\nConnection: keep-alive\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An origin that says each of these when it is told to.
fn prompted(parts: &'static [&'static str]) -> (SocketAddr, Sender<()>) {
    let (prompt, prompts) = channel();
    let prompts: Arc<Mutex<Receiver<()>>> = Arc::new(Mutex::new(prompts));
    let origin = raw_origin(move |mut stream, _| {
        for part in parts {
            prompts.lock().unwrap().recv().unwrap();
            say(&mut stream, part);
        }
        read_head(&mut stream);
    });
    (origin, prompt)
}

#[test]
fn hints_reach_the_client_before_the_answer_is_made() {
    let (origin, prompt) = prompted(&[HINT, "HTTP/1.1 102 Processing\r\n\r\n", ANSWER]);
    let edge = edge(origin, "");
    let mut client = connect(edge.address("http"));
    say(&mut client, &get("/"));
    prompt.send(()).unwrap();
    let hint = read_head(&mut client);
    assert_eq!(
        hint,
        "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n"
    );
    prompt.send(()).unwrap();
    assert_eq!(
        read_head(&mut client),
        "HTTP/1.1 102 Processing\r\n\r\n",
        "one after the other"
    );
    prompt.send(()).unwrap();
    assert!(read_head(&mut client).starts_with("HTTP/1.1 200 "));
    assert_eq!(body(&mut client, 2), "ok");
}

/// An origin that says a hint and the answer in one breath, however often it is asked.
fn hasty() -> SocketAddr {
    raw_origin(|mut stream, mut head| {
        while !head.is_empty() {
            let path = head.split(' ').nth(1).unwrap();
            let hint = format!("HTTP/1.1 103 Early Hints\r\nLink: <{path}>\r\n\r\n");
            let expects = head.to_ascii_lowercase().contains("\r\nexpect:");
            let answer = format!(
                "HTTP/1.1 200 OK\r\nX-Path: {path}\r\nX-Expects: {expects}\r\nContent-Length: 2\r\n\r\nok"
            );
            say(&mut stream, &(hint + &answer));
            head = read_head(&mut stream);
        }
    })
}

#[test]
fn hints_of_pipelined_requests_come_each_before_its_own_answer() {
    let edge = edge(hasty(), "");
    let mut client = connect(edge.address("http"));
    let paths: Vec<String> = (0..50).map(|number| format!("/{number}")).collect();
    let requests: String = paths.iter().map(|path| get(path)).collect();
    say(&mut client, &requests);
    for path in &paths {
        let hint = read_head(&mut client);
        assert_eq!(
            hint,
            format!("HTTP/1.1 103 Early Hints\r\nlink: <{path}>\r\n\r\n")
        );
        let answer = read_head(&mut client);
        assert!(answer.contains(&format!("x-path: {path}\r\n")), "{answer}");
        assert_eq!(body(&mut client, 2), "ok");
    }
}

#[test]
fn a_client_of_http_1_0_gets_the_answer_alone() {
    let edge = edge(hasty(), "");
    let mut client = connect(edge.address("http"));
    // Nor is its origin asked whether it wants the body (RFC 9110 §10.1.1).
    say(
        &mut client,
        "POST / HTTP/1.0\r\nHost: www.example.com\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n\r\n\r\n",
    );
    let head = read_head(&mut client);
    assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
    assert!(head.contains("x-expects: false\r\n"), "{head}");
}

#[test]
fn curl_gets_hints_over_both_versions_of_http() {
    let edge = edge(hasty(), "");
    for version in ["--http1.1", "--http2"] {
        let answer = edge.curl("www.example.com", "/a", &[version]);
        assert!(answer.head.contains(" 103 "), "{}", answer.head);
        assert!(answer.head.contains("link: </a>"), "{}", answer.head);
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    }
}

#[test]
fn who_would_wait_for_100_with_no_body_to_send_is_answered_and_so_is_the_next_request() {
    let edge = edge(hasty(), "");
    let mut client = connect(edge.address("http"));
    for (request, length) in [("POST", "Content-Length: 0\r\n"), ("POST", ""), ("GET", "")] {
        let expect = format!(
            "{request} /1 HTTP/1.1\r\nHost: www.example.com\r\nExpect: 100-continue\r\n{length}\r\n"
        );
        say(&mut client, &(expect + &get("/2")));
        for path in ["/1", "/2"] {
            assert!(read_head(&mut client).starts_with("HTTP/1.1 103 "));
            let answer = read_head(&mut client);
            assert!(answer.contains(&format!("x-path: {path}\r\n")), "{answer}");
            assert!(answer.contains("x-expects: false\r\n"), "{answer}");
            assert!(!answer.contains("connection: close"), "{answer}");
            assert_eq!(body(&mut client, 2), "ok");
        }
    }
}

/// An origin of HTTP/2 that says a hint and asks for the body before it answers with what it was sent.
async fn hinting(listener: tokio::net::TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, respond))) = connection.accept().await {
                tokio::spawn(hint_and_echo(request, respond));
            }
        });
    }
}

async fn hint_and_echo(
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<bytes::Bytes>,
) {
    let said = |status: u16| http::Response::builder().status(status);
    let hint = said(103).header("link", "</a.css>").body(()).unwrap();
    respond.send_informational(hint).unwrap();
    if request.headers().contains_key("expect") {
        let go_on = said(100).body(()).unwrap();
        respond.send_informational(go_on).unwrap();
    }
    let mut sent = Vec::new();
    let mut body = request.into_body();
    while let Some(Ok(data)) = body.data().await {
        sent.extend_from_slice(&data);
    }
    let head = said(200).body(()).unwrap();
    let mut answer = respond.send_response(head, false).unwrap();
    answer.send_data(sent.into(), true).unwrap();
}

#[test]
fn an_origin_of_http_2_hints_and_asks_for_bodies_too() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listening = tokio::net::TcpListener::bind("127.0.0.1:0");
    let listener = runtime.block_on(listening).unwrap();
    let origin = listener.local_addr().unwrap();
    let _origin = runtime.spawn(hinting(listener));
    let edge = Edge::start(&format!(
        "listen: {{ https: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
regions: {{ here: {{ origins: ['h2c://{origin}'] }} }}
services: {{ www: {{ hosts: [www.example.com] }} }}
"
    ));
    for version in ["--http1.1", "--http2"] {
        let body = ["-d", "hello", "-H", "Expect: 100-continue", version];
        let answer = edge.curl("www.example.com", "/up", &body);
        let head = &answer.head;
        assert!(head.contains(" 103 ") && head.contains(" 100 "), "{head}");
        assert!(head.contains("link: </a.css>"), "{head}");
        assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
    }
}

#[test]
fn curl_gets_the_answer_of_an_origin_that_does_not_ask_for_its_body() {
    let origin = raw_origin(|mut stream, _| {
        let refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
        say(&mut stream, refusal);
    });
    let edge = edge(origin, "");
    for version in ["--http1.1", "--http2"] {
        let body = ["-d", "hello", "-H", "Expect: 100-continue", version];
        let answer = edge.curl("www.example.com", "/up", &body);
        assert_eq!((answer.status, answer.body.as_str()), (403, "no"));
    }
}

const EXPECTING: &str = "POST /up HTTP/1.1\r\nHost: www.example.com\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

#[test]
fn the_client_is_told_to_go_on_when_the_origin_says_so() {
    let (wanted, wants) = channel::<()>();
    let wants = Arc::new(Mutex::new(wants));
    let origin = raw_origin(move |mut stream, head| {
        assert!(head.to_ascii_lowercase().contains("expect: 100-continue"));
        wants.lock().unwrap().recv().unwrap();
        say(&mut stream, "HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(body(&mut stream, 5), "hello");
        say(&mut stream, ANSWER);
        read_head(&mut stream);
    });
    let edge = edge(origin, "");
    let mut client = connect(edge.address("http"));
    say(&mut client, EXPECTING);
    wanted.send(()).unwrap();
    assert_eq!(read_head(&mut client), "HTTP/1.1 100 Continue\r\n\r\n");
    say(&mut client, "hello");
    assert!(read_head(&mut client).starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_body_that_the_origin_refuses_is_never_asked_for() {
    let origin = raw_origin(move |mut stream, _| {
        say(
            &mut stream,
            "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno",
        );
        read_head(&mut stream);
    });
    let edge = edge(origin, "");
    let mut client = connect(edge.address("http"));
    say(&mut client, EXPECTING);
    let mut said = String::new();
    client.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 417 "), "{said}");
    assert!(!said.contains(" 100 ") && said.ends_with("no"), "{said}");
}

#[test]
fn an_origin_s_connection_ends_with_its_empty_answer_to_whose_body_it_refuses() {
    let (ended, end) = std::sync::mpsc::channel();
    let origin = raw_origin(move |mut stream, _| {
        say(
            &mut stream,
            "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n",
        );
        read_head(&mut stream);
        ended.send(()).unwrap();
    });
    let edge = edge(origin, "");
    let mut client = connect(edge.address("http"));
    say(&mut client, EXPECTING);
    assert!(read_head(&mut client).starts_with("HTTP/1.1 417 "));
    // Far sooner than `timeouts.idle`.
    end.recv_timeout(Duration::from_secs(10)).unwrap();
}

#[test]
fn an_origin_that_cannot_say_100_gets_the_body_after_a_second() {
    let origin = raw_origin(move |mut stream, _| {
        assert_eq!(body(&mut stream, 5), "hello");
        say(&mut stream, ANSWER);
        read_head(&mut stream);
    });
    let edge = edge(origin, "");
    let mut client = connect(edge.address("http"));
    say(&mut client, EXPECTING);
    let began = Instant::now();
    assert_eq!(read_head(&mut client), "HTTP/1.1 100 Continue\r\n\r\n");
    assert!(began.elapsed() >= Duration::from_millis(900));
    say(&mut client, "hello");
    assert!(read_head(&mut client).starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_body_that_is_kept_for_retries_is_taken_at_once() {
    let origin = raw_origin(move |mut stream, _| {
        assert_eq!(body(&mut stream, 5), "hello");
        say(&mut stream, ANSWER);
        read_head(&mut stream);
    });
    let edge = edge(origin, "retries: { methods: idempotent }");
    let mut client = connect(edge.address("http"));
    let began = Instant::now();
    say(&mut client, &EXPECTING.replace("POST", "PUT"));
    assert_eq!(read_head(&mut client), "HTTP/1.1 100 Continue\r\n\r\n");
    assert!(began.elapsed() < Duration::from_millis(900));
    say(&mut client, "hello");
    let head = read_head(&mut client).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    // It was asked for, and has come whole.
    assert!(!head.contains("connection: close"), "{head}");
}
