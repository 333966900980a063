//! Positions in the trailers of streamed answers: they come too late for the head, and reach the client's token by
//! the session's memory.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use support::frames::{self, FrameClient, open, request};
use support::{
    Answer, Answered, Edge, Process, Wire, Wired, WiredOrigin, certificate, raw_origin, run,
    two_regions,
};

const HOST: &str = "api.example.com";

/// What is written.
const BODY: &str = "x";

fn yaml(near: &str, far: &str, more: &str) -> String {
    let consistency =
        "wait: 0s, pin: 1s, intents: [{ path: '/kv.Store/Get', method: POST, is: read }]";
    two_regions(near, far, more, "protocol: tcp", consistency)
}

fn token(answer: &Answer) -> String {
    format!("Meridian-Token: {}", answer.header("meridian-token"))
}

/// An edge whose writes go to `far`; nobody is near.
fn edge(far: &str) -> Edge {
    Edge::start(&yaml("http://127.0.0.1:1", far, ""))
}

/// The first read after the write, with the token of the write's head, and a read with what that one gave, at an edge
/// that has the keys and remembers nothing: both are asked to show position 5. `far` says what it was asked to show.
#[track_caller]
fn check_reaches_the_token(far: &str, write: impl Fn(&Edge) -> Answer) {
    let (first, second) = (edge(far), edge(far));
    let written = write(&first);
    assert_eq!(written.body, "far", "{}", written.head);
    let head = written.head.to_ascii_lowercase();
    assert!(!head.contains("meridian-committed:") && !head.contains("meridian-applied:"));
    let read = |edge: &Edge, token: &str| edge.curl(HOST, "/", &["-H", token]);
    let before = read(&second, &token(&written));
    assert_eq!(
        before.body, "far has to show nothing",
        "the head knows no more"
    );
    let told = read(&first, &token(&written));
    assert_eq!(told.body, "far has to show far=5");
    assert_eq!(read(&second, &token(&told)).body, "far has to show far=5");
}

/// An origin over HTTP/1.1 whose answers to writes end in these trailers, announced or not. It reads a write first: to an
/// answer over HTTP/2 that ends before curl (7.88) has sent its request, curl wakes no more.
fn chunked(announced: &'static str, trailers: &'static str) -> SocketAddr {
    raw_origin(move |mut stream, head| {
        let answer = if head.starts_with("POST") {
            stream.read_exact(&mut [0; BODY.len()]).unwrap();
            format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{announced}Connection: close\r\n\r\n\
                 3\r\nfar\r\n0\r\n{trailers}\r\n"
            )
        } else {
            let required = head
                .lines()
                .find_map(|line| line.strip_prefix("meridian-require: "));
            let body = format!("far has to show {}", required.unwrap_or("nothing"));
            let length = body.len();
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            )
        };
        let _ = stream.get_mut().write_all(answer.as_bytes());
    })
}

#[test]
fn a_position_in_trailers_over_http_1_1_reaches_the_token_announced_or_not_and_whatever_the_client_takes()
 {
    for (announced, trailers) in [
        (
            "Trailer: Meridian-Committed\r\n",
            "Meridian-Committed: 5\r\n",
        ),
        ("", "Meridian-Committed: far=5\r\n"),
        ("", "Meridian-Applied: far=5\r\n"),
    ] {
        for client in [
            &["--http1.1"][..],
            &["--http1.1", "-H", "TE: trailers"],
            &["--http2"],
        ] {
            let far = format!("http://{}", chunked(announced, trailers));
            check_reaches_the_token(&far, |edge| {
                edge.curl(HOST, "/", &[client, &["-d", BODY]].concat())
            });
        }
    }
}

/// Answers writes with trailers, over HTTP/2, and reads them first, for curl.
async fn trailing(wired: Wired, trailers: [(&'static str, &'static str); 2]) -> Answered {
    let (head, body) = wired.request.into_parts();
    body.collect().await.unwrap();
    answer_with(&head, trailers)
}

fn answer_with(request: &Parts, trailers: [(&'static str, &'static str); 2]) -> Answered {
    if request.method != Method::POST {
        let required = request.headers.get("meridian-require");
        let required = required.map_or("nothing", |required| required.to_str().unwrap());
        let body = format!("far has to show {required}");
        return Response::new(Full::new(Bytes::from(body)).boxed());
    }
    let mut map = HeaderMap::new();
    for (name, value) in trailers {
        map.insert(HeaderName::from_static(name), value.parse().unwrap());
    }
    let frames = [
        Ok(Frame::data(Bytes::from("fa"))),
        Ok(Frame::data(Bytes::from("r"))),
        Ok(Frame::trailers(map)),
    ];
    Response::new(StreamBody::new(futures_util::stream::iter(frames)).boxed())
}

