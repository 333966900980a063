//! More clients than there is room for, clients that are slow, and clients that do not read.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use support::frames::{
    CONTINUATION, END_HEADERS, END_STREAM, FrameClient, GOAWAY, HEADERS, RST_STREAM, SETTINGS,
    block, frame, open, request,
};
use support::{Edge, Origin, meridian, raw_origin, read_head, run, wait_until};

/// One region of these origins, with this in `listen` and in the service.
fn yaml(origin: &str, listen: &str, service: &str) -> String {
    format!(
        "listen: {{ http: ['127.0.0.1:0'], http_mode: serve, https: ['127.0.0.1:0'], admin: '127.0.0.1:0', {listen} }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions: {{ here: {{ origins: ['{origin}'] }} }}
services: {{ www: {{ hosts: [www.example.com], health: {{ protocol: tcp }}, {service} }} }}
"
    )
}

/// A connection from this address of loopback.
fn connect_from(source: &str, target: SocketAddr) -> BufReader<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let source: SocketAddr = format!("{source}:0").parse().unwrap();
    socket.bind(&source.into()).unwrap();
    socket.connect(&target.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream
        .set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    BufReader::new(stream)
}

fn connect(edge: &Edge) -> BufReader<TcpStream> {
    connect_from("127.0.0.1", edge.address("http"))
}

const GET: &str = "GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n";

/// The status of an answer to a GET, whose body is read too; none: the edge has closed the connection.
fn get(client: &mut BufReader<TcpStream>) -> Option<u16> {
    client.get_mut().write_all(GET.as_bytes()).ok()?;
    let head = read_head(client);
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    client.read_exact(&mut body).ok()?;
    Some(status)
}

#[test]
fn connections_over_the_limit_are_closed_and_one_that_ends_makes_room() {
    let origin = Origin::start("o");
    let edge = Edge::start(&yaml(&origin.url(), "limits: { connections: 3 }", ""));
    let mut clients: Vec<_> = (0..3).map(|_| connect(&edge)).collect();
    for client in &mut clients {
        assert_eq!(get(client), Some(200));
    }
    assert_eq!(get(&mut connect(&edge)), None);
    let refused = || {
        edge.counted(
            "meridian_http_connections_refused_total",
            &["limit=\"connections\""],
        )
    };
    assert_eq!(refused(), 1);
    assert_eq!(edge.counted("meridian_http_connections", &[]), 3);
    clients.pop();
    assert!(wait_until(|| get(&mut connect(&edge)) == Some(200)));
    edge.write(&yaml(&origin.url(), "limits: { connections: 100 }", ""));
    let generation = || edge.admin("GET", "/api/v1/status", "").1["config"]["generation"].clone();
    assert!(wait_until(|| generation() == 2));
    let mut more: Vec<_> = (0..10).map(|_| connect(&edge)).collect();
    assert!(more.iter_mut().all(|client| get(client) == Some(200)));
}

#[test]
fn a_client_has_its_share_of_connections_and_takes_nobody_else_s() {
    let origin = Origin::start("o");
    let limits = "limits: { connections_per_client: 2 }";
    let edge = Edge::start(&yaml(&origin.url(), limits, ""));
    let http = edge.address("http");
    let mut greedy: Vec<_> = (0..2).map(|_| connect_from("127.0.0.2", http)).collect();
    assert!(greedy.iter_mut().all(|client| get(client) == Some(200)));
    assert_eq!(get(&mut connect_from("127.0.0.2", http)), None);
    assert_eq!(get(&mut connect_from("127.0.0.3", http)), Some(200));
    drop(greedy);
    assert!(wait_until(
        || get(&mut connect_from("127.0.0.2", http)) == Some(200)
    ));
}

#[test]
fn a_websocket_is_a_connection_until_it_ends() {
    let origin = raw_origin(|mut stream, _| {
        let switch =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        let _ = stream.get_mut().write_all(switch.as_bytes());
        let _ = stream.read(&mut [0]);
    });
    let limits = "limits: { connections: 1 }";
    let edge = Edge::start(&yaml(&format!("http://{origin}"), limits, ""));
    let mut socket = connect(&edge);
    let upgrade = "GET / HTTP/1.1\r\nHost: www.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    socket.get_mut().write_all(upgrade.as_bytes()).unwrap();
    assert!(read_head(&mut socket).starts_with("HTTP/1.1 101"));
    assert_eq!(get(&mut connect(&edge)), None);
    drop(socket);
    let is_gone = || edge.counted("meridian_http_connections", &[]) == 0;
    assert!(wait_until(is_gone));
}

