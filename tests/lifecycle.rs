//! How an edge ends, what it tells systemd meanwhile, and what lives through its reloads.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use serde_json::{Value, json};
use support::one_service::{LISTEN, ask_over_tcp, ask_over_udp, udp_client, yaml};
use support::{
    DnsClient, Edge, GET, Origin, Process, chat, connect, echo, exchange_line, get, hears_the_end,
    meridian, raw_origin, read_head, wait_until,
};

#[test]
fn sigterm_says_not_ready_then_closes_then_waits_for_what_is_in_flight() {
    let origin = Origin::start("o");
    let mut edge = Edge::start(&yaml("drain_delay: 4s", &origin.url(), ""));
    let (http, dns) = (edge.address("http"), edge.address("dns"));
    origin.set_pause(Duration::from_secs(7));
    let mut slow = connect(http);
    slow.get_mut().write_all(GET.as_bytes()).unwrap();
    assert!(wait_until(|| origin.is_asked()));
    origin.set_pause(Duration::ZERO);
    let began = Instant::now();
    edge.process.signal("TERM");
    assert!(wait_until(|| edge.admin("GET", "/readyz", "").0 == 503));
    // Listeners stay open for `drain_delay`.
    assert!(get(&mut connect(http)).is_ok());
    DnsClient::of(dns).ask(support::query("www.example.com", 1, &[]));
    assert!(began.elapsed() < Duration::from_secs(4), "too late to tell");
    assert!(wait_until(|| TcpStream::connect(http).is_err()));
    assert!(began.elapsed() >= Duration::from_secs(4));
    assert_eq!(edge.admin("GET", "/readyz", "").0, 503, "a drain is seen");
    let head = read_head(&mut slow);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(edge.process.wait(), 0);
}

#[test]
fn a_second_sigterm_cuts_what_is_in_flight_and_loses_no_line_and_no_state() {
    let (origins, folder) = (["a", "b"].map(Origin::start), tempfile::tempdir().unwrap());
    let kept = folder.path().display();
    let node = format!("drain_timeout: 10m, state_dir: '{kept}'");
    let urls = origins.each_ref().map(Origin::url).join("', '");
    let yaml = yaml(&node, &urls, "") + &format!("access_log: {{ to: '{kept}/log' }}\n");
    let mut edge = Edge::start(&yaml);
    let http = edge.address("http");
    for origin in &origins {
        origin.set_pause(Duration::from_mins(5));
    }
    let mut slow = connect(http);
    slow.get_mut().write_all(GET.as_bytes()).unwrap();
    assert!(wait_until(|| origins.iter().any(Origin::is_asked)));
    for origin in &origins {
        origin.set_pause(Duration::ZERO);
        origin.set_answer(|_| {
            let answer = Response::builder().header("Meridian-Drain", "60s");
            answer.body(Body::from("leaving")).unwrap()
        });
    }
    assert_eq!(get(&mut connect(http)), Ok(true));
    edge.process.signal("TERM");
    edge.process.wait_for("draining");
    edge.process.signal("TERM");
    assert_eq!(edge.process.wait(), 0);
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told: Vec<_> = lines
        .iter()
        .map(|line| (&line["status"], &line["termination"]))
        .collect();
    assert_eq!(
        told,
        [
            (&json!(200), &json!("completed")),
            (&Value::Null, &json!("drain-timeout"))
        ]
    );
    let edge = Edge::start(&yaml);
    let (_, status) = edge.admin("GET", "/api/v1/status", "");
    let origins = status["regions"][0]["services"][0]["origins"].as_array();
    let is_leaving = |origin: &Value| origin["ejected"]["cause"] == "drain";
    assert!(origins.unwrap().iter().any(is_leaving), "{status}");
}

#[test]
fn a_second_sigterm_waits_for_no_websocket() {
    let origin = raw_origin(echo);
    let node = "drain_timeout: 10m";
    let mut edge = Edge::start(&yaml(node, &format!("http://{origin}"), ""));
    let mut client = chat(&edge, "");
    edge.process.signal("TERM");
    edge.process.wait_for("draining");
    exchange_line(&mut client, "still here\n");
    edge.process.signal("TERM");
    assert_eq!(edge.process.wait(), 0);
}

#[test]
fn a_request_on_its_way_to_a_connection_that_is_new_or_idle_is_answered_at_the_end() {
    let origin = Origin::start("o");
    let mut edge = Edge::start(&yaml("name: a", &origin.url(), ""));
    let http = edge.address("http");
    let (mut idle, mut new) = (connect(http), connect(http));
    assert_eq!(get(&mut idle), Ok(true));
    edge.process.signal("TERM");
    edge.process.wait_for("draining");
    assert!(wait_until(|| TcpStream::connect(http).is_err()));
    for connection in [&mut idle, &mut new] {
        assert_eq!(get(connection), Ok(false), "it is told to be the last");
    }
    assert_eq!(edge.process.wait(), 0);
}

#[test]
fn what_waits_in_the_queue_of_a_dns_socket_is_answered_at_the_end() {
    const BURST: u16 = 100;
    let origin = Origin::start("o");
    let mut edge = Edge::start(&yaml("name: a", &origin.url(), ""));
    let client = udp_client(edge.address("dns"));
    edge.process.signal("STOP");
    for id in 0..BURST {
        let mut query = support::query("www.example.com", 1, &[]);
        query[..2].copy_from_slice(&id.to_be_bytes());
        client.send(&query).unwrap();
    }
    edge.process.signal("TERM");
    edge.process.signal("CONT");
    let mut reply = [0; 2000];
    for _ in 0..BURST {
        client.recv(&mut reply).expect("an answer to each");
    }
    assert_eq!(edge.process.wait(), 0);
}

