//! WebSockets whichever of HTTP/1.1 and HTTP/2 client and origin speak (RFC 6455, RFC 8441).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::{Method, Request, Response, Version};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::ServerName;
use support::{Edge, Origin, raw_origin, read_head, trusting_anybody};
use tokio::io::AsyncWriteExt;
use tokio::runtime::Runtime;

fn edge(origin: &str) -> Edge {
    Edge::start(&format!(
        "listen: {{ http: ['127.0.0.1:0'], http_mode: serve, https: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
regions: {{ here: {{ origins: ['{origin}'] }} }}
services: {{ www: {{ hosts: [www.example.com], health: {{ protocol: tcp }} }} }}
"
    ))
}

/// RFC 6455 §4.2.2.
fn accept_of(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let sha1 = &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY;
    let hash = aws_lc_rs::digest::digest(sha1, text.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(hash)
}

/// An HTTP/1.1 origin that answers a handshake in this way and then echoes line by line.
fn origin_http1(answer: fn(key: &str) -> String) -> SocketAddr {
    raw_origin(move |mut stream, head| {
        let lower = head.to_ascii_lowercase();
        let has = |field: &str| lower.contains(field);
        assert!(head.starts_with("GET /chat HTTP/1.1\r\n"), "{head}");
        assert!(
            has("\r\nupgrade: websocket\r\n") && has("\r\nconnection: upgrade\r\n"),
            "{head}"
        );
        assert!(has("\r\nsec-websocket-version: 13\r\n"), "{head}");
        let mark = "sec-websocket-key: ";
        let key = &head[lower.find(mark).unwrap() + mark.len()..];
        let key = key.lines().next().unwrap();
        let said = answer(key);
        stream.get_mut().write_all(said.as_bytes()).unwrap();
        let mut line = String::new();
        while stream.read_line(&mut line).unwrap_or(0) > 0 {
            stream.get_mut().write_all(line.as_bytes()).unwrap();
            line.clear();
        }
    })
}

fn switch(key: &str) -> String {
    let accept = accept_of(key);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: chat\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

async fn echo(mut request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    assert_eq!(request.method(), Method::CONNECT);
    let protocol = request.extensions().get::<hyper::ext::Protocol>();
    assert_eq!(protocol.unwrap().as_str(), "websocket");
    assert_eq!(request.uri().path(), "/chat");
    assert!(!request.headers().contains_key("sec-websocket-key"));
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let (mut from, mut to) = tokio::io::split(TokioIo::new(upgrade.await.unwrap()));
        tokio::io::copy(&mut from, &mut to).await.unwrap();
        to.shutdown().await.unwrap();
    });
    Ok(Response::new(Empty::new()))
}

/// An HTTP/2 origin that echoes over extended CONNECT, if it announces it.
fn origin_http2(announces: bool) -> (Runtime, SocketAddr) {
    let runtime = Runtime::new().unwrap();
    let bound = tokio::net::TcpListener::bind("127.0.0.1:0");
    let listener = runtime.block_on(bound).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            if announces {
                server.enable_connect_protocol();
            }
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service_fn(echo)));
        }
    });
    (runtime, address)
}

/// An HTTP/2 connection to the edge that has seen its settings.
async fn connect(edge: &Edge) -> h2::client::SendRequest<Bytes> {
    let tcp = tokio::net::TcpStream::connect(edge.address("https"))
        .await
        .unwrap();
    let name = ServerName::try_from("www.example.com").unwrap();
    let tls = trusting_anybody(&[b"h2"]).connect(name, tcp).await.unwrap();
    let (client, mut connection) = h2::client::handshake(tls).await.unwrap();
    let mut ping = connection.ping_pong().unwrap();
    tokio::spawn(connection);
    ping.ping(h2::Ping::opaque()).await.unwrap();
    client
}

