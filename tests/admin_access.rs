//! Who gets into the admin API: readers, operators, guessers, pages of other sites; in clear. Over TLS: `admin_tls.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::process::Command;

use support::admin_access::{curl, yaml};
use support::{Edge, Lab, Origin, Process, connect, listening, meridian, read_head, run};

const OPERATOR: &str = "operator-0123456789";
const READER: &str = "reader-0123456789";

fn both() -> String {
    format!(
        "{{ tokens: [{{ name: alice, token: {OPERATOR}, role: operate }}, {{ name: bob, token: {READER}, role: read }}] }}"
    )
}

fn status_of(admin: SocketAddr, token: Option<&str>, method: &str, path: &str) -> u16 {
    let (url, bearer);
    url = format!("http://{admin}{path}");
    bearer = format!("Authorization: Bearer {}", token.unwrap_or_default());
    let mut words = vec!["-X", method, &url];
    if token.is_some() {
        words.extend(["-H", &bearer]);
    }
    curl(&words).0
}

/// Without `listen.admin` nobody reaches it; where it is written as in the README, this machine alone; and whoever
/// writes no address is told of the one that is for this machine first.
#[test]
fn the_admin_is_on_loopback_unless_another_address_is_written_for_it() {
    let origin = Origin::start("near");
    let yaml = yaml(&origin.url(), "{}").replace("admin: {}\n", "");
    let without = Edge::start(&yaml.replace(", admin: '127.0.0.1:0'", ""));
    assert_eq!(
        without.process.takes_connections_at(),
        [without.address("dns")],
        "nothing but DNS over TCP"
    );
    let readme = std::fs::read_to_string("README.md").unwrap();
    assert!(readme.contains("admin: \"127.0.0.1:9090\""));
    let lab = Lab::start();
    let taken = lab.takes_connections_at();
    assert!(taken.contains(&lab.address("admin")), "{taken:?}");
    assert!(taken.iter().all(|at| at.ip().is_loopback()), "{taken:?}");
    for written in ["9090", "':9090'", "localhost:9090"] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("edge.yaml");
        std::fs::write(
            &file,
            yaml.replace("'127.0.0.1:0' }", &format!("{written} }}")),
        )
        .unwrap();
        let output = meridian().arg("check").arg(&file).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("127.0.0.1:9090 is for this machine alone"),
            "{said}"
        );
    }
}

#[test]
fn a_reader_sees_all_and_changes_nothing_and_an_operator_does_both() {
    let origin = Origin::start("o");
    let edge = Edge::start(&yaml(&origin.url(), &both()));
    let admin = edge.address("admin");
    let explain = "/api/v1/explain?name=www.example.com&client=192.0.2.9";
    for path in ["/api/v1/status", "/metrics", explain] {
        assert_eq!(status_of(admin, None, "GET", path), 401, "{path}");
        assert_eq!(status_of(admin, Some("wrong"), "GET", path), 401, "{path}");
        assert_eq!(status_of(admin, Some(READER), "GET", path), 200, "{path}");
        assert_eq!(status_of(admin, Some(OPERATOR), "GET", path), 200, "{path}");
    }
    for path in ["/", "/healthz", "/readyz"] {
        assert_eq!(status_of(admin, None, "GET", path), 200, "{path}");
    }
    let drain = "/api/v1/drains/near";
    assert_eq!(status_of(admin, None, "PUT", drain), 401);
    assert_eq!(status_of(admin, Some(READER), "PUT", drain), 403);
    assert_eq!(status_of(admin, Some(OPERATOR), "PUT", drain), 200);
    assert_eq!(status_of(admin, Some(READER), "DELETE", drain), 403);
    assert_eq!(
        status_of(admin, Some(READER), "POST", "/api/v1/reload"),
        403
    );
}

