//! What HTTP desynchronization attacks are made of is refused with 400 and the end of the connection,
//! and the origin sees nothing of it.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use support::{Edge, Origin};

struct Face {
    edge: Edge,
    origin: Origin,
}

fn face() -> Face {
    let origin = Origin::start("o");
    let edge = Edge::start(&format!(
        "node: {{ name: fra-1 }}
listen: {{ http: ['127.0.0.1:0'], http_mode: serve, admin: '127.0.0.1:0' }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions: {{ here: {{ origins: ['{}'] }} }}
services: {{ www: {{ hosts: [www.example.com] }} }}
",
        origin.url()
    ));
    Face { edge, origin }
}

impl Face {
    /// All that comes back until the edge ends the connection.
    fn say(&self, bytes: &str) -> String {
        let mut stream = TcpStream::connect(self.edge.address("http")).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream.write_all(bytes.as_bytes()).unwrap();
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    }
}

const GET: &str = "GET /after HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n";

#[test]
fn an_ambiguous_request_is_a_400_with_its_reason_and_ends_the_connection() {
    let face = face();
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: +5",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding : chunked",
        "X: a\r\n b",
        "X: a\nY: b",
        "X: a\rY: b",
    ] {
        let head = format!("POST /bad HTTP/1.1\r\nHost: www.example.com\r\n{fields}\r\n\r\n");
        let said = face.say(&format!("{head}0\r\n\r\n{GET}"));
        assert!(
            said.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{fields}\n{said}"
        );
        let lower = said.to_ascii_lowercase();
        for part in [
            "content-type: application/problem+json\r\n",
            "proxy-status: \"fra-1\"; error=http_request_error; details=\"",
            "x-request-id: ",
            "via: 1.1 fra-1\r\n",
            "connection: close\r\n",
            "\"status\":400",
        ] {
            assert!(lower.contains(part), "{part} in\n{said}");
        }
        assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{fields}\n{said}");
    }
    assert!(face.origin.seen().is_empty(), "{:?}", face.origin.seen());
}

#[test]
fn a_bad_chunk_is_a_400_and_what_follows_is_no_request() {
    let face = face();
    let head = "POST /bad HTTP/1.1\r\nHost: www.example.com\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [
        "5\r\nhello\nX",
        "zz\r\nhello\r\n0\r\n\r\n",
        "3\r\nhello\r\n0\r\n\r\n",
    ] {
        let said = face.say(&format!("{head}{body}{GET}"));
        assert!(said.starts_with("HTTP/1.1 400 "), "{body:?}\n{said}");
        assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{body:?}\n{said}");
    }
    assert!(face.origin.seen().iter().all(|seen| seen.uri != "/after"));
}

#[test]
fn a_head_that_is_too_long_is_a_431() {
    let face = face();
    let head = format!(
        "GET / HTTP/1.1\r\nHost: www.example.com\r\nX: {}\r\n",
        "x".repeat(300 << 10)
    );
    let said = face.say(&head);
    assert!(
        said.starts_with("HTTP/1.1 431 "),
        "{}",
        said.get(..200).unwrap_or(&said)
    );
    assert!(said.contains("application/problem+json"));
}

#[test]
fn trailers_that_are_too_long_or_too_many_are_a_431() {
    let face = face();
    let long = format!("X: {}\r\n", "x".repeat(300 << 10));
    for trailers in [long, "X: y\r\n".repeat(257)] {
        let said = face.say(&format!(
            "POST / HTTP/1.1\r\nHost: www.example.com\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n{trailers}\r\n"
        ));
        assert!(said.starts_with("HTTP/1.1 431 "), "{said}");
        assert!(said.contains("the trailers are longer"), "{said}");
    }
}

#[test]
fn a_head_that_its_service_finds_too_large_ends_the_connection_too() {
    let face = face();
    let fields = "X: y\r\n".repeat(150);
    let head = format!("GET / HTTP/1.1\r\nHost: www.example.com\r\n{fields}\r\n");
    let said = face.say(&format!("{head}{GET}"));
    assert!(said.starts_with("HTTP/1.1 431 "), "{said}");
    assert!(said.contains("\r\nconnection: close\r\n"), "{said}");
    assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{said}");
    assert!(face.origin.seen().is_empty(), "{:?}", face.origin.seen());
}

#[test]
fn pipelined_requests_are_answered_in_order_and_a_bad_one_after_them_last() {
    let face = face();
    face.origin
        .set_answer(|seen| axum::response::Response::new(seen.uri.clone().into()));
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: www.example.com\r\n\r\n");
    let said = face.say(&format!(
        "{}{}{}BAD\r\n\r\n",
        get("/one"),
        get("/two"),
        get("/three")
    ));
    let places: Vec<_> = ["/one", "/two", "/three", "400 Bad Request"]
        .iter()
        .map(|part| said.find(part))
        .collect();
    assert!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{said}"
    );
    assert_eq!(said.matches("HTTP/1.1 200 OK").count(), 3, "{said}");
}

#[test]
fn bodies_of_every_framing_reach_the_origin_whole() {
    let face = face();
    face.origin.set_answer(|seen| {
        axum::response::Response::new(format!("{} bytes;", seen.body.len()).into())
    });
    let chunked = "POST / HTTP/1.1\r\nHost: www.example.com\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("{:x}\r\n{}\r\n", 50_000, "x".repeat(50_000));
    let counted = format!(
        "POST / HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: 200000\r\n\r\n{}",
        "y".repeat(200_000)
    );
    let said = face.say(&format!("{chunked}{chunk}{chunk}0\r\n\r\n{counted}{GET}"));
    assert!(
        said.contains("100000 bytes;") && said.contains("200000 bytes;"),
        "{said}"
    );
    assert!(said.contains("0 bytes;"), "{said}");
}

#[test]
fn a_refused_websocket_leaves_a_connection_that_is_still_guarded() {
    let face = face();
    let upgrade = "GET /chat HTTP/1.1\r\nHost: www.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let said = face.say(&format!("{upgrade}{GET}"));
    assert_eq!(said.matches("HTTP/1.1 200 OK").count(), 2, "{said}");
    let bad = "POST /bad HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let said = face.say(&format!("{upgrade}{bad}"));
    assert!(said.contains("HTTP/1.1 400 Bad Request"), "{said}");
    assert!(face.origin.seen().iter().all(|seen| seen.uri != "/bad"));
}