fn extended(protocol: &str) -> Request<()> {
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri("https://www.example.com/chat")
        .version(Version::HTTP_2)
        .header("sec-websocket-version", "13")
        .header("origin", "https://www.example.com")
        .body(())
        .unwrap();
    let protocol = h2::ext::Protocol::from(protocol);
    request.extensions_mut().insert(protocol);
    request
}

/// The answer to an extended CONNECT, after two lines and the end have gone both ways if it is a yes.
async fn chat(edge: &Edge, request: Request<()>) -> Response<h2::RecvStream> {
    let mut client = connect(edge).await;
    assert!(
        client.is_extended_connect_protocol_enabled(),
        "the edge announces it"
    );
    let (answer, mut up) = client.send_request(request, false).unwrap();
    let mut answer = answer.await.unwrap();
    if answer.status() != 200 {
        return answer;
    }
    for line in [&b"one\n"[..], b"two\n"] {
        up.send_data(Bytes::from_static(line), false).unwrap();
        let data = answer.body_mut().data().await.unwrap().unwrap();
        assert_eq!(data, line);
    }
    up.send_data(Bytes::new(), true).unwrap();
    let rest = answer.body_mut().data().await;
    assert!(
        rest.is_none_or(|rest| rest.unwrap().is_empty()),
        "both sides end"
    );
    answer
}

#[test]
fn a_websocket_over_http2_reaches_an_origin_of_http1() {
    let edge = edge(&format!("http://{}", origin_http1(switch)));
    let answer = Runtime::new()
        .unwrap()
        .block_on(chat(&edge, extended("websocket")));
    assert_eq!(answer.status(), 200);
    let headers = answer.headers();
    assert_eq!(headers["sec-websocket-protocol"], "chat");
    for gone in ["sec-websocket-accept", "upgrade", "connection"] {
        assert!(!headers.contains_key(gone), "{gone} in {headers:?}");
    }
}

#[test]
fn a_websocket_over_http2_reaches_an_origin_of_http2() {
    let (_origin, address) = origin_http2(true);
    let edge = edge(&format!("h2c://{address}"));
    let answer = Runtime::new()
        .unwrap()
        .block_on(chat(&edge, extended("websocket")));
    assert_eq!(answer.status(), 200);
}

#[test]
fn a_websocket_over_http1_reaches_an_origin_of_http2() {
    let (_origin, address) = origin_http2(true);
    let edge = edge(&format!("h2c://{address}"));
    let mut client = upgrade(&edge);
    let head = read_head(&mut client).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(
        head.contains("\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"),
        "{head}"
    );
    client.get_mut().write_all(b"hello\n").unwrap();
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    assert_eq!(line, "hello\n");
    client
        .get_mut()
        .shutdown(std::net::Shutdown::Write)
        .unwrap();
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0, "both sides end");
}

fn upgrade(edge: &Edge) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(edge.address("http")).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream.write_all(b"GET /chat HTTP/1.1\r\nHost: www.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n").unwrap();
    BufReader::new(stream)
}

#[test]
fn an_origin_of_http2_that_announces_no_websockets_is_not_asked_for_one() {
    let (_origin, address) = origin_http2(false);
    let edge = edge(&format!("h2c://{address}"));
    let head = read_head(&mut upgrade(&edge));
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    assert!(head.contains("RFC 8441"), "{head}");
}

#[test]
fn whoever_takes_no_websockets_is_well_for_all_else() {
    let (_here, address) = origin_http2(false);
    let next = origin_http1(switch);
    let edge = Edge::start(&format!(
        "listen: {{ http: ['127.0.0.1:0'], http_mode: serve, admin: '127.0.0.1:0' }}
regions: {{ here: {{ origins: ['h2c://{address}'] }}, next: {{ origins: ['http://{next}'] }} }}
services:
  www:
    hosts: [www.example.com]
    steering: {{ policy: priority }}
    health: {{ protocol: tcp, passive: {{ consecutive_failures: 2 }} }}
"
    ));
    for _ in 0..5 {
        let head = read_head(&mut upgrade(&edge));
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    }
    let (_, status) = edge.admin("GET", "/api/v1/status", "");
    let here = &status["regions"][0]["services"][0];
    assert!(here["origins"][0]["ejected"].is_null(), "{status}");
    assert_eq!(edge.counted("meridian_ejections_total", &[]), 0);
}

