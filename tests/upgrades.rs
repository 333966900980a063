//! How another process takes an edge's place, with nothing lost.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::one_service::{LISTEN, ask_over_tcp, ask_over_udp, udp_client, yaml};
use support::{
    DnsClient, Edge, GET, Load, Origin, Process, chat, connect, echo, exchange_line, get,
    hears_the_end, raw_origin, read_head, wait_until,
};

fn successor_of(folder: &Path) -> Process {
    Process::serving(folder, &["--upgrade"])
}

/// Has a new process take over; the old one.
#[track_caller]
fn upgrade(edge: &mut Edge) -> Process {
    let mut successor = successor_of(edge.folder.path());
    successor.wait_for(" ready");
    successor.wait_for("took over");
    std::mem::replace(&mut edge.process, successor)
}

#[test]
fn two_upgrades_under_load_lose_no_request_and_no_dns_answer() {
    let origin = Origin::start("o");
    let mut edge = Edge::start(&yaml("state_dir: state", &origin.url(), ""));
    let [dns, https, http, admin] = ["dns", "https", "http", "admin"].map(|p| edge.address(p));
    let [udp, tcp, tls, new, kept, ready] =
        ["UDP", "TCP", "HTTPS", "new", "kept", "readyz"].map(Load::of);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let (mut id, mut socket) = (0_u16, udp_client(dns));
                udp.run(&over, || {
                    id = id.wrapping_add(1);
                    if id.is_multiple_of(50) {
                        socket = udp_client(dns);
                    }
                    ask_over_udp(&socket, id)
                });
            });
            scope.spawn(|| new.run(&over, || get(&mut connect(http)).map(|_| ())));
            scope.spawn(|| {
                let mut connection = connect(http);
                kept.run(&over, || {
                    if !get(&mut connection)? {
                        connection = connect(http);
                    }
                    Ok(())
                });
            });
        }
        scope.spawn(|| tcp.run(&over, || ask_over_tcp(dns)));
        scope.spawn(|| {
            tls.run(&over, || {
                let resolve = format!("www.example.com:{}:127.0.0.1", https.port());
                let url = format!("https://www.example.com:{}/", https.port());
                let mut curl = Command::new("curl");
                curl.args(["-skf", "--max-time", "15", "--resolve", &resolve, &url]);
                let status = curl.output().unwrap().status;
                status.success().then_some(()).ok_or(status.to_string())
            });
        });
        scope.spawn(|| {
            ready.run(&over, || {
                match support::admin(admin, "GET", "/readyz", "") {
                    (200, _) => Ok(()),
                    (status, _) => Err(status.to_string()),
                }
            });
        });
        let loads = [&udp, &tcp, &tls, &new, &kept, &ready];
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..2 {
                loads.iter().for_each(|load| load.goes_on(5));
                let mut old = upgrade(&mut edge);
                loads.iter().for_each(|load| load.goes_on(5));
                assert_eq!(old.wait(), 0);
                loads.iter().for_each(|load| load.goes_on(5));
            }
        }));
        over.store(true, Ordering::SeqCst);
        loads.iter().for_each(|load| load.lost_nothing());
        ended.unwrap();
    });
    assert_eq!(edge.address("https"), https, "the very same sockets");
}

#[test]
fn a_websocket_stays_with_the_old_process_to_its_end() {
    let origin = raw_origin(echo);
    let mut edge = Edge::start(&yaml("state_dir: state", &format!("http://{origin}"), ""));
    let mut client = chat(&edge, "");
    let mut old = upgrade(&mut edge);
    exchange_line(&mut client, "still here\n");
    exchange_line(&mut chat(&edge, ""), "and new ones too\n");
    assert!(!old.said().contains(" done"), "{}", old.said());
    drop(client);
    assert_eq!(old.wait(), 0);
    assert!(
        !old.said().contains("connections are cut"),
        "{}",
        old.said()
    );
}

