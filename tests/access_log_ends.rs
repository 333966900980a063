//! The access log: how requests end, who ended them, and what that took.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod access_log_support;
mod support;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use access_log_support::{Logging, check, ms};
use serde_json::Value;
use support::frames::{
    DATA, END_STREAM, FrameClient, PING, RST_STREAM, block, frame, in_frames, open, request,
};
use support::{Edge, Origin, raw_origin, read_head, run, wait_until};

/// Answers a request for a WebSocket, then sends back what comes, in capitals.
fn shouting() -> SocketAddr {
    raw_origin(|mut stream, _| {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        stream.get_mut().write_all(head).unwrap();
        let mut chunk = [0; 64];
        while let Ok(length @ 1..) = stream.read(&mut chunk) {
            let louder = chunk[..length].to_ascii_uppercase();
            stream.get_mut().write_all(&louder).unwrap();
        }
    })
}

#[test]
fn a_websocket_is_logged_at_its_end_with_what_passed_through_it() {
    let log = Logging::start(&[("here", format!("http://{}", shouting()))], "", "");
    let mut stream = std::io::BufReader::new(log.connect());
    let head = b"GET /chat HTTP/1.1\r\nHost: www.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    stream.get_mut().write_all(head).unwrap();
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 101 "));
    stream.get_mut().write_all(b"hello").unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"HELLO");
    assert_eq!(log.text(), "", "it has not ended");
    drop(stream);
    check(
        &log.lines(1)[0],
        &[
            ("/status", 101.into()),
            ("/path", "/chat".into()),
            ("/request_bytes", 5.into()),
            ("/response_bytes", 5.into()),
            ("/termination", "completed".into()),
            ("/region", "here".into()),
        ],
    );
    assert_eq!(log.lines(1).len(), 1, "one line, not one for each end");
}

#[test]
fn a_websocket_that_says_nothing_is_ended_by_the_edge() {
    let idle = "    timeouts: { idle: 300ms }\n";
    let log = Logging::start(&[("here", format!("http://{}", shouting()))], "", idle);
    let head = b"GET /chat HTTP/1.1\r\nHost: www.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert!(log.say(head).starts_with("HTTP/1.1 101 "));
    let line = &log.lines(1)[0];
    let end = [
        ("/termination", "idle-timeout".into()),
        ("/ended_by", "edge".into()),
    ];
    check(line, &end);
    assert!(ms(line, "/duration_ms") >= 300.0);
}

/// Begins an answer and never ends it, until the connection is gone.
fn dripping() -> SocketAddr {
    raw_origin(|mut stream, head| {
        let length = if head.starts_with("GET /torn") {
            "100"
        } else {
            "1000000"
        };
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n0123456789");
        stream.get_mut().write_all(answer.as_bytes()).unwrap();
        if length == "1000000" {
            let _ = stream.read(&mut [0; 1]); // Until the edge gives up on it.
        }
    })
}