#[test]
fn an_origin_s_no_to_a_websocket_over_http2_is_passed_on() {
    let no = |_: &str| "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_owned();
    let edge = edge(&format!("http://{}", origin_http1(no)));
    let answer = Runtime::new()
        .unwrap()
        .block_on(chat(&edge, extended("websocket")));
    assert_eq!(answer.status(), 403);
}

#[test]
fn an_origin_s_yes_that_is_no_101_opens_no_websocket_over_http2() {
    let runtime = Runtime::new().unwrap();
    let yes: fn(&str) -> String = |_| "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes".to_owned();
    let empty: fn(&str) -> String = |_| "HTTP/1.1 204 No Content\r\n\r\n".to_owned();
    for answer in [yes, empty] {
        let edge = edge(&format!("http://{}", origin_http1(answer)));
        let answer = runtime.block_on(chat(&edge, extended("websocket")));
        assert_eq!(answer.status(), 502);
        let status = answer.headers()["proxy-status"].to_str().unwrap();
        assert!(status.contains("instead of 101"), "{status}");
    }
}

#[test]
fn an_origin_that_does_not_prove_that_it_speaks_websocket_is_a_502() {
    let edge = edge(&format!("http://{}", origin_http1(|_| switch("other"))));
    let answer = Runtime::new()
        .unwrap()
        .block_on(chat(&edge, extended("websocket")));
    assert_eq!(answer.status(), 502);
}

#[test]
fn connect_for_anything_else_is_refused() {
    let edge = edge(&format!("http://{}", origin_http1(switch)));
    let runtime = Runtime::new().unwrap();
    let other = runtime.block_on(chat(&edge, extended("connect-udp")));
    assert_eq!(other.status(), 400);
    let mut plain = extended("websocket");
    plain.extensions_mut().clear();
    *plain.uri_mut() = "www.example.com:443".parse().unwrap();
    assert_eq!(runtime.block_on(chat(&edge, plain)).status(), 400);
}

#[test]
fn what_asks_for_a_websocket_with_a_body_or_another_method_is_a_request_like_others() {
    let origin = Origin::start("o");
    let edge = edge(&origin.url());
    let fields = ["-H", "Upgrade: websocket", "-H", "Connection: Upgrade"];
    for (more, body) in [
        (&["-d", "x=1"][..], "x=1"),
        (&["-X", "GET", "-d", "x=1"], "x=1"),
        (&["-X", "PUT"], ""),
    ] {
        let arguments = [&fields[..], more, &["--http1.1"]].concat();
        assert_eq!(edge.curl("www.example.com", "/", &arguments).status, 200);
        let seen = origin.seen().pop().unwrap();
        assert_eq!(seen.body, body, "{more:?}");
        assert!(!seen.headers.contains_key("upgrade"), "{more:?}");
    }
}

#[test]
fn no_other_upgrade_is_passed_on() {
    let origin = Origin::start("o");
    let edge = edge(&origin.url());
    for protocol in ["h2c", "TLS/1.0", "connect-udp"] {
        let upgrade = format!("Upgrade: {protocol}");
        let fields = ["-H", &upgrade, "-H", "Connection: Upgrade", "--http1.1"];
        assert_eq!(edge.curl("www.example.com", "/", &fields).status, 200);
        let seen = origin.seen().pop().unwrap();
        assert!(!seen.headers.contains_key("upgrade"), "{protocol}");
        assert!(!seen.headers.contains_key("connection"), "{protocol}");
    }
}