#[test]
fn what_outlasts_drain_timeout_is_cut_in_the_old_process() {
    let origin = raw_origin(echo);
    let node = "state_dir: state, drain_timeout: 500ms";
    let mut edge = Edge::start(&yaml(node, &format!("http://{origin}"), ""));
    let mut client = chat(&edge, "");
    let mut old = upgrade(&mut edge);
    assert_eq!(old.wait(), 0);
    assert!(old.said().contains("connections are cut"), "{}", old.said());
    hears_the_end(&mut client);
}

#[test]
fn whoever_watches_the_admin_holds_an_old_process_up_for_two_seconds_at_most() {
    let origin = Origin::start("here");
    let mut edge = Edge::start(&yaml("state_dir: state", &origin.url(), ""));
    let mut watcher = connect(edge.address("admin"));
    let follow = b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    watcher.get_mut().write_all(follow).unwrap();
    assert!(read_head(&mut watcher).starts_with("HTTP/1.1 200 "));
    let mut old = upgrade(&mut edge);
    assert_eq!(old.wait(), 0);
    let lasted = lasted_on(&old);
    // A second from when its listeners closed, a little before it says so.
    assert!(
        lasted > Duration::from_millis(500),
        "cut off after {lasted:?}"
    );
    assert!(lasted < Duration::from_secs(10), "held up for {lasted:?}");
    let mut alone = upgrade(&mut edge);
    assert_eq!(alone.wait(), 0);
    let lasted = lasted_on(&alone);
    assert!(
        lasted < Duration::from_secs(2),
        "nobody watched: {lasted:?}"
    );
}

/// How long a process went on after another one took over, by the times of its own log: they do not depend on when
/// this test gets its turn.
#[track_caller]
fn lasted_on(process: &Process) -> Duration {
    let said = process.said();
    let at = |text: &str| {
        let line = said.lines().find(|line| line.contains(text)).unwrap();
        let (time, _) = line.split_once('Z').unwrap();
        let of_day = time.split_once('T').unwrap().1;
        let parts = of_day.split(':').map(|part| part.parse::<f64>().unwrap());
        parts.fold(0.0, |sum, part| sum * 60.0 + part)
    };
    let seconds = at(" done") - at("another process took over");
    // It may have been midnight in between.
    Duration::from_secs_f64(seconds.rem_euclid(86_400.0))
}

#[test]
fn an_answer_under_way_is_finished_by_the_old_process() {
    let (asked, is_asked) = std::sync::mpsc::channel();
    let (go_on, may_answer) = std::sync::mpsc::channel::<()>();
    let may_answer = std::sync::Arc::new(std::sync::Mutex::new(may_answer));
    let origin = raw_origin(move |mut stream, _| {
        asked.send(()).unwrap();
        may_answer.lock().unwrap().recv().unwrap();
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        stream.get_mut().write_all(answer).unwrap();
    });
    let mut edge = Edge::start(&yaml("state_dir: state", &format!("http://{origin}"), ""));
    let mut client = connect(edge.address("http"));
    client.get_mut().write_all(GET.as_bytes()).unwrap();
    is_asked.recv().unwrap();
    let mut old = upgrade(&mut edge);
    go_on.send(()).unwrap();
    let head = read_head(&mut client).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
    assert_eq!(old.wait(), 0);
}

