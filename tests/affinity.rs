//! What keeps a client on its region: the sealed cookie, a header, its address; drains, lost regions and caches.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use support::{Edge, Origin, wait_until};

const COOKIE: &str = "__Host-meridian_region_api";

struct Pair {
    edge: Edge,
    near: Origin,
    far: Origin,
}

/// Two regions, `near` first, and two services with this affinity.
fn pair(affinity: &str) -> Pair {
    pair_with(affinity, "off", "{}")
}

/// The same with this passive health and these retries.
fn pair_with(affinity: &str, passive: &str, retries: &str) -> Pair {
    let (near, far) = (Origin::start("near"), Origin::start("far"));
    let health = format!(
        "{{ interval: 500ms, recheck_interval: 50ms, timeout: 400ms, passive: {passive} }}"
    );
    let edge = Edge::start(&format!(
        "listen: {{ https: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions:
  near: {{ origins: ['{}'] }}
  far: {{ origins: ['{}'] }}
services:
  api: {{ hosts: ['*.example.com'], steering: {{ policy: priority }}, affinity: {affinity}, health: {health}, retries: {retries} }}
  web: {{ hosts: ['*.example.org'], steering: {{ policy: priority }}, affinity: {affinity}, health: {health} }}
",
        near.url(),
        far.url()
    ));
    Pair { edge, near, far }
}

impl Pair {
    fn region(&self, arguments: &[&str]) -> String {
        self.edge.curl("a.example.com", "/", arguments).body
    }

    /// A new cookie, of the region that serves now.
    fn cookie(&self) -> String {
        self.edge.curl("a.example.com", "/", &[]).cookie(COOKIE)
    }

    fn drain(&self, region: &str) {
        let path = format!("/api/v1/drains/{region}");
        assert_eq!(self.edge.admin("PUT", &path, "").0, 200);
    }

    fn undrain(&self, region: &str) {
        let path = format!("/api/v1/drains/{region}");
        assert_eq!(self.edge.admin("DELETE", &path, "").0, 200);
    }
}

#[test]
fn a_cookie_is_good_for_its_own_host_and_service_alone() {
    let pair = pair("{ by: cookie }");
    pair.drain("near");
    let value = pair.cookie().split_once('=').unwrap().1.to_owned();
    pair.undrain("near");
    let api = format!("{COOKIE}={value}");
    assert_eq!(pair.region(&["-b", &api]), "far");
    let other_host = pair.edge.curl("b.example.com", "/", &["-b", &api]);
    assert_eq!(other_host.body, "near");
    let web = format!("__Host-meridian_region_web={value}");
    let other_service = pair.edge.curl("a.example.org", "/", &["-b", &web]);
    assert_eq!(other_service.body, "near");
}

#[test]
fn what_a_cookie_says_can_be_neither_read_nor_written() {
    use base64::Engine;
    let pair = pair("{ by: cookie }");
    let cookie = pair.cookie();
    let value = cookie.split_once('=').unwrap().1;
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let sealed = engine.decode(value).unwrap();
    assert!(!sealed.windows(4).any(|bytes| bytes == b"near"));
    assert_ne!(pair.cookie(), cookie, "no two are alike");
    pair.drain("near");
    assert_eq!(pair.region(&["-b", &cookie]), "near");
    for byte in 0..sealed.len() {
        let mut forged = sealed.clone();
        forged[byte] ^= 1;
        let forged = format!("{COOKIE}={}", engine.encode(forged));
        assert_eq!(pair.region(&["-b", &forged]), "far", "byte {byte}");
    }
}

#[test]
fn a_cookie_expires_by_what_is_sealed_in_it_whatever_the_client_does() {
    let pair = pair("{ by: cookie, ttl: 2s }");
    let cookie = pair.cookie();
    pair.drain("near");
    assert_eq!(pair.region(&["-b", &cookie]), "near");
    assert!(wait_until(|| pair.region(&["-b", &cookie]) == "far"));
}

