//! Bodies and upgrades as they stream through, and clients and origins that are slow.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use support::frames::{DATA, END_STREAM, Fate, FrameClient, edge, frame, open, request};
use support::{
    Edge, Origin, chat, connect, echo, exchange_line, raw_origin, read_head, say, wait_until,
};

fn yaml(origin: &str, listen: &str, service: &str) -> String {
    format!(
        "listen: {{ http: ['127.0.0.1:0'], http_mode: serve, https: ['127.0.0.1:0'], admin: '127.0.0.1:0', {listen} }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
node: {{ drain_timeout: 10s }}
regions: {{ here: {{ origins: ['{origin}'] }} }}
services: {{ www: {{ hosts: [www.example.com], {service} }} }}
"
    )
}

/// What comes until the other side ends.
fn rest(stream: &mut BufReader<TcpStream>) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_websocket_passes_bytes_both_ways_until_either_side_ends() {
    let origin = raw_origin(echo);
    let edge = Edge::start(&yaml(&format!("http://{origin}"), "", ""));
    let mut client = chat(&edge, "");
    exchange_line(&mut client, "hello\n");
    exchange_line(&mut client, "again\n");
    client.get_mut().shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut client), "");
}

#[test]
fn a_websocket_outlives_the_beginning_of_a_drain() {
    let origin = raw_origin(echo);
    let mut edge = Edge::start(&yaml(&format!("http://{origin}"), "", ""));
    let mut client = chat(&edge, "");
    edge.process.signal("TERM");
    edge.process.wait_for("draining");
    exchange_line(&mut client, "still here\n");
    drop(client);
    assert_eq!(edge.process.wait(), 0);
}

#[test]
fn a_websocket_outlives_the_time_of_a_head() {
    let origin = raw_origin(echo);
    let listen = "timeouts: { headers: 200ms }";
    let edge = Edge::start(&yaml(&format!("http://{origin}"), listen, ""));
    let mut client = chat(&edge, "");
    for _ in 0..3 {
        exchange_line(&mut client, "hello\n");
        std::thread::park_timeout(Duration::from_millis(300));
    }
}

#[test]
fn a_client_that_pauses_within_its_body_is_a_408() {
    let origin = Origin::start("o");
    for idle in ["400ms", "0s"] {
        let timeouts = format!("timeouts: {{ first_byte: 200ms, idle: {idle} }}");
        let edge = Edge::start(&yaml(&origin.url(), "", &timeouts));
        let mut client = connect(edge.address("http"));
        say(
            &mut client,
            "POST / HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: 8\r\n\r\nx",
        );
        let head = read_head(&mut client);
        assert!(head.starts_with("HTTP/1.1 408 "), "{idle}: {head}");
        let head = head.to_ascii_lowercase();
        assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
    }
}

#[test]
fn a_websocket_that_says_nothing_ends_after_idle() {
    let origin = raw_origin(echo);
    let edge = Edge::start(&yaml(
        &format!("http://{origin}"),
        "",
        "timeouts: { idle: 300ms }",
    ));
    let mut client = chat(&edge, "");
    assert_eq!(rest(&mut client), "");
}

#[test]
fn an_answer_reaches_the_client_while_it_is_still_being_made() {
    let (sender, more) = std::sync::mpsc::channel::<()>();
    let more = std::sync::Arc::new(std::sync::Mutex::new(more));
    let origin = raw_origin(move |mut stream, _| {
        say(
            &mut stream,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
        );
        more.lock().unwrap().recv().unwrap();
        say(&mut stream, "4\r\nlast\r\n0\r\n\r\n");
    });
    let edge = Edge::start(&yaml(&format!("http://{origin}"), "", ""));
    let mut client = connect(edge.address("http"));
    say(
        &mut client,
        "GET / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n",
    );
    let head = read_head(&mut client);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let mut first = [0; 10];
    client.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"5\r\nfirst\r\n");
    sender.send(()).unwrap();
    assert_eq!(rest(&mut client), "4\r\nlast\r\n0\r\n\r\n");
}