#[test]
fn requests_over_the_limit_are_shed_with_503_and_the_others_are_answered() {
    let origin = Origin::start("o");
    origin.set_pause(Duration::from_millis(700));
    let edge = Edge::start(&yaml(&origin.url(), "limits: { requests: 1 }", ""));
    let mut first = connect(&edge);
    first.get_mut().write_all(GET.as_bytes()).unwrap();
    assert!(wait_until(|| origin.is_asked()));
    let shed = edge.curl("www.example.com", "/", &[]);
    assert_eq!(shed.status, 503);
    assert!(shed.header("retry-after").parse::<u32>().unwrap() > 0);
    assert!(
        shed.header("proxy-status")
            .contains("proxy_internal_response")
    );
    assert!(shed.body.contains("urn:meridian:problem:shedding"));
    assert!(read_head(&mut first).starts_with("HTTP/1.1 200"));
    let counted = edge.counted("meridian_http_problems_total", &["problem=\"shedding\""]);
    assert_eq!(counted, 1);
    assert!(wait_until(
        || edge.curl("www.example.com", "/", &[]).status == 200
    ));
    assert_eq!(edge.admin("GET", "/readyz", "").0, 200);
}

#[test]
fn a_worker_that_is_late_sheds_some_requests_and_none_once_it_is_in_time() {
    let origin = Origin::start("o");
    // No timer fires within a microsecond: every worker is always late.
    let edge = Edge::start(&yaml(&origin.url(), "limits: { delay: 1us }", ""));
    let status = || edge.curl("www.example.com", "/", &[]).status;
    assert!(wait_until(|| status() == 503));
    assert!(wait_until(|| status() == 200), "some always pass");
    edge.write(&yaml(&origin.url(), "limits: { delay: 10s }", ""));
    assert!(wait_until(|| (0..20).all(|_| status() == 200)));
}

/// An origin that answers with as many bytes as are taken, and counts who is connected.
fn endless() -> (SocketAddr, Arc<AtomicUsize>) {
    let connected: Arc<AtomicUsize> = Arc::default();
    let counted = connected.clone();
    let address = raw_origin(move |mut stream, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n";
        let mut written = stream.get_mut().write_all(head);
        while written.is_ok() {
            written = stream.get_mut().write_all(&[b'x'; 64 << 10]);
        }
        counted.fetch_sub(1, Ordering::SeqCst);
    });
    (address, connected)
}

#[test]
fn clients_that_do_not_read_cost_bounded_memory_and_are_given_up_after_idle() {
    let (origin, connected) = endless();
    let listen = "timeouts: { idle: 5s }";
    let edge = Edge::start(&yaml(&format!("http://{origin}"), listen, ""));
    let before = edge.process.resident_kib();
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let mut client = connect(&edge);
            client.get_mut().write_all(GET.as_bytes()).unwrap();
            client
        })
        .collect();
    assert!(wait_until(|| connected.load(Ordering::SeqCst) == 50));
    assert!(wait_until(|| connected.load(Ordering::SeqCst) == 0));
    let grown = edge.process.resident_kib().saturating_sub(before);
    println!("{} KiB for each client that does not read", grown / 50);
    assert!(grown / 50 < 1536, "{grown} KiB");
    drop(clients);
}