#[test]
fn who_broke_off_an_answer_is_told() {
    let log = Logging::start(&[("here", format!("http://{}", dripping()))], "", "");
    let said = log.say(b"GET /torn HTTP/1.1\r\nHost: www.example.com\r\n\r\n");
    assert!(said.ends_with("0123456789"), "{said}");
    check(
        &log.lines(1)[0],
        &[
            ("/status", 200.into()),
            ("/termination", "origin-closed".into()),
            ("/ended_by", "origin".into()),
            ("/response_bytes", 10.into()),
        ],
    );
    let mut stream = log.connect();
    stream
        .write_all(b"GET /left HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
        .unwrap();
    stream.read_exact(&mut [0; 12]).unwrap();
    drop(stream);
    let left: [(&str, Value); 3] = [
        ("/status", 200.into()),
        ("/termination", "client-closed".into()),
        ("/ended_by", "client".into()),
    ];
    check(&log.lines(2)[1], &left);
    let https = log.edge.address("https");
    let url = format!("https://www.example.com:{}/left", https.port());
    let resolve = format!("www.example.com:{}:127.0.0.1", https.port());
    let mut curl = Command::new("curl");
    curl.args([
        "-sk",
        "--http2",
        "--max-time",
        "1",
        "--resolve",
        &resolve,
        &url,
    ]);
    assert!(!curl.output().unwrap().status.success());
    let line = &log.lines(3)[2];
    check(line, &left);
    check(
        line,
        &[
            ("/protocol", "HTTP/2".into()),
            ("/response_bytes", 10.into()),
        ],
    );
}

#[test]
fn a_client_that_leaves_before_the_answer_is_logged_without_a_status() {
    let origin = Origin::start("here");
    origin.set_pause(Duration::from_secs(60));
    let log = Logging::of(&origin, "");
    let mut stream = log.connect();
    stream
        .write_all(b"GET /slow HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
        .unwrap();
    assert!(wait_until(|| origin.is_asked()));
    drop(stream);
    check(
        &log.lines(1)[0],
        &[
            ("/status", Value::Null),
            ("/termination", "client-closed".into()),
            ("/service", "www".into()),
            ("/region", Value::Null),
            ("/attempts/0/result", "given-up".into()),
        ],
    );
}

/// The beginnings of an upload, framed in each way.
const UPLOADS: [&str; 2] = [
    "Content-Length: 1000\r\n\r\nbegun",
    "Transfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n",
];

/// Uploads these in turn, each of which its client breaks off with a reset once `is_begun` has seen that it is under way.
fn reset_uploads(log: &Logging, mut is_begun: impl FnMut(), mut is_over: impl FnMut()) {
    for (number, upload) in UPLOADS.into_iter().enumerate() {
        let mut client = log.connect();
        let head = "POST /x HTTP/1.1\r\nHost: www.example.com\r\n";
        client
            .write_all(format!("{head}{upload}").as_bytes())
            .unwrap();
        is_begun();
        socket2::SockRef::from(&client)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(client);
        check(
            &log.lines(number + 1)[number],
            &[
                ("/status", Value::Null),
                ("/termination", "client-closed".into()),
                ("/ended_by", "client".into()),
                ("/attempts/0/result", "given-up".into()),
            ],
        );
        is_over();
    }
}

#[test]
fn a_client_that_resets_its_connection_within_an_upload_is_logged_without_a_status() {
    let (tell, told) = mpsc::channel();
    let taking = raw_origin(move |mut stream, head| {
        let mut got = head.into_bytes();
        while !got.ends_with(b"begun") && !got.ends_with(b"begun\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            got.extend(byte);
        }
        tell.send(Vec::new()).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        tell.send(rest).unwrap();
    });
    let log = Logging::start(&[("here", format!("http://{taking}"))], "", "");
    let is_begun = || {
        told.recv().unwrap();
    };
    reset_uploads(&log, is_begun, || {
        // What was cut off must not look like the whole of it.
        let rest = told.recv().unwrap();
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{rest:?}");
    });
}

#[test]
fn a_client_that_resets_its_stream_within_an_upload_is_logged_without_a_status() {
    let (tell, told) = mpsc::channel();
    let taking = raw_origin(move |mut stream, _| {
        tell.send(()).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let log = Logging::start(&[("here", format!("http://{taking}"))], "", "");
    let mut client = FrameClient::connect(log.edge.address("https"));
    let begun = [
        open(1, &request("POST", "/upload"), 0),
        frame(DATA, 0, 1, b"some"),
    ];
    client.send(&begun.concat()).unwrap();
    told.recv().unwrap();
    client
        .send(&frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]))
        .unwrap();
    let end = [
        ("/termination", "client-closed".into()),
        ("/status", Value::Null),
    ];
    check(&log.lines(1)[0], &end);
}

/// What comes of an upload: a piece, its end, or why it is broken off.
type Piece = Option<Result<bytes::Bytes, Option<h2::Reason>>>;

/// An HTTP/2 origin that tells what comes of uploads.
async fn telling(listener: tokio::net::TcpListener, tell: mpsc::Sender<Piece>) {
    while let Ok((stream, _)) = listener.accept().await {
        let tell = tell.clone();
        tokio::spawn(async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, respond))) = connection.accept().await {
                if request.method() == http::Method::POST {
                    let body = request.into_body();
                    tokio::spawn(tell_pieces(body, respond, tell.clone()));
                }
            }
        });
    }
}

