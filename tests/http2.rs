//! HTTP/2 towards origins: prior knowledge, streams that share a connection, trailers, refused streams.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::{Edge, Origin, raw_origin};
use tokio::runtime::Runtime;

/// An HTTP/2 server without TLS: echoes the body, says whom it was asked as, and ends with a trailer.
struct H2Origin {
    address: SocketAddr,
    connections: Arc<AtomicU32>,
    runtime: Option<Runtime>,
}

async fn echo(
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let authority = request
        .uri()
        .authority()
        .map(ToString::to_string)
        .unwrap_or_default();
    let collected = request.into_body().collect().await;
    let (body, sum) = match collected {
        Ok(collected) => {
            let sum = collected
                .trailers()
                .and_then(|trailers| trailers.get("x-sum").cloned());
            (collected.to_bytes(), sum)
        }
        Err(_) => (Bytes::new(), None),
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    trailers.extend(sum.map(|sum| ("x-sum".parse::<http::HeaderName>().unwrap(), sum)));
    let frames = [Ok(Frame::data(body)), Ok(Frame::trailers(trailers))];
    let body = StreamBody::new(futures_util::stream::iter(frames)).boxed();
    Ok(Response::builder()
        .header("x-authority", authority)
        .body(body)
        .unwrap())
}

impl H2Origin {
    fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let address = listener.local_addr().unwrap();
        let connections: Arc<AtomicU32> = Arc::default();
        let counted = connections.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service_fn(echo));
                tokio::spawn(serving);
            }
        });
        Self {
            address,
            connections,
            runtime: Some(runtime),
        }
    }
}

impl Drop for H2Origin {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn edge(origins: &str) -> Edge {
    Edge::start(&format!(
        "listen: {{ https: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions: {origins}
services: {{ www: {{ hosts: [www.example.com], steering: {{ policy: priority }} }} }}
"
    ))
}

#[test]
fn a_request_keeps_its_body_and_its_authority_whatever_the_client_speaks() {
    let origin = H2Origin::start();
    let edge = edge(&format!(
        "{{ a: {{ origins: ['h2c://{}'] }} }}",
        origin.address
    ));
    let authority = format!("www.example.com:{}", edge.address("https").port());
    for version in ["--http1.1", "--http2"] {
        let answer = edge.curl("www.example.com", "/", &[version, "-d", "hello"]);
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, "hello"),
            "{version}"
        );
        assert_eq!(answer.header("x-authority"), authority);
        assert_eq!(answer.header("via"), "2 ".to_owned() + node(&edge).as_str());
    }
    let large = "x".repeat(100_000);
    assert_eq!(
        edge.curl("www.example.com", "/", &["-d", &large]).body,
        large
    );
}

fn node(edge: &Edge) -> String {
    let (_, status) = edge.admin("GET", "/api/v1/status", "");
    status.get("node").unwrap().as_str().unwrap().to_owned()
}

/// An HTTP/2 server without TLS, of whose connections the first one that gets a second request says nothing ever again.
fn falling_silent(runtime: &Runtime) -> SocketAddr {
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
    let listener = listener.unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        let has_fallen = Arc::new(AtomicBool::new(false));
        while let Ok((stream, _)) = listener.accept().await {
            let has_fallen = has_fallen.clone();
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else {
                    return; // A probe.
                };
                let mut count = 0;
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    count += 1;
                    if count == 2 && !has_fallen.swap(true, Ordering::SeqCst) {
                        return std::future::pending().await;
                    }
                    respond.send_response(Response::new(()), true).unwrap();
                }
            });
        }
    });
    address
}

#[test]
fn a_connection_that_lets_a_request_wait_without_a_word_gets_no_others() {
    let runtime = Runtime::new().unwrap();
    let origin = falling_silent(&runtime);
    let edge = Edge::start(&format!(
        "listen: {{ https: ['127.0.0.1:0'] }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions: {{ a: {{ origins: ['h2c://{origin}'] }} }}
services:
  www:
    hosts: [www.example.com]
    timeouts: {{ first_byte: 300ms }}
    health: {{ protocol: tcp, passive: off }}
"
    ));
    let mut client = runtime.block_on(connect::<Empty<Bytes>>(edge.address("https")));
    let mut ask = || {
        let request = Request::get("https://www.example.com/").body(Empty::new());
        let answer = runtime.block_on(client.send_request(request.unwrap()));
        answer.unwrap().status().as_u16()
    };
    assert_eq!([(); 4].map(|()| ask()), [200, 504, 200, 200]);
}

