//! What carries a token: the cookie's attributes, what scripts of other sites may read, and other edges.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::process::Command;

use axum::body::Body;
use axum::response::Response;
use support::{Answer, Edge, Origin, run};

const HOST: &str = "api.example.com";

/// An origin that says where writes are, and that lets scripts read a field of its own.
fn origin() -> Origin {
    let origin = Origin::start("here");
    origin.set_answer(|seen| {
        let answer = Response::builder().header("Access-Control-Expose-Headers", "X-Total");
        let answer = match seen.method.as_str() {
            "POST" => answer.header("Meridian-Committed", "5"),
            _ => answer,
        };
        answer.body(Body::from("here")).unwrap()
    });
    origin
}

fn edge(origin: &Origin, secret: &str) -> Edge {
    Edge::start(&format!(
        "listen: {{ https: ['127.0.0.1:0'], http: ['127.0.0.1:0'], http_mode: serve, admin: '127.0.0.1:0' }}
keys: [{{ id: 1, secret: {secret} }}]
regions:
  here: {{ location: [50, 8], origins: ['{}'] }}
  there: {{ location: [39, -77], origins: ['http://127.0.0.1:9'] }}
services:
  api:
    hosts: [{HOST}]
    writes: {{ to: {{ primary: here }} }}
    steering: {{ policy: priority }}
    consistency: {{ read_your_writes: true, ttl: 2m }}
",
        origin.url()
    ))
}

const SECRET: &str = "0123456789abcdef";

fn write(edge: &Edge) -> Answer {
    edge.curl(HOST, "/", &["-d", "x"])
}

/// What follows the value of the one cookie that an answer sets.
fn attributes<'a>(cookies: &[&'a str], name: &str) -> Vec<&'a str> {
    assert_eq!(cookies.len(), 1, "{cookies:?}");
    let mut parts = cookies[0].split("; ");
    let first = parts.next().unwrap();
    assert_eq!(first.split('=').next(), Some(name));
    parts.collect()
}

#[test]
fn the_cookie_has_the_attributes_of_the_contract_over_tls_and_over_plain_http() {
    let origin = origin();
    let edge = edge(&origin, SECRET);
    let secure = write(&edge);
    let cookies = secure.headers("set-cookie");
    assert_eq!(
        attributes(&cookies, "__Host-meridian_seen"),
        [
            "Path=/",
            "Max-Age=120",
            "Secure",
            "HttpOnly",
            "SameSite=Lax"
        ]
    );
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-i", "-d", "x", "-H"])
        .arg(format!("Host: {HOST}"))
        .arg(format!("http://{}/", edge.address("http")));
    let said = String::from_utf8(run(&mut curl).stdout).unwrap();
    let cookies: Vec<&str> = said
        .lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"))
        .map(|(_, value)| value)
        .collect();
    assert_eq!(
        attributes(&cookies, "meridian_seen"),
        ["Path=/", "Max-Age=120", "HttpOnly", "SameSite=Lax"]
    );
}

#[test]
fn scripts_of_other_sites_may_read_the_token_wherever_it_is_sent_and_what_the_origin_lets_them() {
    let origin = origin();
    let edge = edge(&origin, SECRET);
    let exposed = |answer: &Answer| {
        let values = answer.headers("access-control-expose-headers").join(", ");
        let mut names: Vec<_> = values.split(", ").map(str::to_ascii_lowercase).collect();
        names.sort();
        names
    };
    assert_eq!(exposed(&write(&edge)), ["meridian-token", "x-total"]);
    assert_eq!(exposed(&edge.curl(HOST, "/", &[])), ["x-total"]);
    let cookie = write(&edge).cookie("__Host-meridian_seen");
    let by_cookie = edge.curl(HOST, "/", &["-d", "x", "-b", &cookie]);
    assert!(by_cookie.headers("meridian-token").is_empty());
    assert_eq!(exposed(&by_cookie), ["x-total"]);
}

#[test]
fn an_answer_with_a_write_in_it_is_kept_by_no_shared_cache_whatever_its_origin_says() {
    let origin = Origin::start("here");
    origin.set_answer(|_| {
        let answer = Response::builder()
            .header("Meridian-Committed", "5")
            .header("Cache-Control", "public, max-age=60")
            .header("CDN-Cache-Control", "max-age=600");
        answer.body(Body::from("here")).unwrap()
    });
    let edge = edge(&origin, SECRET);
    let read = edge.curl(HOST, "/", &[]);
    assert_eq!(read.headers("meridian-token").len(), 1, "{}", read.head);
    assert_eq!(read.header("cache-control"), "max-age=60, private");
    assert!(
        read.headers("cdn-cache-control").is_empty(),
        "{}",
        read.head
    );
}

#[test]
fn a_token_holds_on_every_edge_with_the_same_keys_and_on_no_other() {
    let origin = origin();
    let [first, second] = [(); 2].map(|()| edge(&origin, SECRET));
    let stranger = edge(&origin, "fedcba9876543210");
    let write = write(&first);
    let token = format!("Meridian-Token: {}", write.header("meridian-token"));
    let cookie = write.cookie("__Host-meridian_seen");
    for carried in [["-H", &token], ["-b", &cookie]] {
        let read = second.curl(HOST, "/", &carried);
        assert_eq!(read.header("meridian-consistency"), "fresh");
        let seen = origin.seen();
        let required = seen.last().unwrap().header("meridian-require").to_owned();
        assert_eq!(required, "here=5");
        let elsewhere = stranger.curl(HOST, "/", &carried);
        assert!(elsewhere.headers("meridian-consistency").is_empty());
    }
    assert_eq!(second.counted("meridian_token_rejected_total", &[]), 0);
    assert_eq!(stranger.counted("meridian_token_rejected_total", &[]), 2);
}