#[test]
fn an_edge_that_holds_as_much_memory_as_it_may_sheds_requests_until_clients_let_go() {
    let (origin, _) = endless();
    let quiet = Origin::start("o");
    let config = |memory: u64| {
        format!(
            "listen: {{ http: ['127.0.0.1:0'], http_mode: serve, admin: '127.0.0.1:0', limits: {{ memory: {memory}KiB }} }}
regions: {{ here: {{ origins: ['http://{origin}'] }}, there: {{ origins: ['{}'] }} }}
services:
  www: {{ hosts: [www.example.com], regions: [there], health: {{ protocol: tcp }} }}
  endless: {{ hosts: [endless.example.com], regions: [here], health: {{ protocol: tcp }} }}
",
            quiet.url()
        )
    };
    let edge = Edge::start(&config(0));
    let may_grow = 16 << 10;
    edge.write(&config(edge.process.resident_kib() + may_grow));
    let status = || edge.admin("GET", "/api/v1/status", "").1;
    assert!(wait_until(|| status()["config"]["generation"] == 2));
    assert_eq!(get(&mut connect(&edge)), Some(200));
    let greedy: Vec<_> = (0..250)
        .map(|_| {
            let mut client = connect(&edge);
            let get = GET.replace("www", "endless");
            client.get_mut().write_all(get.as_bytes()).unwrap();
            client
        })
        .collect();
    assert!(wait_until(|| get(&mut connect(&edge)) == Some(503)));
    let admin = format!("http://{}", edge.address("admin"));
    let told = || {
        let said = run(meridian().args(["events", "--admin", &admin])).stdout;
        String::from_utf8(said).unwrap()
    };
    assert!(
        told().contains("over listen.limits.memory of"),
        "{}",
        told()
    );
    drop(greedy);
    assert!(wait_until(|| get(&mut connect(&edge)) == Some(200)));
    assert!(wait_until(
        || told().contains("memory is below listen.limits.memory again")
    ));
}

#[test]
fn a_stream_whose_client_grants_no_window_is_reset_after_idle_and_the_connection_lives_on() {
    let (origin, connected) = endless();
    let other = Origin::start("o");
    let config = format!(
        "listen: {{ https: ['127.0.0.1:0'], admin: '127.0.0.1:0', timeouts: {{ idle: 2s }} }}
regions: {{ here: {{ origins: ['http://{origin}'] }}, there: {{ origins: ['{}'] }} }}
services:
  www: {{ hosts: [www.example.com], regions: [here], health: {{ protocol: tcp }} }}
  api: {{ hosts: [api.example.com], regions: [there], health: {{ protocol: tcp }} }}
",
        other.url()
    );
    let edge = Edge::start(&config);
    let before = edge.process.resident_kib();
    let mut client = FrameClient::connect(edge.address("https"));
    let streams = || (1..200_u32).step_by(2);
    for stream in streams() {
        client
            .send(&open(stream, &request("GET", "/"), END_STREAM))
            .unwrap();
    }
    assert!(wait_until(|| connected.load(Ordering::SeqCst) == 100));
    let grown = edge.process.resident_kib().saturating_sub(before);
    println!("{} KiB for each stream that nobody reads", grown / 100);
    assert!(grown / 100 < 768, "{grown} KiB");
    let mut left: std::collections::HashSet<u32> = streams().collect();
    while !left.is_empty() {
        let frame = client.read().unwrap();
        if frame.kind == RST_STREAM {
            left.remove(&frame.stream);
        }
        assert_ne!(frame.kind, GOAWAY);
    }
    assert!(wait_until(|| connected.load(Ordering::SeqCst) == 0));
    let mut api = request("HEAD", "/");
    api[2].1 = b"api.example.com".to_vec();
    client.send(&open(201, &api, END_STREAM)).unwrap();
    assert_eq!(client.fate(201), support::frames::Fate::Answered(200));
}

/// An HTTP/2 origin without TLS that answers `/endless` with as much as is taken, and all else with a word.
fn endless_http2() -> (SocketAddr, tokio::runtime::Runtime) {
    use axum::body::Body;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listening = tokio::net::TcpListener::bind("127.0.0.1:0");
    let listener = runtime.block_on(listening).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        let answer = |request: http::Request<hyper::body::Incoming>| async move {
            let chunk =
                || Ok::<_, std::convert::Infallible>(bytes::Bytes::from(vec![b'x'; 16 << 10]));
            let body = if request.uri().path() == "/endless" {
                Body::from_stream(futures_util::stream::repeat_with(chunk))
            } else {
                Body::from("ok")
            };
            Ok::<_, std::convert::Infallible>(http::Response::new(body))
        };
        while let Ok((stream, _)) = listener.accept().await {
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    });
    (address, runtime)
}