#[test]
fn the_bearer_of_a_token_that_may_only_read_is_named_when_it_is_refused() {
    let origin = Origin::start("o");
    let edge = Edge::start(&yaml(&origin.url(), &both()));
    let admin = edge.address("admin");
    assert_eq!(
        status_of(admin, Some(READER), "PUT", "/api/v1/drains/near"),
        403
    );
    assert_eq!(
        status_of(admin, Some("wrong"), "PUT", "/api/v1/drains/near"),
        401
    );
    let dry_run = "/api/v1/drains/far?dry_run=true";
    assert_eq!(status_of(admin, Some(READER), "PUT", dry_run), 403);
    let url = format!("http://{admin}");
    let mut command = meridian();
    command.args(["events", "--admin", &url, "--admin-token", READER]);
    let events = String::from_utf8(run(&mut command).stdout).unwrap();
    for who in ["bob", "(unknown)"] {
        let told = format!("{who} from 127.0.0.1: PUT /api/v1/drains/near refused");
        assert!(events.contains(&told), "{events}");
    }
    let told = format!("bob from 127.0.0.1: PUT {dry_run} refused");
    assert!(events.contains(&told), "{events}");
}

#[test]
fn where_readers_need_a_token_the_page_shows_regions_to_nobody_without_one() {
    let origin = Origin::start("o");
    let page = |admin: &str| {
        let edge = Edge::start(&yaml(&origin.url(), admin));
        let (status, said) = curl(&[&format!("http://{}/", edge.address("admin"))]);
        assert_eq!(status, 200, "{said}");
        assert!(said.contains("<title>Meridian</title>"), "{said}");
        said
    };
    let checked = &origin.url()["http://".len()..];
    let facts = [">near<", ">far<", checked];
    let closed = page(&both());
    for fact in facts {
        assert!(!closed.contains(fact), "{fact} in {closed}");
    }
    // Where changes alone need one, everybody sees.
    let open = page(&format!("{{ token: {OPERATOR} }}"));
    for fact in facts {
        assert!(open.contains(fact), "{fact} not in {open}");
    }
}

#[test]
fn a_body_that_is_too_long_is_refused_in_json() {
    let origin = Origin::start("o");
    let edge = Edge::start(&yaml(&origin.url(), "{}"));
    let body = edge.folder.path().join("body");
    for (path, bytes) in [
        ("/api/v1/drains/near", 64 << 10),
        ("/api/v1/positions/near", 2 << 20),
    ] {
        std::fs::write(&body, " ".repeat(bytes + 1)).unwrap();
        let (status, said) = edge.admin("PUT", path, &format!("@{}", body.display()));
        assert_eq!(status, 413, "{path}: {said}");
        assert!(said["error"].is_string(), "{path}: {said}");
    }
}

#[test]
fn events_are_streamed_to_readers_alone_and_the_command_line_shows_its_token() {
    let origin = Origin::start("o");
    let edge = Edge::start(&yaml(&origin.url(), &both()));
    let url = format!("http://{}", edge.address("admin"));
    let events = format!("{url}/api/v1/events");
    assert_eq!(curl(&[&events]).0, 401);
    for words in [
        &["status"][..],
        &["events"],
        &["explain", "www.example.com", "--client", "192.0.2.9"],
    ] {
        let with = |token: Option<&str>| {
            let mut command = meridian();
            command.args(words).args(["--admin", &url]);
            token.map(|token| command.args(["--admin-token", token]));
            command.output().unwrap().status.code()
        };
        assert_eq!(with(None), Some(1), "{words:?}");
        assert_eq!(with(Some(READER)), Some(0), "{words:?}");
    }
}

#[test]
fn whoever_guesses_tokens_is_told_to_wait() {
    let origin = Origin::start("o");
    let edge = Edge::start(&yaml(&origin.url(), "{ token: correct-horse-battery }"));
    let url = format!("http://{}/api/v1/reload", edge.address("admin"));
    let guess = |word: String| {
        let field = format!("Authorization: Bearer {word}");
        curl(&["-X", "POST", "-H", &field, &url])
    };
    // A script with a token of before is one guess, however often it comes.
    assert!((0..30).all(|_| guess("of-before".to_owned()).0 == 401));
    // More than 20 are heard if they take their time: then one is forgiven every 3 s.
    let answers = (0..100).map(|number| guess(format!("guess-{number}")));
    let (heard, refused): (Vec<_>, Vec<_>) = answers.partition(|(status, _)| *status == 401);
    assert!((19..60).contains(&heard.len()), "{}", heard.len());
    let (status, said) = &refused[0];
    assert_eq!(*status, 429, "{said}");
    assert!(said.to_lowercase().contains("retry-after: "), "{said}");
    assert_eq!(
        edge.admin("GET", "/api/v1/status", "").0,
        200,
        "seeing needs no token here"
    );
}