fn over_http2(trailers: [(&'static str, &'static str); 2]) -> WiredOrigin {
    let wire = Wire {
        http2: true,
        ..Wire::default()
    };
    WiredOrigin::start(wire, move |wired| trailing(wired, trailers))
}

#[test]
fn a_position_in_trailers_over_http_2_reaches_the_token() {
    for position in [("meridian-committed", "5"), ("meridian-applied", "far=5")] {
        for client in ["--http1.1", "--http2"] {
            let origin = over_http2([position, ("x-sum", "1")]);
            let far = format!("h2c://{}", origin.address);
            check_reaches_the_token(&far, |edge| edge.curl(HOST, "/", &[client, "-d", BODY]));
        }
    }
}

#[test]
fn an_answer_with_trailers_ends_though_its_request_goes_on() {
    let wire = Wire {
        http2: true,
        ..Wire::default()
    };
    let origin = WiredOrigin::start(wire, |wired| async {
        answer_with(&wired.request.into_parts().0, [("x-sum", "1"); 2])
    });
    let edge = frames::edge(&format!("h2c://{}", origin.address));
    let mut client = FrameClient::connect(edge.address("https"));
    client.send(&open(1, &request("POST", "/"), 0)).unwrap();
    assert!(client.ends(1), "nothing of its content was sent");
}

#[test]
fn whoever_has_no_token_after_the_head_gets_nothing_from_trailers() {
    let origin = over_http2([("meridian-committed", "5"), ("x-sum", "1")]);
    let edge = edge(&format!("h2c://{}", origin.address));
    let read = edge.curl(HOST, "/kv.Store/Get", &["-d", "x"]);
    assert_eq!(read.body, "far", "{}", read.head);
    assert!(read.headers("meridian-token").is_empty(), "{}", read.head);
    assert!(read.headers("set-cookie").is_empty(), "{}", read.head);
    let write = edge.curl(HOST, "/", &["-d", "x"]);
    let after = edge.curl(HOST, "/", &["-H", &token(&write)]);
    assert_eq!(
        after.body, "far has to show far=5",
        "a write by method has one"
    );
}

#[test]
fn what_trailers_cannot_mean_is_counted_and_changes_nothing() {
    let origin = over_http2([
        ("meridian-committed", "soon"),
        ("meridian-applied", "far=5,far=6"),
    ]);
    let edge = edge(&format!("h2c://{}", origin.address));
    let write = edge.curl(HOST, "/", &["-d", "x"]);
    assert_eq!(write.body, "far", "{}", write.head);
    let rejected =
        |source, reason| edge.counted("meridian_position_rejected_total", &[source, reason]);
    assert_eq!(rejected("source=\"committed\"", "reason=\"malformed\""), 1);
    assert_eq!(rejected("source=\"answer\"", "reason=\"twice\""), 1);
    let read = edge.curl(HOST, "/", &["-H", &token(&write)]);
    assert_eq!(read.body, "far has to show nothing");
}

/// Python of the clients' environment with a script of `tests/clients`.
fn python(script: &str, mode: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/clients/bin/python");
    assert!(python.exists(), "scripts/test.sh makes target/clients");
    let mut command = Command::new(python);
    command
        .arg(root.join("tests/clients").join(script))
        .arg(mode);
    command
}

fn grpc_origin() -> (Process, String) {
    let mut origin = Process::start(&mut python("grpc_positions.py", "origin"));
    origin.wait_for(" now");
    let said = origin.said();
    let port = said.split("listening on ").nth(1).unwrap();
    let port = port.split(' ').next().unwrap();
    (origin, format!("h2c://127.0.0.1:{port}"))
}

#[test]
fn a_grpc_write_s_trailing_metadata_reaches_the_token_of_grpcs_own_client() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(folder.path(), "edge", HOST);
    let tls = format!(
        "tls: {{ certificates: [{{ cert: {}, key: {} }}] }}",
        cert.display(),
        key.display()
    );
    let (_far, far) = grpc_origin();
    let yaml = yaml("http://127.0.0.1:1", &far, &tls);
    let (first, second) = (Edge::start(&yaml), Edge::start(&yaml));
    let ports = [&first, &second].map(|edge| edge.address("https").port().to_string());
    let mut client = python("grpc_positions.py", "client");
    let said = run(client.args(ports).arg(&cert));
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("all is well"), "{said}");
}