async fn tell_pieces(
    mut body: h2::RecvStream,
    _unanswered: h2::server::SendResponse<bytes::Bytes>,
    tell: mpsc::Sender<Piece>,
) {
    let mut goes_on = true;
    while goes_on {
        let piece = body.data().await;
        goes_on = matches!(piece, Some(Ok(_)));
        let piece = piece.map(|piece| piece.map_err(|error| error.reason()));
        tell.send(piece).unwrap();
    }
}

#[test]
fn an_http2_origin_is_told_of_an_upload_that_its_client_reset_by_a_reset() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listening = tokio::net::TcpListener::bind("127.0.0.1:0");
    let listener = runtime.block_on(listening).unwrap();
    let origin = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    let _origin = runtime.spawn(telling(listener, tell));
    let log = Logging::start(&[("here", format!("h2c://{origin}"))], "", "");
    let is_begun = || assert_eq!(told.recv().unwrap(), Some(Ok("begun".into())));
    reset_uploads(&log, is_begun, || {
        assert_eq!(told.recv().unwrap(), Some(Err(Some(h2::Reason::CANCEL))));
    });
}

#[test]
fn a_client_that_reads_nothing_is_ended_by_the_edge() {
    let endless = raw_origin(|mut stream, _| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
        let mut written = stream.get_mut().write_all(head);
        while written.is_ok() {
            written = stream.get_mut().write_all(&[b'x'; 64 << 10]);
        }
    });
    let origins = [("here", format!("http://{endless}"))];
    let yaml = access_log_support::yaml(&origins, "", "");
    let patient = "timeouts: { headers: 1s }";
    assert!(yaml.contains(patient));
    let log = Logging {
        edge: Edge::start(&yaml.replace(patient, "timeouts: { idle: 300ms }")),
    };
    let mut stream = log.connect();
    stream
        .write_all(b"GET /all HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
        .unwrap();
    check(
        &log.lines(1)[0],
        &[
            ("/status", 200.into()),
            ("/termination", "idle-timeout".into()),
            ("/ended_by", "edge".into()),
            ("/detail", "the client reads nothing".into()),
        ],
    );
    drop(stream);
}