#[test]
fn every_kind_keeps_its_clients_through_a_drain_and_new_ones_go_elsewhere() {
    let header = |tenant: &str| vec!["-H".to_owned(), format!("X-Tenant: {tenant}")];
    let address = |address: &str| vec!["--interface".to_owned(), address.to_owned()];
    let kinds = [
        ("{ header: X-Tenant }", header("acme"), header("globex")),
        ("client_ip", address("127.0.0.2"), address("127.0.0.3")),
    ];
    for (by, known, new) in kinds {
        let pair = pair(&format!("{{ by: {by} }}"));
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let new: Vec<&str> = new.iter().map(String::as_str).collect();
        assert_eq!(pair.region(&known), "near");
        pair.drain("near");
        assert_eq!(pair.region(&known), "near", "{by}");
        assert_eq!(pair.region(&new), "far", "{by}");
        let elsewhere = pair.edge.curl("a.example.org", "/", &known);
        assert_eq!(elsewhere.body, "far", "{by}: of another service");
        pair.undrain("near");
        assert_eq!(pair.region(&new), "far", "{by}: used to it by now");
        assert!(
            pair.edge
                .curl("a.example.com", "/", &new)
                .headers("set-cookie")
                .is_empty()
        );
    }
}

#[test]
fn when_the_drain_time_has_passed_every_kind_finds_a_new_home_and_stays() {
    for by in ["cookie", "{ header: X-Tenant }", "client_ip"] {
        let pair = pair(&format!("{{ by: {by}, drain: 1s }}"));
        let jar = pair.edge.folder.path().join("jar");
        let jar = jar.to_str().unwrap();
        let client = ["-b", jar, "-c", jar, "-H", "X-Tenant: acme"];
        assert_eq!(pair.region(&client), "near");
        pair.drain("near");
        assert!(wait_until(|| pair.region(&client) == "far"), "{by}");
        pair.undrain("near");
        assert_eq!(
            pair.region(&["-H", "X-Tenant: new", "--interface", "127.0.0.9"]),
            "near"
        );
        assert_eq!(pair.region(&client), "far", "{by}");
    }
}

/// Whether the edge takes every region for able.
fn is_healthy(edge: &Edge) -> bool {
    let status = edge.admin("GET", "/api/v1/status", "").1;
    let regions = status["regions"].as_array().unwrap();
    regions.iter().all(|region| region["state"] == "healthy")
}

#[test]
fn when_its_region_dies_a_client_finds_a_new_home_and_stays() {
    for by in ["cookie", "{ header: X-Tenant }", "client_ip"] {
        let mut pair = pair(&format!("{{ by: {by} }}"));
        let jar = pair.edge.folder.path().join("jar");
        let jar = jar.to_str().unwrap();
        let client = ["-b", jar, "-c", jar, "-H", "X-Tenant: acme"];
        assert_eq!(pair.region(&client), "near");
        let address = pair.near.address;
        pair.near.stop();
        assert_eq!(pair.region(&client), "far", "{by}: within the request");
        pair.near = Origin::start_on("near", address);
        let new = ["-H", "X-Tenant: new", "--interface", "127.0.0.9"];
        assert!(wait_until(|| is_healthy(&pair.edge)));
        assert_eq!(pair.region(&new), "near", "{by}: a new client");
        assert_eq!(pair.region(&client), "far", "{by}: it stays");
        pair.far.stop();
        assert_eq!(pair.region(&client), "near", "{by}: and moves again");
    }
}

/// Answers with this status from now on.
fn set_status(origin: &Origin, name: &'static str, status: u16) {
    origin.set_answer(move |_| {
        let builder = Response::builder().status(status);
        builder.body(Body::from(name)).unwrap()
    });
}

#[test]
fn a_region_that_fails_or_is_slow_this_once_keeps_its_clients() {
    let retries = "{ on_status: [503], hedge_after: 300ms }";
    for by in ["cookie", "{ header: X-Tenant }", "client_ip"] {
        let pair = pair_with(&format!("{{ by: {by} }}"), "off", retries);
        let jar = pair.edge.folder.path().join("jar");
        let jar = jar.to_str().unwrap();
        let client = ["-b", jar, "-c", jar, "-H", "X-Tenant: acme"];
        assert_eq!(pair.region(&client), "near");
        set_status(&pair.near, "near is busy", 503);
        assert_eq!(pair.region(&client), "far", "{by}: bettered");
        set_status(&pair.far, "far is busy", 503);
        assert_eq!(pair.region(&client), "far is busy", "{by}");
        set_status(&pair.near, "near", 200);
        pair.near.set_pause(Duration::from_secs(2));
        set_status(&pair.far, "far", 200);
        assert_eq!(pair.region(&client), "far", "{by}: hedged");
        pair.near.set_pause(Duration::ZERO);
        assert_eq!(pair.region(&client), "near", "{by}: at home again");
    }
}