#[test]
fn sockets_that_systemd_opened_are_served() {
    let (web, names) = (
        TcpListener::bind("127.0.0.1:0").unwrap(),
        TcpListener::bind("127.0.0.1:0").unwrap(),
    );
    let (http, dns) = (web.local_addr().unwrap(), names.local_addr().unwrap());
    let udp = UdpSocket::bind(dns).unwrap();
    let origin = Origin::start("o");
    let folder = tempfile::tempdir().unwrap();
    let listen = format!("{{ http: ['{http}'], http_mode: serve, dns: ['{dns}'] }}");
    let text = yaml("name: a", &origin.url(), "").replace(LISTEN, &listen);
    let (file, log) = (folder.path().join("edge.yaml"), folder.path().join("log"));
    std::fs::write(&file, text).unwrap();
    // The shell moves its first descriptors to where sd_listen_fds(3) has them.
    let serve = "LISTEN_PID=$$ LISTEN_FDS=3 exec \"$0\" serve --config \"$1\" 5<&2 4<&1 3<&0 2>\"$2\" 1>&2 0</dev/null";
    let mut edge = Command::new("sh")
        .args(["-c", serve, env!("CARGO_BIN_EXE_meridian")])
        .args([&file, &log])
        .stdin(Stdio::from(OwnedFd::from(web)))
        .stdout(Stdio::from(OwnedFd::from(names)))
        .stderr(Stdio::from(OwnedFd::from(udp)))
        .spawn()
        .unwrap();
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    let is_ready = wait_until(|| said().contains(" ready"));
    let served = is_ready.then(|| {
        (
            get(&mut connect(http)),
            ask_over_udp(&udp_client(dns), 7),
            ask_over_tcp(dns),
        )
    });
    edge.kill().unwrap();
    edge.wait().unwrap();
    assert_eq!(served, Some((Ok(true), Ok(()), Ok(()))), "{}", said());
}

#[test]
fn systemd_is_told_of_readiness_reloads_upgrades_and_the_end() {
    let origin = Origin::start("o");
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("notify.sock");
    let told = UnixDatagram::bind(&place).unwrap();
    told.set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    let next = || {
        let mut text = [0; 100];
        let length = told.recv(&mut text).expect("something is told");
        String::from_utf8(text[..length].to_vec()).unwrap()
    };
    let text = yaml("state_dir: state", &origin.url(), "");
    std::fs::write(folder.path().join("edge.yaml"), text).unwrap();
    let start = |arguments: &[&str]| {
        let mut command = meridian();
        command
            .arg("serve")
            .args(arguments)
            .arg("--config")
            .arg(folder.path());
        let mut process = Process::start(command.env("NOTIFY_SOCKET", &place));
        process.wait_for(" ready");
        process
    };
    let mut old = start(&[]);
    let ready = next();
    assert!(ready.starts_with("READY=1\nMAINPID="), "{ready}");
    old.signal("HUP");
    assert_eq!(next(), "RELOADING=1");
    assert_eq!(next(), ready);
    let mut new = start(&["--upgrade"]);
    let taken_over = next();
    assert!(taken_over.starts_with("READY=1\nMAINPID="), "{taken_over}");
    assert_ne!(taken_over, ready, "another process");
    assert_eq!(old.wait(), 0);
    new.signal("TERM");
    assert_eq!(next(), "STOPPING=1", "and nothing of the old one's end");
    assert_eq!(new.wait(), 0);
}

#[test]
fn a_websocket_lives_through_reloads_and_ends_drain_timeout_after_its_route_is_gone() {
    let (chatty, other) = (raw_origin(echo), Origin::start("o"));
    let with = |more: &str| {
        yaml("drain_timeout: 1s", &other.url(), "")
            .replace("hosts: [www.", "regions: [here], hosts: [web.")
            .replace("services: {", &format!("services: {{ {more}"))
            .replace(
                "regions: { here",
                &format!("regions: {{ chat: {{ origins: ['http://{chatty}'] }}, here"),
            )
    };
    let chat_route = "chat: { regions: [chat], hosts: [www.example.com] }, ";
    let edge = Edge::start(&with(chat_route));
    let mut client = chat(&edge, "");
    let generation = || edge.admin("GET", "/api/v1/status", "").1["config"]["generation"].as_u64();
    edge.write(&with(&format!(
        "{chat_route} new: {{ hosts: [new.example.com] }}, "
    )));
    assert!(wait_until(|| generation() == Some(2)));
    exchange_line(&mut client, "still here\n");
    let began = Instant::now();
    edge.write(&with(""));
    assert!(wait_until(|| generation() == Some(3)));
    exchange_line(&mut client, "and now\n");
    hears_the_end(&mut client);
    assert!(began.elapsed() >= Duration::from_secs(1));
    edge.write(&with(chat_route));
    assert!(wait_until(|| generation() == Some(4)));
    let mut client = chat(&edge, "");
    // The service stays, and is another host's.
    edge.write(&with(&chat_route.replace("www.", "chat.")));
    assert!(wait_until(|| generation() == Some(5)));
    exchange_line(&mut client, "and now\n");
    hears_the_end(&mut client);
}