#[test]
fn clients_that_do_not_read_hold_up_nobody_else_on_the_same_http2_origin() {
    let (origin, _runtime) = endless_http2();
    let edge = Edge::start(&yaml(&format!("h2c://{origin}"), "", ""));
    let mut deaf: Vec<_> = (0..40).map(|_| connect(&edge)).collect();
    for client in &mut deaf {
        let endless = "GET /endless HTTP/1.1\r\nHost: www.example.com\r\n\r\n";
        client.get_mut().write_all(endless.as_bytes()).unwrap();
        assert!(read_head(client).starts_with("HTTP/1.1 200"));
    }
    for _ in 0..40 {
        let answer = edge.curl("www.example.com", "/", &[]);
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    }
}

#[test]
fn an_http2_head_that_does_not_end_and_a_preface_that_does_not_come_end_their_connections() {
    let origin = Origin::start("o");
    let listen = "timeouts: { headers: 500ms, idle: 60s }";
    let edge = Edge::start(&yaml(&origin.url(), listen, ""));
    let head = block(&request("GET", "/"));
    let whole = frame(HEADERS, 0, 1, &head);
    let beginnings = [
        ("half a frame", whole[..whole.len() / 2].to_vec()),
        ("half a frame's header", whole[..5].to_vec()),
        ("no CONTINUATION", whole.clone()),
        (
            "half a CONTINUATION",
            [
                whole,
                frame(CONTINUATION, END_HEADERS, 1, &head)[..12].to_vec(),
            ]
            .concat(),
        ),
    ];
    for (name, bytes) in beginnings {
        let mut client = FrameClient::connect(edge.address("https"));
        client.send(&bytes).unwrap();
        let mut said_why = false;
        while let Some(frame) = client.read() {
            said_why |= frame.kind == GOAWAY;
        }
        assert!(said_why, "{name}");
    }
    for preface in ["", "PRI * HTTP"] {
        let mut silent = FrameClient::silent(edge.address("https"));
        silent.send(preface.as_bytes()).unwrap();
        while silent.read().is_some() {}
    }
    assert!(wait_until(|| edge
        .counted("meridian_http_connections", &[])
        == 0));
    assert!(origin.seen().is_empty());
}

#[test]
fn an_http2_client_has_256_requests_at_once_and_one_more_is_refused() {
    let origin = Origin::start("o");
    origin.set_pause(Duration::from_secs(2));
    let edge = Edge::start(&yaml(&origin.url(), "", ""));
    let mut client = FrameClient::connect(edge.address("https"));
    let mut all = Vec::new();
    for number in 0..257 {
        all.extend(open(2 * number + 1, &request("GET", "/"), END_STREAM));
    }
    client.send(&all).unwrap();
    let (mut announced, mut answered, mut refused) = (None, 0, Vec::new());
    while answered < 256 || refused.is_empty() {
        let frame = client.read().unwrap();
        match frame.kind {
            SETTINGS => {
                let settings = frame.payload.chunks(6);
                let mut most = settings.filter(|setting| setting[..2] == [0, 3]);
                announced = announced.or(most.next().map(|most| most[2..].to_vec()));
            }
            HEADERS => answered += 1,
            RST_STREAM => refused.push(frame.stream),
            _ => {}
        }
    }
    assert_eq!(announced, Some(vec![0, 0, 1, 0]));
    assert_eq!((answered, refused), (256, vec![513]));
}

#[test]
fn a_body_that_trickles_is_a_408_and_its_origin_is_free_again() {
    let connected: Arc<AtomicUsize> = Arc::default();
    let counted = connected.clone();
    let origin = raw_origin(move |mut stream, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        while let Ok(1..) = stream.read(&mut [0; 64]) {}
        counted.fetch_sub(1, Ordering::SeqCst);
    });
    let service = "timeouts: { idle: 1s }, limits: { body_rate: 1KiB }";
    let edge = Edge::start(&yaml(&format!("http://{origin}"), "", service));
    let mut client = connect(&edge);
    let head = "POST / HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: 1000000\r\n\r\n";
    client.get_mut().write_all(head.as_bytes()).unwrap();
    let mut writer = client.get_ref().try_clone().unwrap();
    let trickling = std::thread::spawn(move || {
        while writer.write_all(b"x").is_ok() {
            std::thread::park_timeout(Duration::from_millis(50));
        }
    });
    assert!(wait_until(|| connected.load(Ordering::SeqCst) == 1));
    let answer = read_head(&mut client);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(wait_until(|| connected.load(Ordering::SeqCst) == 0));
    // The connection ends with the answer, whatever the client still says.
    assert!(wait_until(|| trickling.is_finished()));
}