#[test]
fn a_new_client_of_regions_that_all_fail_finds_its_home_later() {
    let pair = pair_with("{ by: cookie }", "off", "{ on_status: [503] }");
    for (origin, name) in [(&pair.near, "near"), (&pair.far, "far")] {
        set_status(origin, name, 503);
    }
    let answer = pair.edge.curl("a.example.com", "/", &[]);
    assert_eq!(answer.status, 503);
    assert!(answer.headers("set-cookie").is_empty(), "{}", answer.head);
    set_status(&pair.far, "far", 200);
    let cookie = pair.cookie();
    set_status(&pair.near, "near", 200);
    assert_eq!(pair.region(&["-b", &cookie]), "far");
}

#[test]
fn an_ejected_region_s_clients_find_a_new_home_and_stay() {
    let passive = "{ consecutive_failures: 3, ejection: 1s }";
    let pair = pair_with("{ by: cookie }", passive, "{ on_status: [503] }");
    let jar = pair.edge.folder.path().join("jar");
    let client = ["-b", jar.to_str().unwrap(), "-c", jar.to_str().unwrap()];
    assert_eq!(pair.region(&client), "near");
    set_status(&pair.near, "near is busy", 503);
    let ejections = || {
        assert_eq!(pair.region(&client), "far");
        pair.edge
            .counted("meridian_ejections_total", &["region=\"near\""])
    };
    assert!(wait_until(|| ejections() == 1));
    assert_eq!(pair.region(&client), "far", "its home for now");
    set_status(&pair.near, "near", 200);
    assert!(wait_until(|| pair.region(&[]) == "near"), "let back in");
    assert_eq!(pair.region(&client), "far", "it stays");
}

#[test]
fn no_cookie_is_set_on_what_a_shared_cache_may_keep() {
    let pair = pair("{ by: cookie }");
    let answer = |control: &'static str, arguments: &[&str]| {
        pair.near.set_answer(move |_| {
            let mut response = Response::new(Body::from("near"));
            if !control.is_empty() {
                let headers = response.headers_mut();
                headers.insert("cache-control", control.parse().unwrap());
            }
            response
        });
        let answer = pair.edge.curl("a.example.com", "/", arguments);
        let is_set = !answer.headers("set-cookie").is_empty();
        (is_set, answer.headers("cache-control").join(", "))
    };
    for control in ["public", "max-age=60", "s-maxage=60, max-age=0"] {
        assert_eq!(answer(control, &[]), (false, control.to_owned()));
    }
    for control in ["private, max-age=60", "no-store"] {
        assert_eq!(answer(control, &[]), (true, control.to_owned()));
    }
    assert_eq!(answer("", &[]), (true, "private".to_owned()));
    assert_eq!(
        answer("no-cache", &[]),
        (true, "private, no-cache".to_owned())
    );
    assert_eq!(answer("", &["-d", "x"]), (true, String::new()));
    let with_credentials = ["-H", "Authorization: Bearer x"];
    assert_eq!(
        answer("max-age=60", &with_credentials),
        (true, "max-age=60".to_owned())
    );
    assert_eq!(
        answer("public, max-age=60", &with_credentials),
        (false, "public, max-age=60".to_owned())
    );
}

#[test]
fn what_needs_no_new_cookie_keeps_what_its_origin_says_of_caches() {
    let pair = pair("{ by: cookie }");
    let cookie = pair.cookie();
    let answer = pair.edge.curl("a.example.com", "/", &["-b", &cookie]);
    assert!(answer.headers("set-cookie").is_empty());
    assert!(answer.headers("cache-control").is_empty());
}
