//! Nothing that strangers send makes a series of metrics: whatever paths, methods, hosts, names, tokens and regions
//! they think of, what `/metrics` tells is bounded by the configuration.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::collections::{BTreeSet, HashSet};
use std::net::{Ipv4Addr, SocketAddr};

use axum::body::Body;
use axum::response::Response;
use fastrand::Rng;
use support::{DnsClient, Edge, Origin, connect, query, read_head, say, subnet, wait_until};

const REGIONS: [&str; 3] = ["north", "east", "south"];
const SERVICES: [&str; 4] = ["www", "shop", "mail", "bank"];

/// What of each kind strangers send in one round.
const EACH: usize = 150;

fn edge(origins: &[Origin]) -> Edge {
    let regions: Vec<String> = REGIONS
        .iter()
        .zip(origins)
        .map(|(name, origin)| {
            let url = origin.url();
            format!("  {name}: {{ location: [50, 8], addresses: [192.0.2.1], origins: ['{url}'] }}")
        })
        .collect();
    let services: Vec<String> = SERVICES
        .iter()
        .map(|name| format!("  {name}: {{ hosts: [{name}.example.com, '*.{name}.example.com'], consistency: {{ read_your_writes: true, domain: orders, wait: 0s }} }}"))
        .collect();
    Edge::start(&format!(
        "listen: {{ dns: ['127.0.0.1:0'], https: ['127.0.0.1:0'], http: ['127.0.0.1:0'], http_mode: serve, admin: '127.0.0.1:0' }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions:\n{}\nservices:\n{}\nzones: {{ example.com: {{ nameservers: {{ ns1: [192.0.2.53] }} }} }}
",
        regions.join("\n"),
        services.join("\n"),
    ))
}

/// A word that nobody has thought of.
fn word(random: &mut Rng) -> String {
    (0..random.usize(4..20))
        .map(|_| random.lowercase())
        .collect()
}

/// What an origin says that has gone mad, and in passing a little of everything that is counted.
fn mad(seen: &support::Seen) -> Response<Body> {
    let mut random = Rng::with_seed(seen.uri.bytes().map(u64::from).sum());
    let stranger = word(&mut random);
    let status = *random
        .choice([200, 204, 299, 404, 418, 451, 500, 503, 599].iter())
        .unwrap();
    Response::builder()
        .status(status)
        .header("Meridian-Applied", format!("{stranger}=12,north=x"))
        .header(
            "Meridian-Committed",
            format!("{stranger}={}", random.u64(..)),
        )
        .body(Body::from(stranger))
        .unwrap()
}

/// One request on a connection of its own; whatever comes of it.
fn request(http: SocketAddr, text: &str) {
    let mut stream = connect(http);
    say(&mut stream, text);
    read_head(&mut stream);
}

fn strangers_over_http(edge: &Edge, random: &mut Rng) {
    let http = edge.address("http");
    for number in 0..EACH {
        let (path, host, method) = (word(random), word(random), word(random).to_uppercase());
        let service = SERVICES[number % SERVICES.len()];
        let ours = format!("{host}.{service}.example.com");
        let (host, method) = match number % 3 {
            0 => (host, "GET".to_owned()),
            1 => (ours, method),
            _ => (ours, "GET".to_owned()),
        };
        let token = word(random);
        request(
            http,
            &format!(
                "{method} /{path}?{token} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {token}\r\nX-Forwarded-For: {token}\r\n\
                 Meridian-Token: {token}\r\nMeridian-Region: {token}\r\nCookie: meridian_seen={token}\r\nConnection: close\r\n\r\n",
            ),
        );
        request(http, &format!("{path} {token}\r\n\r\n"));
    }
}