#[test]
fn a_script_that_runs_away_is_told_to_wait_and_nobody_else() {
    let origin = Origin::start("o");
    let edge = Edge::start(&yaml(&origin.url(), "{}"));
    let admin = edge.address("admin");
    // Behind each other on one connection, so that they come sooner than they are made good.
    let mut script = connect(admin);
    let asks = "GET /api/v1/nothing HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".repeat(12_000);
    let mut writes = script.get_ref().try_clone().unwrap();
    let writing = std::thread::spawn(move || writes.write_all(asks.as_bytes()));
    let head = loop {
        let head = read_head(&mut script).to_ascii_lowercase();
        if !head.starts_with("http/1.1 404 ") {
            break head;
        }
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.unwrap().parse().unwrap()];
        script.read_exact(&mut body).unwrap();
    };
    assert!(head.starts_with("http/1.1 429 "), "{head}");
    assert!(head.contains("\r\nretry-after: 1\r\n"), "{head}");
    let status = format!("http://{admin}/api/v1/status");
    let another = ["--interface", "127.0.0.2", &status];
    assert_eq!(curl(&another).0, 200);
    script.get_ref().shutdown(Shutdown::Both).unwrap();
    let _ = writing.join().unwrap();
}

#[test]
fn a_page_of_another_name_or_site_neither_sees_nor_changes_anything() {
    let origin = Origin::start("o");
    let edge = Edge::start(&yaml(&origin.url(), "{}"));
    let admin = edge.address("admin");
    let (status, drain) = (
        format!("http://{admin}/api/v1/status"),
        format!("http://{admin}/api/v1/drains/near"),
    );
    let rebound = ["-H", "Host: evil.example:9090"];
    assert_eq!(curl(&[&rebound[..], &[&status]].concat()).0, 403);
    assert_eq!(
        curl(&[&rebound[..], &["-X", "PUT", &drain]].concat()).0,
        403
    );
    let own = format!("Origin: http://{admin}");
    for (field, content_type, expected) in [
        ("Sec-Fetch-Site: cross-site", "application/json", 403),
        ("Sec-Fetch-Site: same-site", "application/json", 403),
        ("Origin: https://evil.example", "application/json", 403),
        (&own, "text/plain", 415),
        (&own, "application/json", 200),
    ] {
        let content_type = format!("Content-Type: {content_type}");
        let words = [
            "-X",
            "PUT",
            "-d",
            "{}",
            "-H",
            field,
            "-H",
            &content_type,
            &drain,
        ];
        assert_eq!(curl(&words).0, expected, "{field} {content_type}");
    }
}

#[test]
fn who_is_refused_before_its_body_was_read_is_told_that_the_connection_ends() {
    let folder = tempfile::tempdir().unwrap();
    let origin = Origin::start("o");
    let admin = "{ tokens: [{ name: alice, token: alice-0123456789abcdef, role: operate }] }";
    let file = folder.path().join("edge.yaml");
    std::fs::write(&file, yaml(&origin.url(), admin)).unwrap();
    let mut process = Process::start(meridian().args(["serve", "--config"]).arg(&file));
    process.wait_for(" ready");
    let address = listening(&process.said(), "admin");
    let refused = |request: &str| {
        let mut client = support::connect(address);
        support::say(&mut client, request);
        let head = support::read_head(&mut client).to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 401 "), "{head}");
        head.contains("\r\nconnection: close\r\n")
    };
    let put = "PUT /api/v1/drains/near HTTP/1.1\r\nHost: localhost\r\n";
    assert!(refused(&format!("{put}Content-Length: 2\r\n\r\n{{}}")));
    assert!(!refused(&format!("{put}\r\n")), "there is nothing to leave");
}

/// RFC 9112 §3.2.
#[test]
fn a_request_of_two_hosts_or_of_none_is_refused() {
    let origin = Origin::start("o");
    let edge = Edge::start(&yaml(&origin.url(), "{}"));
    let asked = |target: &str, version: &str, hosts: &[&str]| {
        let hosts: String = hosts
            .iter()
            .map(|host| format!("Host: {host}\r\n"))
            .collect();
        let mut client = support::connect(edge.address("admin"));
        support::say(
            &mut client,
            &format!("GET {target} {version}\r\n{hosts}\r\n"),
        );
        let head = support::read_head(&mut client);
        head.split(' ').nth(1).unwrap().to_owned()
    };
    let answered = |version: &str, hosts: &[&str]| asked("/api/v1/status", version, hosts);
    let absolute = |target: &str| asked(target, "HTTP/1.1", &["localhost"]);
    assert_eq!(absolute("http://localhost/api/v1/status"), "200");
    assert_eq!(absolute("http://evil.example/api/v1/status"), "400");
    assert_eq!(answered("HTTP/1.1", &["localhost"]), "200");
    assert_eq!(answered("HTTP/1.1", &["localhost", "localhost"]), "400");
    assert_eq!(answered("HTTP/1.1", &["local host"]), "400");
    assert_eq!(answered("HTTP/1.1", &[]), "400");
    assert_eq!(answered("HTTP/1.0", &[]), "200");
}

