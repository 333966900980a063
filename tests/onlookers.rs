//! A thousand dashboards that watch one edge: it goes on answering, and makes what they see once for all of them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use support::{Edge, Origin, connect, get, meridian, wait_until};

const ONLOOKERS: usize = 1_000;

fn edge(origin: &Origin) -> Edge {
    Edge::start(&format!(
        "listen: {{ dns: ['127.0.0.1:0'], https: ['127.0.0.1:0'], http: ['127.0.0.1:0'], http_mode: serve, admin: '127.0.0.1:0' }}
regions:
  near: {{ location: [50, 8], addresses: [192.0.2.1], origins: ['{}'] }}
services:
  www: {{ hosts: [www.example.com], health: {{ interval: 300ms }}, guards: {{ min_regions: 0 }} }}
zones: {{ example.com: {{ nameservers: {{ ns1: [192.0.2.53] }} }} }}
",
        origin.url()
    ))
}

/// The address of one of so many onlookers, ten of them on each: one address has only so many places.
fn of_onlooker(number: usize) -> Ipv4Addr {
    let host = u32::try_from(number / 10).unwrap() + 2;
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 0, 0, 0).to_bits() | host)
}

fn connect_from(address: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

fn ask(admin: SocketAddr, onlooker: usize, path: &str) -> BufReader<TcpStream> {
    let mut stream = connect_from(of_onlooker(onlooker), admin);
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    BufReader::new(stream)
}

/// Reads up to a line that has this text.
fn read_to(stream: &mut BufReader<TcpStream>, text: &str) {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert_ne!(stream.read_line(&mut line).unwrap(), 0, "no `{text}`");
    }
}

#[test]
fn a_thousand_dashboards_are_shown_one_status_and_requests_go_on() {
    let origin = Origin::start("near");
    let edge = edge(&origin);
    let admin = edge.address("admin");
    let is_healthy =
        || edge.admin("GET", "/api/v1/status", "").1["regions"][0]["state"] == "healthy";
    assert!(wait_until(is_healthy));
    let mut followers: Vec<_> = (0..ONLOOKERS)
        .map(|onlooker| ask(admin, onlooker, "/api/v1/events?with=traffic"))
        .collect();
    for follower in &mut followers {
        read_to(follower, "event: traffic");
    }
    let (code, _) = edge.admin("PUT", "/api/v1/drains/near", "");
    assert_eq!(code, 200);
    let renderings = || edge.counted("meridian_admin_status_renderings_total", &[]);
    let before = renderings();
    // Each sees the event, and asks for the status at once.
    let mut asked: Vec<_> = followers
        .iter_mut()
        .enumerate()
        .map(|(onlooker, follower)| {
            read_to(follower, "region near is drained");
            ask(admin, onlooker, "/api/v1/status")
        })
        .collect();
    assert_eq!(edge.curl("www.example.com", "/", &[]).status, 200);
    assert!(edge.kdig("www.example.com A +short").contains("192.0.2.1"));
    for status in &mut asked {
        read_to(status, "\"state\":\"draining\"");
    }
    let rendered = renderings() - before;
    assert!((1..=250).contains(&rendered), "{rendered} for {ONLOOKERS}");
    let (code, _) = edge.admin("DELETE", "/api/v1/drains/near", "");
    assert_eq!(code, 200);
    for follower in &mut followers {
        read_to(follower, "is undone");
    }
}

/// The quarter that is answered soonest, of so many requests on one connection: what others on this machine do
/// to the slow ones says nothing of the edge.
fn first_quarter(edge: &Edge) -> Duration {
    let mut client = connect(edge.address("http"));
    let mut took: Vec<Duration> = (0..400)
        .map(|_| {
            let began = Instant::now();
            assert_eq!(get(&mut client), Ok(true));
            began.elapsed()
        })
        .collect();
    took.sort();
    took[took.len() / 4]
}