#[test]
fn a_call_of_grpc_may_say_little_for_as_long_as_it_likes() {
    let origin = raw_origin(|mut stream, _| {
        let mut body = [0; 60];
        if stream.read_exact(&mut body).is_ok() {
            let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            let _ = stream.get_mut().write_all(ok);
        }
    });
    let service = "timeouts: { idle: 1s }, limits: { body_rate: 1MiB }";
    let edge = Edge::start(&yaml(&format!("http://{origin}"), "", service));
    let mut client = connect(&edge);
    let head = "POST / HTTP/1.1\r\nHost: www.example.com\r\nContent-Type: application/grpc+proto\r\nContent-Length: 60\r\n\r\n";
    client.get_mut().write_all(head.as_bytes()).unwrap();
    for _ in 0..60 {
        client.get_mut().write_all(b"x").unwrap();
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let answer = read_head(&mut client);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn a_full_region_spills_to_the_next_and_when_all_are_full_there_is_a_503() {
    let (near, far) = (Origin::start("near"), Origin::start("far"));
    near.set_pause(Duration::from_secs(2));
    far.set_pause(Duration::from_secs(2));
    let edge = Edge::start(&format!(
        "listen: {{ http: ['127.0.0.1:0'], http_mode: serve, https: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
regions: {{ near: {{ origins: ['{}'] }}, far: {{ origins: ['{}'] }} }}
services: {{ www: {{ hosts: [www.example.com], steering: {{ policy: priority }}, limits: {{ in_flight_per_region: 1 }} }} }}
",
        near.url(),
        far.url()
    ));
    let mut clients: Vec<_> = (0..2).map(|_| connect(&edge)).collect();
    for (client, origin) in clients.iter_mut().zip([&near, &far]) {
        client.get_mut().write_all(GET.as_bytes()).unwrap();
        assert!(wait_until(|| origin.is_asked()));
    }
    let full = edge.curl("www.example.com", "/", &[]);
    assert_eq!(full.status, 503);
    assert!(full.header("retry-after").parse::<u32>().unwrap() > 0);
    assert!(
        full.body.contains("every region is at its limit"),
        "{}",
        full.body
    );
    for client in &mut clients {
        assert!(read_head(client).starts_with("HTTP/1.1 200"));
    }
}

#[test]
fn a_write_that_one_region_alone_may_take_is_told_that_it_is_full() {
    for writes in [
        "to: home, key: { header: X-Tenant }, homes: { acme: near }",
        "to: { primary: near }, failover: none",
    ] {
        let (near, far) = (Origin::start("near"), Origin::start("far"));
        near.set_pause(Duration::from_secs(2));
        let edge = Edge::start(&format!(
            "listen: {{ http: ['127.0.0.1:0'], http_mode: serve, https: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
regions: {{ near: {{ origins: ['{}'] }}, far: {{ origins: ['{}'] }} }}
services: {{ www: {{ hosts: [www.example.com], limits: {{ in_flight_per_region: 1 }}, writes: {{ {writes} }} }} }}
",
            near.url(),
            far.url()
        ));
        let post = "POST / HTTP/1.1\r\nHost: www.example.com\r\nX-Tenant: acme\r\nContent-Length: 0\r\n\r\n";
        let mut client = connect(&edge);
        client.get_mut().write_all(post.as_bytes()).unwrap();
        assert!(wait_until(|| near.is_asked()));
        let full = edge.curl("www.example.com", "/", &["-d", "", "-H", "X-Tenant: acme"]);
        assert_eq!(full.status, 503, "{writes}");
        let why = "the only region that may take this request is at its limit";
        assert!(full.body.contains(why), "{writes}: {}", full.body);
        assert!(read_head(&mut client).starts_with("HTTP/1.1 200"));
    }
}
