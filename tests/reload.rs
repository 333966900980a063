//! Reloads: by file, by symlink swap, by signal and by call; all or nothing; and nothing is dropped.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use support::{Edge, Origin, Process, listening, meridian, run, wait_until};

fn yaml(origin: &str, address: &str, more_listeners: &str) -> String {
    format!(
        "listen: {{ dns: ['127.0.0.1:0'], https: ['127.0.0.1:0'], admin: '127.0.0.1:0'{more_listeners} }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions: {{ us-east-1: {{ addresses: [{address}], origins: ['{origin}'] }} }}
services: {{ www: {{ hosts: [www.example.com], health: {{ interval: 1s }} }} }}
zones: {{ example.com: {{ nameservers: {{ ns1: [127.0.0.1] }} }} }}
"
    )
}

fn answers(edge: &Edge, address: &str) -> bool {
    wait_until(|| edge.kdig("www.example.com A +short").trim() == address)
}

#[test]
fn a_change_of_the_file_is_taken_over() {
    let origin = Origin::start("o");
    let edge = Edge::start(&yaml(&origin.url(), "192.0.2.1", ""));
    assert!(answers(&edge, "192.0.2.1"));
    edge.write(&yaml(&origin.url(), "192.0.2.2", ""));
    assert!(answers(&edge, "192.0.2.2"));
}

#[test]
fn a_broken_file_changes_nothing_and_is_told_everywhere() {
    let origin = Origin::start("o");
    let mut edge = Edge::start(&yaml(&origin.url(), "192.0.2.1", ""));
    edge.write(&yaml(&origin.url(), "192.0.2.2", "").replace("hosts:", "hsots:"));
    edge.process.wait_for("reload refused");
    let (_, status) = edge.admin("GET", "/api/v1/status", "");
    let error = &status["config"]["error"];
    assert_eq!(
        (
            error["line"].as_u64(),
            status["config"]["generation"].as_u64()
        ),
        (Some(4), Some(1))
    );
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("did you mean `hosts`?"),
        "{error}"
    );
    let (refused, problems) = edge.admin("POST", "/api/v1/reload", "");
    assert_eq!(refused, 422);
    assert_eq!(problems["problems"][0]["line"], 4);
    assert!(answers(&edge, "192.0.2.1"));
    edge.write(&yaml(&origin.url(), "192.0.2.3", ""));
    assert!(answers(&edge, "192.0.2.3"));
    assert!(edge.admin("GET", "/api/v1/status", "").1["config"]["error"].is_null());
}

#[test]
fn a_reload_by_call_says_what_changed() {
    let origin = Origin::start("o");
    let edge = Edge::start(&yaml(&origin.url(), "192.0.2.1", ""));
    let (status, same) = edge.admin("POST", "/api/v1/reload", "");
    assert_eq!(
        (status, same["changes"].as_array().map(Vec::len)),
        (200, Some(0))
    );
}

#[test]
fn listeners_are_added_and_removed_live() {
    let origin = Origin::start("o");
    let mut edge = Edge::start(&yaml(&origin.url(), "192.0.2.1", ""));
    edge.write(&yaml(
        &origin.url(),
        "192.0.2.1",
        ", http: ['127.0.0.1:0'], http_mode: serve",
    ));
    edge.process.wait_for("listening http ");
    let http = edge.address("http");
    let get = || std::net::TcpStream::connect(http).is_ok();
    assert!(get());
    edge.write(&yaml(&origin.url(), "192.0.2.1", ""));
    assert!(wait_until(|| !get()));
    assert_eq!(edge.curl("www.example.com", "/", &[]).status, 200);
}

#[test]
fn a_listener_moves_to_every_address_of_its_port_and_protocols_swap_ports() {
    let origin = Origin::start("o");
    let mut edge = Edge::start(&yaml(
        &origin.url(),
        "192.0.2.1",
        ", http: ['127.0.0.1:0'], http_mode: serve",
    ));
    let (dns, http) = (edge.address("dns").port(), edge.address("http").port());
    let moved = format!(
        "listen: {{ dns: ['0.0.0.0:{dns}'], http: ['0.0.0.0:{http}'], http_mode: serve, admin: '127.0.0.1:0' }}
regions: {{ us-east-1: {{ addresses: [192.0.2.2], origins: ['{}'] }} }}
services: {{ www: {{ hosts: [www.example.com] }} }}
zones: {{ example.com: {{ nameservers: {{ ns1: [127.0.0.1] }} }} }}
",
        origin.url()
    );
    edge.write(&moved);
    edge.process.wait_for("configuration 2 is in force");
    let ask = || {
        let server = std::net::SocketAddr::from(([127, 0, 0, 1], dns));
        support::ask("kdig", server, "www.example.com A +short")
            .trim()
            .to_owned()
    };
    assert!(wait_until(|| ask() == "192.0.2.2"));
    let get = |scheme: &str| {
        let url = format!("{scheme}://www.example.com:{http}/");
        let resolve = format!("www.example.com:{http}:127.0.0.1");
        let arguments = [
            "-sk",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--resolve",
            &resolve,
            &url,
        ];
        let output = std::process::Command::new("curl")
            .args(arguments)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(wait_until(|| get("http") == "200"));
    edge.write(
        &moved
            .replace("http: [", "https: [")
            .replace("http_mode: serve, ", ""),
    );
    edge.process.wait_for("configuration 3 is in force");
    assert!(wait_until(|| get("https") == "200"));
}

#[test]
fn a_dns_listener_that_was_taken_away_comes_back_at_once() {
    let origin = Origin::start("o");
    let edge = Edge::start(&yaml(&origin.url(), "192.0.2.1", ""));
    let dns = edge.address("dns");
    let with = yaml(&origin.url(), "192.0.2.1", "")
        .replace("dns: ['127.0.0.1:0']", &format!("dns: ['{dns}']"));
    let without = with.replace(&format!("dns: ['{dns}'], "), "");
    let reload = |yaml: &str| {
        edge.write(yaml);
        edge.admin("POST", "/api/v1/reload", "")
    };
    for _ in 0..5 {
        for yaml in [&without, &with] {
            let (status, told) = reload(yaml);
            assert_eq!(status, 200, "{told}");
        }
        assert_eq!(
            support::ask("kdig", dns, "www.example.com A +short").trim(),
            "192.0.2.1"
        );
    }
}

#[test]
fn a_symlink_swap_is_seen_and_a_hangup_obeyed() {
    let origin = Origin::start("o");
    let folder = tempfile::tempdir().unwrap();
    let version = |name: &str, address: &str| {
        let folder = folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("edge.yaml"), yaml(&origin.url(), address, "")).unwrap();
    };
    version("..1", "192.0.2.1");
    version("..2", "192.0.2.2");
    let swap = |name: &str| {
        let new = folder.path().join("..new");
        std::os::unix::fs::symlink(name, &new).unwrap();
        std::fs::rename(new, folder.path().join("..data")).unwrap();
    };
    swap("..1");
    std::os::unix::fs::symlink("..data/edge.yaml", folder.path().join("edge.yaml")).unwrap();
    let mut process = Process::start(meridian().args(["serve", "--config"]).arg(folder.path()));
    process.wait_for(" ready");
    let dns = listening(&process.said(), "dns");
    let answer = || support::ask("kdig", dns, "www.example.com A +short");
    assert!(wait_until(|| answer().trim() == "192.0.2.1"));
    swap("..2");
    assert!(wait_until(|| answer().trim() == "192.0.2.2"));
    process.signal("HUP");
    process.wait_for("configuration 3 is in force");
    process.signal("TERM");
    assert_eq!(process.wait(), 0);
}