/// A request whose trailers say these to the edge, and what its origin hears from the head to the end.
fn heard(said: &str) -> String {
    let (tell, told) = std::sync::mpsc::channel();
    let origin = raw_origin(move |mut stream, head| {
        let mut request = head;
        while !request.ends_with("\r\n\r\n") || !request.contains("\r\n0\r\n") {
            assert!(stream.read_line(&mut request).unwrap() > 0, "{request}");
        }
        tell.send(request.to_ascii_lowercase()).unwrap();
        say(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let edge = Edge::start(&yaml(&format!("http://{origin}"), "", ""));
    let mut client = connect(edge.address("http"));
    let request = format!(
        "POST / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 42\r\n{said}\r\n"
    );
    say(&mut client, &request);
    let head = read_head(&mut client);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    told.recv().unwrap()
}

#[test]
fn trailers_say_nothing_to_an_origin_that_a_head_could_not() {
    for field in [
        "Client-Cert",
        "X-Forwarded-For",
        "X_Forwarded_For",
        "X-Request-Id",
        "Cookie",
        "Authorization",
        "Connection",
        "Upgrade",
        "Meridian-Require",
    ] {
        let heard = heard(&format!("{field}: forged\r\n"));
        assert!(heard.contains("\r\nx-sum: 42\r\n"), "{heard}");
        assert!(!heard.contains("forged"), "{heard}");
    }
}

#[test]
fn trailers_pass_both_ways() {
    let origin = raw_origin(|mut stream, head| {
        let mut request = String::new();
        while !request.ends_with("\r\n\r\n") {
            stream.read_line(&mut request).unwrap();
        }
        assert!(
            head.to_ascii_lowercase().contains("\r\nte: trailers\r\n"),
            "{head}"
        );
        assert!(
            request.to_ascii_lowercase().contains("x-sum: 42"),
            "{request}"
        );
        say(
            &mut stream,
            "HTTP/1.1 200 OK\r\nTrailer: grpc-status\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\ngrpc-status: 0\r\n\r\n",
        );
    });
    let edge = Edge::start(&yaml(&format!("http://{origin}"), "", ""));
    let mut client = connect(edge.address("http"));
    say(
        &mut client,
        "POST / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close, TE\r\nTE: trailers\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 42\r\n\r\n",
    );
    let head = read_head(&mut client);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let body = rest(&mut client);
    assert!(body.contains("grpc-status: 0"), "{body}");
}

#[test]
fn a_head_that_stalls_is_a_408_and_a_pause_between_requests_is_none() {
    let origin = Origin::start("o");
    let edge = Edge::start(&yaml(
        &origin.url(),
        "timeouts: { headers: 300ms, idle: 10s }",
        "",
    ));
    let mut stalled = connect(edge.address("http"));
    say(&mut stalled, "GET / HTTP/1.1\r\nHost: www.exam");
    let said = rest(&mut stalled);
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    let mut patient = connect(edge.address("http"));
    for _ in 0..2 {
        say(
            &mut patient,
            "GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n",
        );
        let head = read_head(&mut patient);
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let mut body = [0; 1];
        patient.read_exact(&mut body).unwrap();
        // Longer than a head may take.
        std::thread::park_timeout(Duration::from_millis(500));
    }
}

#[test]
fn an_upload_that_goes_on_longer_than_first_byte_is_no_time_out() {
    let origin = Origin::start("o");
    let edge = Edge::start(&yaml(&origin.url(), "", "timeouts: { first_byte: 1s }"));
    let mut client = connect(edge.address("http"));
    say(
        &mut client,
        "POST / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\nContent-Length: 8\r\n\r\n",
    );
    for _ in 0..8 {
        std::thread::park_timeout(Duration::from_millis(200));
        say(&mut client, "x");
    }
    let said = rest(&mut client);
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
}

#[test]
fn a_request_that_takes_too_long_as_a_whole_is_cut_off() {
    let origin = raw_origin(|mut stream, _| {
        say(
            &mut stream,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        while stream.get_mut().write_all(b"1\r\nx\r\n").is_ok() {
            std::thread::park_timeout(Duration::from_millis(20));
        }
    });
    let edge = Edge::start(&yaml(
        &format!("http://{origin}"),
        "",
        "timeouts: { request: 400ms }",
    ));
    let mut client = connect(edge.address("http"));
    say(
        &mut client,
        "GET / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n",
    );
    let said = rest(&mut client);
    assert!(
        said.starts_with("HTTP/1.1 200 ") && !said.ends_with("0\r\n\r\n"),
        "{said}"
    );
}

#[test]
fn a_request_that_takes_too_long_as_a_whole_is_cut_off_however_slowly_its_client_reads() {
    let origin = raw_origin(|mut stream, _| {
        say(&mut stream, "HTTP/1.1 200 OK\r\n\r\n");
        while stream.get_mut().write_all(&[b'x'; 10_000]).is_ok() {}
    });
    let timeouts = "timeouts: { request: 400ms }";
    let edge = Edge::start(&yaml(&format!("http://{origin}"), "", timeouts));
    let mut client = connect(edge.address("http"));
    say(
        &mut client,
        "GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n",
    );
    assert!(read_head(&mut client).starts_with("HTTP/1.1 200 "));
    let goes_on = |_: &u32| {
        std::thread::park_timeout(Duration::from_millis(10));
        client.read(&mut [0; 50_000]).is_ok_and(|read| read > 0)
    };
    let reads = (0..1_000).take_while(goes_on).count();
    assert!(reads < 1_000, "it goes on");
}

#[test]
fn an_origin_that_breaks_off_costs_a_get_nothing_and_a_post_a_502() {
    fn serve() -> (SocketAddr, std::sync::Arc<std::sync::atomic::AtomicU32>) {
        let posts = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        let counted = posts.clone();
        let address = raw_origin(move |stream, head| {
            if head.starts_with("POST ") {
                counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
            drop(stream);
        });
        (address, posts)
    }
    let (broken, posts) = serve();
    let good = Origin::start("good");
    let edge = Edge::start(&format!(
        "listen: {{ https: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions: {{ a: {{ origins: ['http://{broken}'] }}, b: {{ origins: ['{}'] }} }}
services: {{ www: {{ hosts: [www.example.com], steering: {{ policy: priority }} }} }}
",
        good.url()
    ));
    for _ in 0..5 {
        assert_eq!(edge.curl("www.example.com", "/", &[]).body, "good");
    }
    // curl (7.88) can miss the end of an answer over HTTP/2 that comes before its content was sent.
    let post = edge.curl("www.example.com", "/", &["--http1.1", "-d", "x"]);
    assert_eq!(post.status, 502);
    assert_eq!(
        posts.load(std::sync::atomic::Ordering::SeqCst),
        1,
        "never twice"
    );
    assert!(good.seen().iter().all(|seen| seen.method == "GET"));
}

#[test]
fn many_slow_readers_get_all_of_it() {
    let origin = Origin::start("o");
    let size = 4 << 20;
    origin.set_answer(move |_| {
        axum::response::Response::new(axum::body::Body::from(vec![b'x'; size]))
    });
    let edge = Edge::start(&yaml(&origin.url(), "", ""));
    let readers: Vec<JoinHandle<usize>> = (0..16)
        .map(|_| {
            let mut client = connect(edge.address("http"));
            std::thread::spawn(move || {
                say(
                    &mut client,
                    "GET / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n",
                );
                read_head(&mut client);
                let (mut chunk, mut total) = (vec![0; 64 << 10], 0);
                while let Ok(read @ 1..) = client.read(&mut chunk) {
                    total += read;
                    std::thread::yield_now();
                }
                total
            })
        })
        .collect();
    for reader in readers {
        assert_eq!(reader.join().unwrap(), size);
    }
    assert!(wait_until(|| origin.seen().len() == 16));
}

/// A request whose body is far from sent, and what an origin said before it had read that.
const ENDLESS: &str =
    "POST / HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: 1000000\r\n\r\nx";
const EARLY: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nearly";

#[test]
fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let origin = raw_origin(|mut stream, _| {
        say(&mut stream, EARLY);
        rest(&mut stream);
    });
    let edge = Edge::start(&yaml(&format!("http://{origin}"), "", ""));
    let last = ENDLESS.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    for request in [ENDLESS, &last] {
        let mut client = connect(edge.address("http"));
        say(&mut client, request);
        let head = read_head(&mut client);
        assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
        let mut body = [0; 5];
        client.read_exact(&mut body).unwrap();
        assert_eq!(&body, b"early");
        // What it still sends is read away, so that no reset destroys what it has not read yet (RFC 9112 §9.6).
        say_on(&mut client, 999_999);
    }
}

#[test]
fn a_refusal_reaches_a_client_that_is_still_sending() {
    let origin = Origin::start("a");
    let edge = Edge::start(&yaml(&origin.url(), "", ""));
    for (fields, status) in [
        (
            "Content-Length: 999999\r\nTransfer-Encoding: chunked\r\n",
            "400",
        ),
        (
            &format!("Content-Length: 999999\r\nA: {}\r\n", "a".repeat(70_000))[..],
            "431",
        ),
    ] {
        let mut client = connect(edge.address("http"));
        say(
            &mut client,
            &format!("POST / HTTP/1.1\r\nHost: www.example.com\r\n{fields}\r\n"),
        );
        say_on(&mut client, 999_999);
        let head = read_head(&mut client);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    }
}

/// Sends so many bytes, some at a time: to whom has closed, the second write fails.
fn say_on(client: &mut BufReader<TcpStream>, bytes: usize) {
    let chunk = "x".repeat(10_000);
    for _ in 0..bytes / chunk.len() {
        say(client, &chunk);
        std::thread::yield_now();
    }
}

#[test]
fn a_connection_to_an_origin_is_used_again_only_after_a_request_that_was_sent_whole() {
    let connections = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = connections.clone();
    let origin = raw_origin(move |mut stream, mut head| {
        counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        while !head.is_empty() {
            match head.starts_with("POST ") {
                true => say(&mut stream, EARLY),
                false => say(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            }
            head = read_head(&mut stream);
        }
    });
    let edge = edge(&format!("http://{origin}"));
    let connections = || connections.load(std::sync::atomic::Ordering::SeqCst);
    // On one connection, so that one worker has them all.
    let mut client = FrameClient::connect(edge.address("https"));
    let upload = [open(1, &request("POST", "/"), 0), frame(DATA, 0, 1, b"x")];
    client.send(&upload.concat()).unwrap();
    assert!(client.ends(1));
    assert_eq!(connections(), 1);
    for stream in [3, 5, 7] {
        let get = open(stream, &request("GET", "/"), END_STREAM);
        client.send(&get).unwrap();
        assert_eq!(client.fate(stream), Fate::Answered(200));
        assert_eq!(connections(), 2, "not behind the rest of the upload");
    }
}