#[test]
fn check_says_what_is_wrong_with_who_may_do_what() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("edge.yaml");
    let check = |admin: &str, address: &str| {
        let yaml = yaml("http://127.0.0.1:9", admin)
            .replace("admin: '127.0.0.1:0'", &format!("admin: '{address}'"));
        std::fs::write(&file, yaml).unwrap();
        let output = meridian()
            .args(["check", "--config"])
            .arg(&file)
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let wrong = [
        (
            "{ tokens: [{ name: alice, token: short, role: read }] }",
            "at least 16 bytes",
        ),
        (
            "{ tokens: [{ name: alice, token: 0123456789abcdef, role: root }] }",
            "read, operate",
        ),
        (
            "{ tokens: [{ name: alice, token: 0123456789abcdef }] }",
            "role",
        ),
        (
            "{ tokens: [{ name: 'a b', token: 0123456789abcdef, role: read }] }",
            "a name of 1 to 63 letters",
        ),
        ("{ tls: { cert: nowhere.pem } }", "key"),
        (
            "{ tls: { cert: nowhere.pem, key: nowhere.key } }",
            "nowhere.pem",
        ),
        (
            "{ token: 0123456789abcdef, tokens: [{ name: admin, token: 0123456789abcdeg, role: read }] }",
            "two tokens of this name",
        ),
        (
            "{ token: 0123456789abcdef, tokens: [{ name: bob, token: 0123456789abcdef, role: read }] }",
            "whose it is could not be told",
        ),
    ];
    for (admin, expected) in wrong {
        let (code, said) = check(admin, "127.0.0.1:9090");
        assert_eq!(code, Some(1), "{admin}: {said}");
        assert!(said.contains(expected), "{admin}: {said}");
        assert!(
            !said.contains("0123456789abcdef"),
            "no secret is shown: {said}"
        );
    }
    let (code, said) = check("{ token: 0123456789abcdef }", "0.0.0.0:9090");
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("without `admin.tls`: tokens pass in clear"),
        "{said}"
    );
    assert!(said.contains("without a token of role read"), "{said}");
    let (code, said) = check(&both(), "127.0.0.1:9090");
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("warning: admin"), "{said}");
}

#[test]
fn whoever_follows_is_sent_no_more_once_a_reload_takes_the_right_away() {
    let origin = Origin::start("o");
    let yaml = |admin: &str| yaml(&origin.url(), admin);
    let edge = Edge::start(&yaml(&format!("{{ token: {OPERATOR} }}")));
    let url = format!(
        "http://{}/api/v1/events?with=traffic",
        edge.address("admin")
    );
    let follow = |token: &str| {
        let bearer = format!("Authorization: Bearer {token}");
        let mut curl = Command::new("curl");
        let mut follower = Process::start(curl.args(["-sN", "-H", &bearer, &url]));
        follower.wait_for("event: health");
        follower
    };
    let mut anybody = follow("");
    edge.write(&yaml(&both()));
    anybody.wait();
    let (mut alice, mut bob) = (follow(OPERATOR), follow(READER));
    edge.write(&yaml(&both().replace(READER, "another-0123456789")));
    bob.wait();
    alice.wait_for("configuration 3 is in force");
    for (follower, configuration) in [(&anybody, 2), (&bob, 3)] {
        let taken_away = format!("configuration {configuration} is in force");
        assert!(
            !follower.said().contains(&taken_away),
            "{}",
            follower.said()
        );
    }
    assert_eq!(
        status_of(
            edge.address("admin"),
            Some(OPERATOR),
            "PUT",
            "/api/v1/drains/near"
        ),
        200
    );
    alice.wait_for("region near is drained");
}