#[test]
fn what_a_drain_cuts_off_has_not_lost_its_client() {
    let mut log = Logging::start(&[("here", format!("http://{}", dripping()))], "", "");
    let mut stream = log.connect();
    stream
        .write_all(b"GET /left HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
        .unwrap();
    stream.read_exact(&mut [0; 12]).unwrap();
    log.edge.process.signal("TERM");
    assert_eq!(log.edge.process.wait(), 0);
    check(
        &log.lines(1)[0],
        &[
            ("/termination", "drain-timeout".into()),
            ("/ended_by", "edge".into()),
        ],
    );
}

#[test]
fn what_reading_a_kept_body_takes_is_told_where_it_fails() {
    let origin = Origin::start("here");
    let retries = "    retries: { methods: idempotent }";
    let log = Logging::start(&[("here", origin.url())], "", retries);
    let head = "PUT / HTTP/1.1\r\nHost: www.example.com\r\nTransfer-Encoding: chunked\r\n\r\n";
    let said = log.say(format!("{head}3\r\nabc\r\nxyz\r\n").as_bytes());
    assert!(said.starts_with("HTTP/1.1 400 "), "{said}");
    let line = &log.lines(1)[0];
    assert!(line["phases"]["request_body_ms"].is_number(), "{line}");
}

#[test]
fn answers_without_a_body_are_completed() {
    let origin = Origin::start("here");
    origin.set_answer(|seen| {
        let status = if seen.uri == "/none" { 204 } else { 200 };
        let body = if status == 204 { "" } else { "text" };
        let response = axum::response::Response::builder().status(status);
        response.body(body.into()).unwrap()
    });
    let log = Logging::of(&origin, "");
    for version in ["--http1.1", "--http2"] {
        log.edge.curl("www.example.com", "/", &["-I", version]);
        log.edge.curl("www.example.com", "/none", &[version]);
    }
    let unknown = log.edge.address("http");
    run(Command::new("curl").args(["-sSI", &format!("http://{unknown}/")]));
    for line in log.lines(5) {
        let how = if line["status"] == 421 {
            "unknown-host"
        } else {
            "completed"
        };
        check(
            &line,
            &[("/termination", how.into()), ("/response_bytes", 0.into())],
        );
    }
}

#[test]
fn what_is_no_request_over_http2_has_a_line_that_says_why() {
    let log = Logging::of(&Origin::start("o"), "");
    let mut client = FrameClient::connect(log.edge.address("https"));
    let mut shouted = request("GET", "/");
    shouted.push((b"X-Loud".to_vec(), b"1".to_vec()));
    let mut large = request("GET", "/");
    large.extend((0..20).map(|_| (b"x".to_vec(), vec![b'a'; 16_000])));
    client.send(&open(1, &shouted, END_STREAM)).unwrap();
    client.send(&in_frames(3, &block(&large))).unwrap();
    log.lines(2);
    let breaks_off = frame(PING, 0, 1, &[0; 8]);
    let last = [open(5, &shouted, END_STREAM), breaks_off].concat();
    client.send(&last).unwrap();
    let lines = log.lines(3);
    for line in [&lines[0], &lines[2]] {
        check(
            line,
            &[
                ("/status", Value::Null),
                ("/method", Value::Null),
                ("/termination", "malformed".into()),
                ("/ended_by", "client".into()),
                ("/detail", "a field's name or value is none".into()),
            ],
        );
    }
    check(
        &lines[1],
        &[
            ("/status", 431.into()),
            ("/termination", "headers-too-large".into()),
        ],
    );
}

/// The line of a request whose stream was reset for what came behind its head.
#[track_caller]
fn check_wrong(line: &Value, status: Value, why: &str) {
    let end = [
        ("/status", status),
        ("/termination", "protocol-error".into()),
        ("/ended_by", "client".into()),
        ("/detail", why.into()),
    ];
    check(line, &end);
}

#[test]
fn an_upload_that_turns_malformed_over_http2_has_a_line_that_says_why() {
    let origin = Origin::start("here");
    origin.set_pause(Duration::from_secs(60));
    let log = Logging::of(&origin, "");
    let mut client = FrameClient::connect(log.edge.address("https"));
    let mut upload = request("POST", "/x");
    upload.push((b"content-length".to_vec(), b"4".to_vec()));
    client.send(&open(1, &upload, 0)).unwrap();
    assert!(wait_until(|| origin.is_asked()));
    client.send(&frame(DATA, 0, 1, b"hello")).unwrap();
    let why = "protocol error: there is more content than was told";
    check_wrong(&log.lines(1)[0], Value::Null, why);
    // Nobody had heard of this one.
    let at_once = [open(3, &upload, 0), frame(DATA, 0, 3, b"hello")].concat();
    client.send(&at_once).unwrap();
    let end = [
        ("/termination", "malformed".into()),
        ("/detail", "there is more content than was told".into()),
    ];
    check(&log.lines(2)[1], &end);
    let malformed = ["problem=\"malformed\""];
    let counted = log.edge.counted("meridian_http_problems_total", &malformed);
    assert_eq!(counted, 2);
}

#[test]
fn what_is_wrong_while_its_answer_is_read_has_a_line_that_says_why() {
    let log = Logging::start(&[("here", format!("http://{}", dripping()))], "", "");
    let mut client = FrameClient::connect(log.edge.address("https"));
    let asks = open(1, &request("GET", "/left"), END_STREAM);
    client.send(&asks).unwrap();
    while client.read().unwrap().kind != DATA {}
    client.send(&frame(DATA, 0, 1, b"more")).unwrap();
    let why = "stream closed: DATA comes behind the end of its stream";
    check_wrong(&log.lines(1)[0], 200.into(), why);
}