#[test]
fn an_upgrade_that_fails_leaves_the_old_process_as_it_was() {
    let origin = Origin::start("o");
    let folder = tempfile::tempdir().unwrap();
    let door = folder.path().join("door.sock");
    let node = format!("upgrade_socket: {}", door.display());
    let mut edge = Edge::start(&yaml(&node, &origin.url(), ""));
    let check = |edge: &mut Edge| {
        assert!(get(&mut connect(edge.address("http"))).is_ok());
        DnsClient::of(edge.address("dns")).ask(support::query("www.example.com", 1, &[]));
    };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let broken = [
        (
            yaml(&node, &origin.url(), "").replace("hosts", "hsots"),
            "did you mean",
        ),
        (
            yaml(&node, &origin.url(), "").replace("https: [", &format!("https: ['{taken}', ")),
            "Address already in use",
        ),
    ];
    for (yaml, says) in broken {
        std::fs::write(folder.path().join("edge.yaml"), yaml).unwrap();
        let mut successor = successor_of(folder.path());
        assert_eq!(successor.wait(), 1);
        assert!(successor.said().contains(says), "{}", successor.said());
        check(&mut edge);
    }
    // One that dies when it knows everything already.
    let mut successor = UnixStream::connect(&door).unwrap();
    receive(&mut successor);
    successor.write_all(b"s").unwrap();
    receive(&mut successor);
    let refused = edge.admin("PUT", "/api/v1/drains/here", "{\"force\":true}");
    assert_eq!(refused.0, 503, "{}", refused.1);
    drop(successor);
    let drained = || {
        edge.admin("PUT", "/api/v1/drains/here", "{\"force\":true}")
            .0
            == 200
    };
    assert!(wait_until(drained), "a drain is possible again");
    assert_eq!(edge.admin("POST", "/api/v1/reload", "").0, 200);
    check(&mut edge);
    let mut old = upgrade(&mut edge);
    assert_eq!(old.wait(), 0);
}

/// Reads a message of the old process, without the sockets beside it.
fn receive(stream: &mut UnixStream) {
    let mut number = || {
        let mut number = [0; 4];
        stream.read_exact(&mut number).unwrap();
        u32::from_be_bytes(number)
    };
    let length = number() + number();
    stream
        .read_exact(&mut vec![0; usize::try_from(length).unwrap()])
        .unwrap();
}