#[test]
fn requests_share_connections() {
    let origin = H2Origin::start();
    let edge = edge(&format!(
        "{{ a: {{ origins: ['h2c://{}'] }} }}",
        origin.address
    ));
    for _ in 0..20 {
        assert_eq!(edge.curl("www.example.com", "/", &[]).status, 200);
    }
    // One for each worker thread, and those of health checks.
    let threads = std::thread::available_parallelism().unwrap().get();
    let most = u32::try_from(threads).unwrap() + 3;
    assert!(origin.connections.load(Ordering::SeqCst) <= most);
}

#[test]
fn trailers_pass_from_end_to_end() {
    let origin = H2Origin::start();
    let edge = edge(&format!(
        "{{ a: {{ origins: ['h2c://{}'] }} }}",
        origin.address
    ));
    let runtime = Runtime::new().unwrap();
    let (message, trailers) = runtime.block_on(call(edge.address("https")));
    assert_eq!(message, "message");
    assert_eq!(trailers.get("grpc-status").unwrap(), "0");
    assert_eq!(trailers.get("x-sum").unwrap(), "42");
}

/// Asks as gRPC does, over HTTP/2 and TLS; the message and the trailers.
/// An HTTP/2 connection to the edge.
async fn connect<B>(address: SocketAddr) -> SendRequest<B>
where
    B: hyper::body::Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let tls = support::trusting_anybody(&[b"h2"]);
    let name = "www.example.com".try_into().unwrap();
    let stream = tls.connect(name, stream).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    sender
}

async fn call(address: SocketAddr) -> (Bytes, HeaderMap) {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "42".parse().unwrap());
    let body =
        Full::new(Bytes::from("message")).with_trailers(std::future::ready(Some(Ok(trailers))));
    let request = Request::post("https://www.example.com/service/Method")
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .body(body)
        .unwrap();
    let mut sender = connect(address).await;
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let collected = response.into_body().collect().await.unwrap();
    let trailers = collected.trailers().unwrap().clone();
    (collected.to_bytes(), trailers)
}

#[test]
fn an_answer_without_content_tells_no_length_over_http2() {
    let origin = raw_origin(|mut stream, _| {
        let answer = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let _ = stream.get_mut().write_all(answer);
    });
    let edge = edge(&format!("{{ a: {{ origins: ['http://{origin}'] }} }}"));
    // curl shows no such field.
    let answer = Runtime::new().unwrap().block_on(async {
        let request = Request::get("https://www.example.com/").body(Empty::<Bytes>::new());
        let mut client = connect(edge.address("https")).await;
        client.send_request(request.unwrap()).await.unwrap()
    });
    assert_eq!(answer.status(), 204);
    assert!(!answer.headers().contains_key("content-length"));
}

#[test]
fn who_takes_trailers_says_so_to_an_http1_origin_as_of_the_connection() {
    let origin = Origin::start("o");
    let edge = edge(&format!("{{ a: {{ origins: ['{}'] }} }}", origin.url()));
    for client in [&["--http2"][..], &["--http1.1", "-H", "Connection: TE"]] {
        let arguments = [client, &["-H", "TE: trailers"]].concat();
        assert_eq!(edge.curl("www.example.com", "/", &arguments).body, "o");
        let seen = origin.seen().pop().unwrap();
        assert_eq!(seen.header("te"), "trailers", "{client:?}");
        assert_eq!(seen.header("connection"), "TE", "{client:?}");
    }
}

#[test]
fn options_and_trace_count_this_hop() {
    let origin = Origin::start("o");
    let edge = edge(&format!("{{ a: {{ origins: ['{}'] }} }}", origin.url()));
    let ask = |method: &str, max: &str| {
        let max = format!("Max-Forwards: {max}");
        edge.curl("www.example.com", "/", &["-X", method, "-H", &max])
    };
    assert_eq!(ask("OPTIONS", "3").body, "o");
    assert_eq!(origin.seen().pop().unwrap().header("max-forwards"), "2");
    assert_eq!(ask("GET", "0").body, "o");
    let asked = origin.seen().len();
    let own = ask("OPTIONS", "0");
    assert_eq!(own.status, 204);
    assert!(own.header("proxy-status").contains("Max-Forwards is 0"));
    assert_eq!(ask("TRACE", "0").status, 501);
    assert_eq!(origin.seen().len(), asked);
}

#[test]
fn a_dead_http2_origin_is_passed_over() {
    let (origin, good) = (H2Origin::start(), Origin::start("good"));
    let edge = edge(&format!(
        "{{ a: {{ origins: ['h2c://{}'] }}, b: {{ origins: ['{}'] }} }}",
        origin.address,
        good.url()
    ));
    assert_eq!(edge.curl("www.example.com", "/", &["-d", "x"]).body, "x");
    drop(origin);
    for _ in 0..5 {
        assert_eq!(edge.curl("www.example.com", "/", &[]).body, "good");
    }
}