/// The body of an answer that tells its length.
fn read_answer(stream: &mut BufReader<TcpStream>) -> String {
    let (mut length, mut line) = (0, String::new());
    while line != "\r\n" {
        line.clear();
        assert_ne!(stream.read_line(&mut line).unwrap(), 0, "no answer");
        let field = line.to_lowercase();
        if let Some(told) = field.strip_prefix("content-length:") {
            length = told.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    String::from_utf8(body).unwrap()
}

/// Of them, how many ask for the status too, every two seconds, as each page does.
const ASKING: usize = 100;

/// The same while onlookers ask for the status; and how many answers they have had.
fn watched_by_askers(edge: &Edge) -> (Duration, usize) {
    let (is_over, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    let admin = edge.address("admin");
    let ask_on = |onlooker| {
        let request = format!("GET /api/v1/status HTTP/1.1\r\nHost: {admin}\r\n\r\n");
        let mut stream = connect_from(of_onlooker(onlooker), admin);
        let mut answer = BufReader::new(stream.try_clone().unwrap());
        while !is_over.load(Ordering::Relaxed) {
            stream.write_all(request.as_bytes()).unwrap();
            assert!(read_answer(&mut answer).contains("\"regions\""));
            answers.fetch_add(1, Ordering::Relaxed);
            std::thread::park_timeout(Duration::from_secs(2));
        }
    };
    std::thread::scope(|scope| {
        let askers: Vec<_> = (0..ASKING)
            .map(|onlooker| scope.spawn(move || ask_on(onlooker)))
            .collect();
        assert!(wait_until(|| answers.load(Ordering::Relaxed) >= ASKING));
        let mut watched = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(20);
        while answers.load(Ordering::Relaxed) < 2 * ASKING && Instant::now() < deadline {
            watched.push(first_quarter(edge));
        }
        is_over.store(true, Ordering::Relaxed);
        askers.iter().for_each(|asker| asker.thread().unpark());
        let watched = watched.iter().min().copied().unwrap_or_default();
        (watched, answers.load(Ordering::Relaxed))
    })
}

#[test]
fn a_thousand_dashboards_that_watch_do_not_slow_a_request() {
    let origin = Origin::start("near");
    let edge = edge(&origin);
    let admin = edge.address("admin");
    let alone = first_quarter(&edge);
    let mut followers: Vec<_> = (0..ONLOOKERS)
        .map(|onlooker| ask(admin, onlooker, "/api/v1/events?with=traffic"))
        .collect();
    for follower in &mut followers {
        read_to(follower, "event: traffic");
    }
    let (watched, asked) = watched_by_askers(&edge);
    assert!(asked >= 2 * ASKING, "{asked} answers");
    // They were sent what there was to see meanwhile, each second.
    for follower in &mut followers {
        read_to(follower, "event: traffic");
    }
    drop(followers);
    let after = first_quarter(&edge);
    println!("alone {alone:?}, watched by {ONLOOKERS} {watched:?}, afterwards {after:?}");
    let bound = alone.max(after).mul_f64(1.5) + Duration::from_millis(1);
    assert!(
        watched < bound,
        "{watched:?}, and {alone:?} and {after:?} without"
    );
}

#[test]
fn a_status_is_never_older_than_the_question() {
    let origin = Origin::start("near");
    let edge = edge(&origin);
    for _ in 0..5 {
        edge.admin("PUT", "/api/v1/drains/near", "");
        let drains = edge.admin("GET", "/api/v1/status", "").1["drains"].clone();
        assert_eq!(drains[0]["region"], "near");
        edge.admin("DELETE", "/api/v1/drains/near", "");
        let drains = edge.admin("GET", "/api/v1/status", "").1["drains"].clone();
        assert!(drains.as_array().unwrap().is_empty());
    }
}

#[test]
fn probes_traffic_and_countries_are_told_and_nonsense_is_refused() {
    let origin = Origin::start("near");
    let edge = edge(&origin);
    let get = |path: &str| edge.admin("GET", path, "");
    let probes = || get("/api/v1/probes?region=near").1["targets"][0]["probes"].clone();
    assert!(wait_until(|| probes()
        .as_array()
        .is_some_and(|probes| probes.len() >= 3)));
    let probe = probes()[0].clone();
    assert!(probe["ok"] == true && probe["phases_ms"]["first_byte"].is_number());
    assert_eq!(edge.curl("www.example.com", "/", &[]).status, 200);
    let traffic = || get("/api/v1/traffic").1;
    // Counts fade, so that both are asked until both are seen.
    assert!(wait_until(|| {
        edge.curl("www.example.com", "/", &[]);
        edge.kdig("www.example.com A +subnet=203.178.141.0/24 +short");
        let (region, flow) = (
            traffic()["regions"][0].clone(),
            traffic()["flows"][0].clone(),
        );
        region["requests_per_s"].as_f64() > Some(0.0)
            && region["first_byte_ms"]["p99"].as_f64() > Some(0.0)
            && region["dns_share"] == 1.0
            && (&flow["country"], &flow["region"]) == (&"JP".into(), &"near".into())
    }));
    let countries = get("/api/v1/countries?name=www.example.com").1["countries"].clone();
    let countries = countries.as_array().unwrap().clone();
    assert!(countries.len() > 200);
    assert!(countries.iter().all(|entry| entry["decision"][0] == "near"));
    for (path, expected) in [
        ("/api/v1/probes", 400),
        ("/api/v1/probes?region=far", 404),
        ("/api/v1/probes?region=near&service=mail", 404),
        ("/api/v1/countries", 400),
        ("/api/v1/countries?name=nobody.example", 404),
        ("/api/v1/events?with=everything", 400),
    ] {
        let (code, told) = get(path);
        assert_eq!(code, expected, "{path}: {told}");
        assert!(!told["error"].as_str().unwrap().is_empty());
    }
    let (code, told) = edge.admin("PUT", "/api/v1/drains/near?dry=1", "");
    assert_eq!(code, 400, "{told}");
}

#[test]
fn one_address_cannot_keep_everybody_else_out() {
    let origin = Origin::start("near");
    let edge = edge(&origin);
    let admin = edge.address("admin");
    let greedy = Ipv4Addr::new(127, 0, 0, 9);
    let held: Vec<TcpStream> = (0..300).map(|_| connect_from(greedy, admin)).collect();
    let is_closed = |stream: &&TcpStream| {
        stream.set_nonblocking(true).unwrap();
        // Nothing is said before the client has asked.
        !matches!(stream.peek(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    };
    assert!(wait_until(
        || held.iter().filter(is_closed).count() == 300 - 256
    ));
    assert_eq!(edge.admin("GET", "/api/v1/status", "").0, 200);
}

#[test]
fn who_follows_events_through_head_is_done_with_them() {
    let origin = Origin::start("o");
    let edge = edge(&origin);
    let url = format!("http://{}", edge.address("admin"));
    let mut following = meridian()
        .args(["events", "--follow", "--admin", &url])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut output = BufReader::new(following.stdout.take().unwrap());
    output.read_line(&mut first).unwrap();
    assert!(first.ends_with('\n'), "{first}");
    assert_eq!(following.try_wait().unwrap(), None, "it goes on");
    drop(output);
    // Nothing happens from now on, so that nothing is written.
    assert!(wait_until(|| following.try_wait().unwrap().is_some()));
    assert!(following.wait().unwrap().success());
}