#[test]
fn what_is_known_is_handed_on() {
    let (near, far) = (Origin::start("near"), Origin::start("far"));
    let text = format!(
        "node: {{ upgrade_socket: door.sock }}
listen: {LISTEN}
regions:
  near: {{ addresses: [192.0.2.1], origins: ['{}'] }}
  far: {{ addresses: [192.0.2.2], origins: ['{}'] }}
services:
  www:
    hosts: [www.example.com]
    steering: {{ policy: priority }}
    health: {{ interval: 1s, recheck_interval: 1s, failure_threshold: 1, success_threshold: 100 }}
  app:
    hosts: [app.example.com]
    steering: {{ policy: weighted }}
    affinity: {{ by: cookie }}
    health: {{ protocol: tcp }}
  tenants:
    hosts: [tenants.example.com]
    steering: {{ policy: weighted }}
    affinity: {{ by: {{ header: X-Tenant }} }}
    health: {{ protocol: tcp }}
zones: {{ example.com: {{ nameservers: {{ ns1: [127.0.0.1] }} }} }}
",
        near.url(),
        far.url()
    );
    let mut edge = Edge::start(&text);
    let nearest = |edge: &Edge| edge.kdig("www.example.com A +short").trim().to_owned();
    near.set_healthy(false);
    assert!(wait_until(|| nearest(&edge) == "192.0.2.2"));
    near.set_healthy(true); // A hundred checks must pass: one that knows nothing would believe the first.
    let first = edge.curl("app.example.com", "/", &[]);
    let cookie = first.cookie("__Host-meridian_region_app");
    let with_cookie = format!("Cookie: {cookie}");
    let served = |edge: &Edge, host: &str, header: &str| {
        let answer = edge.curl(host, "/", &["-H", header]);
        assert!(answer.headers("set-cookie").is_empty(), "{}", answer.head);
        answer.header("meridian-region").to_owned()
    };
    let tenants: Vec<String> = (0..8).map(|i| format!("X-Tenant: {i}")).collect();
    let used_to = |edge: &Edge| -> Vec<String> {
        let served = |tenant: &String| served(edge, "tenants.example.com", tenant);
        tenants.iter().map(served).collect()
    };
    let before = used_to(&edge);
    let drain = "{\"service\":\"app\",\"force\":true}";
    let drained = if first.header("meridian-region") == "near" {
        "far"
    } else {
        "near"
    };
    assert_eq!(
        edge.admin("PUT", &format!("/api/v1/drains/{drained}"), drain)
            .0,
        200
    );
    let mut old = upgrade(&mut edge);
    assert_eq!(nearest(&edge), "192.0.2.2");
    assert_eq!(
        served(&edge, "app.example.com", &with_cookie),
        first.header("meridian-region")
    );
    assert_eq!(used_to(&edge), before);
    let status = edge.admin("GET", "/api/v1/status", "").1;
    let states = |region: &serde_json::Value| region["services"].as_array().unwrap().clone();
    let all: Vec<_> = status["regions"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(states)
        .collect();
    assert!(
        all.iter().all(|service| service["state"] != "unknown"),
        "{all:#?}"
    );
    assert!(
        all.iter().any(|service| service["state"] == "draining"),
        "{all:#?}"
    );
    assert_eq!(old.wait(), 0);
}

#[test]
fn upgrade_starts_afresh_if_nobody_runs_and_needs_a_place_to_ask() {
    let origin = Origin::start("o");
    let start = |node: &str| {
        let folder = tempfile::tempdir().unwrap();
        let text = yaml(node, &origin.url(), "");
        std::fs::write(folder.path().join("edge.yaml"), text).unwrap();
        (successor_of(folder.path()), folder)
    };
    let (mut alone, folder) = start("state_dir: state");
    alone.wait_for(" ready");
    assert!(folder.path().join("state/upgrade.sock").exists());
    alone.signal("TERM");
    assert_eq!(alone.wait(), 0);
    assert!(!folder.path().join("state/upgrade.sock").exists());
    let (mut lost, _folder) = start("name: a");
    assert_eq!(lost.wait(), 1);
    let needs = "it needs node.state_dir or node.upgrade_socket";
    assert!(lost.said().contains(needs), "{}", lost.said());
}

#[test]
fn an_upgrade_may_change_what_is_listened_on() {
    let origin = Origin::start("o");
    let mut edge = Edge::start(&yaml("state_dir: state", &origin.url(), ""));
    let (http, https) = (edge.address("http"), edge.address("https"));
    let state = edge.folder.path().join("state");
    let node = format!("state_dir: {}", state.display());
    // HTTP moves to where HTTPS was, of which there is none any more.
    let moved = yaml(&node, &origin.url(), "")
        .replace("http: ['127.0.0.1:0']", &format!("http: ['{https}']"))
        .replace("https: ['127.0.0.1:0'], ", "");
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("edge.yaml"), moved).unwrap();
    let mut successor = successor_of(other.path());
    successor.wait_for(" ready");
    assert_eq!(edge.process.wait(), 0);
    assert_eq!(get(&mut connect(https)), Ok(true));
    assert!(
        TcpStream::connect(http).is_err(),
        "nobody listens there any more"
    );
}

#[test]
fn sigusr2_starts_a_successor() {
    let origin = Origin::start("o");
    let mut edge = Edge::start(&yaml("state_dir: state", &origin.url(), ""));
    let http = edge.address("http");
    edge.process.signal("USR2");
    edge.process.wait_for("another process took over");
    // The successor says what it says where the old one did.
    let said = edge.process.said();
    let pid = said.split("started a successor pid=").nth(1).unwrap();
    let pid = pid.split_whitespace().next().unwrap();
    // What the old one still finds in its queue it answers as a last request.
    assert!(wait_until(|| get(&mut connect(http)) == Ok(true)));
    let ended = Command::new("kill").arg(pid).status().unwrap();
    assert!(ended.success());
    assert_eq!(edge.process.wait(), 0);
}