#[test]
fn a_reload_under_load_drops_nothing() {
    let origin = Origin::start("o");
    let edge = Edge::start(&yaml(&origin.url(), "192.0.2.1", ""));
    let https = edge.address("https");
    let (over, done, failed) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let answer = edge.curl("www.example.com", "/", &[]);
                    done.fetch_add(1, Ordering::SeqCst);
                    if answer.status != 200 {
                        failed.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        for i in 2..10 {
            let before = done.load(Ordering::SeqCst);
            edge.write(&yaml(&origin.url(), &format!("192.0.2.{i}"), ""));
            assert!(answers(&edge, &format!("192.0.2.{i}")));
            assert!(wait_until(|| done.load(Ordering::SeqCst) > before));
        }
        over.store(true, Ordering::SeqCst);
    });
    assert_eq!(
        failed.load(Ordering::SeqCst),
        0,
        "of {}",
        done.load(Ordering::SeqCst)
    );
    assert_eq!(edge.address("https"), https);
}

#[test]
fn drains_and_health_survive_a_restart() {
    let (near, far) = (Origin::start("near"), Origin::start("far"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("edge.yaml");
    let yaml = format!(
        "node: {{ state_dir: state }}
listen: {{ dns: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
regions:
  near: {{ location: [50, 8], addresses: [192.0.2.1], origins: ['{}'] }}
  far: {{ location: [39, -77], addresses: [192.0.2.2], origins: ['{}'] }}
services: {{ www: {{ hosts: [www.example.com], steering: {{ policy: priority }} }} }}
zones: {{ example.com: {{ nameservers: {{ ns1: [127.0.0.1] }} }} }}
",
        near.url(),
        far.url()
    );
    std::fs::write(&file, yaml).unwrap();
    let start = || {
        let mut process = Process::start(meridian().args(["serve", "--config"]).arg(&file));
        process.wait_for(" ready");
        process
    };
    let answer = |process: &Process| {
        let dns = listening(&process.said(), "dns");
        support::ask("kdig", dns, "www.example.com A +short")
            .trim()
            .to_owned()
    };
    let mut first = start();
    assert_eq!(answer(&first), "192.0.2.1");
    let admin = listening(&first.said(), "admin");
    let drain = "{\"reason\":\"maintenance\",\"for\":\"1h\"}";
    assert_eq!(
        support::admin(admin, "PUT", "/api/v1/drains/near", drain).0,
        200
    );
    assert_eq!(answer(&first), "192.0.2.2");
    first.signal("TERM");
    assert_eq!(first.wait(), 0);
    let second = start();
    assert_eq!(answer(&second), "192.0.2.2");
}

#[test]
fn a_corrupt_state_file_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("state")).unwrap();
    std::fs::write(folder.path().join("state/state.json"), "{ half a fi").unwrap();
    let origin = Origin::start("o");
    let yaml = yaml(&origin.url(), "192.0.2.1", "") + "node: { state_dir: state }\n";
    std::fs::write(folder.path().join("edge.yaml"), yaml).unwrap();
    let mut process = Process::start(meridian().args(["serve", "--config"]).arg(folder.path()));
    process.wait_for(" ready");
    assert!(folder.path().join("state/state.json.unreadable").exists());
    let told = "starting without drains, forced states and health of before: state file ";
    process.wait_for(told);
    let url = format!("http://{}", listening(&process.said(), "admin"));
    for command in ["status", "events"] {
        let said = run(meridian().args([command, "--admin", &url])).stdout;
        let said = String::from_utf8(said).unwrap();
        assert!(
            said.contains(told) && said.contains("; set aside as "),
            "{said}"
        );
    }
}
