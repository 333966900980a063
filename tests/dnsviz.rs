//! Signed zones, as DNSViz judges them: a second opinion on what validators only take or refuse.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::process::Command;

use serde_json::Value;
use support::{Edge, delegation, run, wait_until};

/// Everything that is proven in a way of its own; two delegations, of which one is signed.
const NAMES: [&str; 14] = [
    "example.com",
    "sub.example.com",
    "www.sub.example.com",
    "nobody.sub.example.com",
    "kid.example.com",
    "api.example.com",
    "tenant.api.example.com",
    "www.example.com",
    "x.wild.example.com",
    "a.old.example.com",
    "mail.example.com",
    "deep.name.example.com",
    "nobody.example.com",
    "x.mail.example.com",
];

/// A parent and its children, all served by one edge; `ds` is what the parent says of `sub`.
fn yaml(algorithm: &str, of_sub: &str, ds: &str) -> String {
    format!(
        "listen: {{ dns: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
regions:
  us-east-1: {{ addresses: [192.0.2.1, 192.0.2.2, '2001:db8:1::1'] }}
  eu-west-1: {{ addresses: [198.51.100.1, '2001:db8:2::1'] }}
services:
  api: {{ hosts: [api.example.com, '*.api.example.com', www.sub.example.com] }}
zones:
  example.com:
    nameservers: {{ ns1: [127.0.0.1] }}
    dnssec: {{ algorithm: {algorithm}, keys: keys }}
    records:
      '@': {{ MX: ['10 Mail'], TXT: ['v=spf1 -all'], service: api }}
      mail: {{ A: [192.0.2.25] }}
      Www: {{ CNAME: Api }}
      a.deep.name: {{ A: [192.0.2.9] }}
      '*.wild': {{ A: [192.0.2.7], TXT: [wild] }}
      old: {{ DNAME: deep.name }}
      kid: {{ NS: [ns1.kid] }}
      ns1.kid: {{ A: [127.0.0.1] }}
      sub: {{ NS: [ns1.sub], DS: ['{ds}'] }}
      ns1.sub: {{ A: [127.0.0.1] }}
  kid.example.com: {{ nameservers: {{ ns1: [127.0.0.1] }} }}
  sub.example.com:
    nameservers: {{ ns1: [127.0.0.1] }}
    dnssec: {{ algorithm: {of_sub}, keys: keys }}
"
    )
}

/// The DS of `sub.example.com`, as its edge prints it.
fn ds(edge: &Edge) -> String {
    let text = delegation(edge.folder.path());
    text.lines()
        .find_map(|line| line.strip_prefix("sub.example.com. IN DS "))
        .unwrap_or_else(|| panic!("no DS of sub.example.com in\n{text}"))
        .to_owned()
}

/// What DNSViz says of every name, from a probe of this edge alone.
fn judge(edge: &Edge) -> Value {
    let server = edge.address("dns");
    let probed = edge.folder.path().join("probed.json");
    let mut probe = Command::new("dnsviz");
    probe.args(["probe", "-d", "1", "-4", "-A"]);
    // The plus: nobody is asked about what lies above.
    for zone in ["example.com+", "sub.example.com", "kid.example.com"] {
        probe.args(["-x", &format!("{zone}:{server}")]);
    }
    run(probe.arg("-o").arg(&probed).args(NAMES));
    let mut grok = Command::new("dnsviz");
    // Private addresses are allowed: the servers are at loopback.
    grok.args(["grok", "-P", "-l", "info", "-r"]).arg(&probed);
    serde_json::from_slice(&run(&mut grok).stdout).unwrap()
}

/// The code of every error and warning, with where it was found.
fn findings(at: &str, judged: &Value, found: &mut Vec<String>) {
    let entries = judged.as_object().into_iter().flatten();
    for (key, value) in entries {
        if matches!(key.as_str(), "errors" | "warnings") {
            let codes = value.as_array().unwrap().iter();
            found.extend(codes.map(|finding| format!("{} at {at}", finding["code"])));
        }
        findings(&format!("{at} {key}"), value, found);
    }
    for value in judged.as_array().into_iter().flatten() {
        findings(at, value, found);
    }
}

#[track_caller]
fn check(algorithm: &str, of_sub: &str) {
    // A DS that fits no key: DNSViz must say so, or its silence later means nothing.
    let number = if of_sub == "ed25519" { 15 } else { 13 };
    let wrong = format!("4711 {number} 2 {}", "AB".repeat(32));
    let edge = Edge::start(&yaml(algorithm, of_sub, &wrong));
    let judged = judge(&edge);
    assert_eq!(judged["sub.example.com."]["delegation"]["status"], "BOGUS");

    let right = ds(&edge);
    edge.write(&yaml(algorithm, of_sub, &right));
    let tag = right.split(' ').next().unwrap();
    let is_taken_over = || edge.kdig("sub.example.com DS +short").starts_with(tag);
    assert!(wait_until(is_taken_over), "{}", edge.process.said());
    let judged = judge(&edge);
    for name in NAMES {
        let queries = judged[format!("{name}.")]["queries"].as_object();
        assert!(queries.is_some_and(|q| !q.is_empty()), "{name}: {judged:#}");
    }
    let delegation = |name: &str| judged[name]["delegation"]["status"].clone();
    assert_eq!(delegation("sub.example.com."), "SECURE");
    assert_eq!(delegation("kid.example.com."), "INSECURE");
    let mut found = Vec::new();
    findings("", &judged, &mut found);
    assert_eq!(found, [""; 0]);
}

#[test]
fn dnsviz_finds_nothing_wrong() {
    check("ecdsap256sha256", "ed25519");
}

#[test]
fn dnsviz_finds_nothing_wrong_the_other_way_round() {
    check("ed25519", "ecdsap256sha256");
}
