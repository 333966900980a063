//! More clients than there is room for, and clients that are slow.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use support::clear::{GET, connect, connect_from, get, yaml};
use support::frames::{
    CONTINUATION, END_HEADERS, END_STREAM, FrameClient, GOAWAY, HEADERS, RST_STREAM, SETTINGS,
    block, frame, open, request,
};
use support::{Edge, Origin, raw_origin, read_head, wait_until};

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