fn strangers_over_dns(edge: &Edge, random: &mut Rng) {
    let dns = DnsClient::of(edge.address("dns"));
    for number in 0..EACH {
        let (name, service) = (word(random), SERVICES[number % SERVICES.len()]);
        let network = subnet(Ipv4Addr::from_bits(random.u32(..) & 0xffff_ff00).into(), 24);
        for name in [
            format!("{name}.{service}.example.com"),
            format!("{name}.example.com"),
            format!("{name}.{service}.invalid"),
        ] {
            dns.ask(query(&name, random.u16(1..250), &network));
        }
        let mut odd = query("www.example.com", 1, &[]);
        odd[2] |= random.u8(1..16) << 3;
        dns.ask(odd);
    }
}

fn strangers_at_the_admin(edge: &Edge, random: &mut Rng) {
    for _ in 0..EACH / 10 {
        let name = word(random);
        for (method, path, body) in [
            (
                "PUT",
                format!("/api/v1/positions/{name}"),
                r#"{"applied":{"north":"1"}}"#.to_owned(),
            ),
            (
                "PUT",
                "/api/v1/positions/north".to_owned(),
                format!(r#"{{"applied":{{"{name}":"1"}}}}"#),
            ),
            (
                "PUT",
                "/api/v1/positions/north".to_owned(),
                format!(r#"{{"domain":"{name}","applied":{{}}}}"#),
            ),
            ("PUT", format!("/api/v1/drains/{name}"), String::new()),
            (
                "PUT",
                "/api/v1/drains/north".to_owned(),
                format!(r#"{{"service":"{name}"}}"#),
            ),
            (
                "GET",
                format!("/api/v1/explain?name={name}.example.com&client=192.0.2.1"),
                String::new(),
            ),
            ("GET", format!("/{name}"), String::new()),
        ] {
            let (code, told) = edge.admin(method, &path, &body);
            assert!(code >= 400, "{method} {path} {body}: {told}");
        }
    }
}

/// Each series of `/metrics`, without its value.
fn series(edge: &Edge) -> BTreeSet<String> {
    let (_, text) = edge.admin("GET", "/metrics", "");
    let lines = text.as_str().unwrap().lines();
    let told = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    told.map(|line| line.rsplit_once(' ').unwrap().0.to_owned())
        .collect()
}

/// Words that stand in the documentation's table of metrics as values of labels.
fn documented() -> HashSet<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let page = std::fs::read_to_string(page).unwrap();
    page.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The names and values of a series' labels.
fn labels(series: &str) -> Vec<(&str, &str)> {
    let inside = series
        .split_once('{')
        .map_or("", |(_, rest)| rest.trim_end_matches('}'));
    let pair = |label| -> (&str, &str) {
        let (name, value): (&str, &str) = str::split_once(label, '=').unwrap();
        (name, value.trim_matches('"'))
    };
    inside
        .split(',')
        .filter(|label| !label.is_empty())
        .map(pair)
        .collect()
}

fn is_expected((name, value): (&str, &str), documented: &HashSet<String>) -> bool {
    match name {
        "service" => SERVICES.contains(&value),
        "region" | "writer" => REGIONS.contains(&value),
        "domain" => value == "orders",
        "le" => value == "+Inf" || value.parse::<f64>().is_ok(),
        "version" => value == env!("CARGO_PKG_VERSION"),
        _ => documented.contains(value),
    }
}

#[test]
fn strangers_make_no_series_of_metrics() {
    let origins = REGIONS.map(Origin::start);
    let edge = edge(&origins);
    let healthy = || edge.counted("meridian_region_healthy", &[]) == 12;
    assert!(wait_until(healthy), "{}", edge.process.said());
    for origin in &origins {
        origin.set_answer(mad);
    }
    let mut random = Rng::with_seed(6);
    let mut round = || {
        strangers_over_http(&edge, &mut random);
        strangers_over_dns(&edge, &mut random);
        strangers_at_the_admin(&edge, &mut random);
        series(&edge)
    };
    let (first, second) = (round(), round());
    // Some kinds of what the edge itself does may be counted for the first time; there are few of them.
    let new: Vec<_> = second.difference(&first).collect();
    assert!(new.len() < EACH / 3, "{new:?}");
    let documented = documented();
    for series in &second {
        for label in labels(series) {
            assert!(is_expected(label, &documented), "{label:?} of {series}");
        }
    }
    // Of what strangers do all kinds were counted, or the round proves little.
    let counted = |name: &str, labels: &[&str]| edge.counted(name, labels) > 0;
    for (name, label) in [
        ("meridian_http_problems_total", "problem=\"unknown-host\""),
        ("meridian_http_problems_total", "problem=\"malformed\""),
        ("meridian_token_rejected_total", "reason=\"malformed\""),
        ("meridian_position_rejected_total", "source=\"answer\""),
        ("meridian_position_rejected_total", "source=\"committed\""),
        ("meridian_position_rejected_total", "source=\"push\""),
        ("meridian_dns_responses_total", "rcode=\"refused\""),
        ("meridian_dns_responses_total", "rcode=\"nxdomain\""),
        ("meridian_dns_responses_total", "rcode=\"notimp\""),
        ("meridian_http_responses_total", "class=\"4xx\""),
        ("meridian_http_responses_total", "class=\"5xx\""),
    ] {
        assert!(counted(name, &[label]), "{name} {label}");
    }
}

#[test]
fn what_a_reload_takes_away_is_told_no_more_and_counts_on_if_it_comes_back() {
    let origin = Origin::start("o");
    let yaml = |name: &str| {
        format!(
            "listen: {{ dns: ['127.0.0.1:0'], http: ['127.0.0.1:0'], http_mode: serve, admin: '127.0.0.1:0' }}
regions:
  {name}-region: {{ location: [50, 8], addresses: [192.0.2.1], origins: ['{}'] }}
services:
  {name}: {{ hosts: [www.example.com], consistency: {{ read_your_writes: true, domain: {name}-data }} }}
zones: {{ example.com: {{ nameservers: {{ ns1: [192.0.2.53] }} }} }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
",
            origin.url()
        )
    };
    let edge = Edge::start(&yaml("first"));
    let visit = || {
        request(
            edge.address("http"),
            "GET / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n",
        )
    };
    let of_first =
        |series: &BTreeSet<String>| series.iter().filter(|one| one.contains("\"first")).count();
    visit();
    assert!(wait_until(|| of_first(&series(&edge)) > 5));
    let before = series(&edge).len();
    for number in 0..10 {
        edge.write(&yaml(&format!("other{number}")));
        let now = format!("\"other{number}\"");
        assert!(wait_until(|| series(&edge)
            .iter()
            .any(|one| one.contains(&now))));
        visit();
    }
    let after = series(&edge);
    assert_eq!(of_first(&after), 0, "{after:?}");
    assert!(after.len() <= before + 5, "{before} {}", after.len());
    edge.write(&yaml("first"));
    assert!(wait_until(|| of_first(&series(&edge)) > 5));
}

#[test]
fn a_region_that_a_reload_takes_from_one_service_is_told_of_the_others_alone() {
    let origin = Origin::start("o");
    let yaml = |regions: &str| {
        format!(
            "listen: {{ admin: '127.0.0.1:0' }}
regions:
  near: {{ origins: ['{0}'] }}
  far: {{ origins: ['{0}'] }}
services:
  www: {{ hosts: [www.example.com], regions: [{regions}] }}
  api: {{ hosts: [api.example.com] }}
",
            origin.url()
        )
    };
    let edge = Edge::start(&yaml("near, far"));
    let healthy =
        |service: &str| format!("meridian_region_healthy{{service=\"{service}\",region=\"far\"}}");
    assert!(wait_until(|| series(&edge).contains(&healthy("www"))));
    edge.write(&yaml("near"));
    assert!(wait_until(|| !series(&edge).contains(&healthy("www"))));
    assert!(series(&edge).contains(&healthy("api")));
}
