//! The beacon in a real browser: pages that include it measure two regions, and the edge goes by that.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::path::Path;
use std::process::Command;

use http::Response;
use support::{Edge, Origin, run, wait_until};

/// What a strict page must allow, and no more.
const ALLOWS: &str = "default-src 'none'; script-src https://www.example.com; \
     connect-src https://www.example.com https://near.example.com https://far.example.com";

const FORBIDS: &str = "default-src 'none'; script-src https://www.example.com";

const PAGE: &str = "<!doctype html><title>shop</title>\
     <script src=\"https://www.example.com/.well-known/meridian/beacon.js\" async></script>";

/// What tag managers do: the script comes once all else is there.
const LATE_PAGE: &str =
    "<!doctype html><title>shop</title><script src=\"https://www.example.com/tag.js\"></script>";

const TAG: &str = "addEventListener('load', () => setTimeout(() => {
    const script = document.createElement('script');
    script.src = 'https://www.example.com/.well-known/meridian/beacon.js';
    document.head.append(script);
}));";

/// Serves the page, and the probes as any server would: it knows nothing of the beacon.
fn shop() -> Origin {
    let origin = Origin::start("shop");
    origin.set_answer(|seen| {
        let policy = match seen.uri.as_str() {
            "/forbidden" => FORBIDS,
            _ => ALLOWS,
        };
        let page = match seen.uri.as_str() {
            "/late" => LATE_PAGE,
            "/tag.js" => TAG,
            _ => PAGE,
        };
        Response::builder()
            .header("content-type", "text/html")
            .header("content-security-policy", policy)
            .header("set-cookie", "session=1; Secure; SameSite=None")
            .body(page.into())
            .unwrap()
    });
    origin
}

fn edge(origin: &Origin) -> Edge {
    Edge::start(&format!(
        "listen: {{ https: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
latency:
  min_samples: 1
  quorum: 1
  beacon: {{ sample: 100%, probes: {{ near: 'https://near.example.com/ping', far: 'https://far.example.com/ping' }} }}
regions:
  near: {{ addresses: [192.0.2.1], origins: ['{origin}'] }}
  far: {{ addresses: [192.0.2.2], origins: ['{origin}'] }}
services: {{ www: {{ hosts: ['*.example.com', '*.example.net'], health: {{ path: / }} }} }}
",
        origin = origin.url()
    ))
}

#[test]
fn a_browser_measures_two_regions_on_pages_of_any_origin_that_allow_it_and_explain_shows_it() {
    let origin = shop();
    let edge = edge(&origin);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let interpreter = root.join("target/clients/bin/python");
    assert!(interpreter.exists(), "scripts/test.sh makes target/clients");
    let script = root.join("tests/clients/beacon.py");
    let https = edge.address("https").to_string();
    let said = run(Command::new(interpreter).arg(script).arg(https));
    assert!(
        String::from_utf8(said.stdout)
            .unwrap()
            .contains("all is well")
    );
    // Three pages asked two regions twice; the one whose policy forbids it reached nobody.
    let probes = origin.seen().into_iter().filter(|seen| seen.uri == "/ping");
    assert_eq!(probes.count(), 12);
    let counted = |result: &str| {
        let labels = ["source=\"beacon\"", result];
        edge.counted("meridian_latency_samples_total", &labels)
    };
    assert!(wait_until(|| counted("result=\"counted\"") == 2));
    // The others were the same browser's, within a minute.
    assert!(wait_until(|| counted("result=\"too_often\"") == 4));
    let explain = "/api/v1/explain?name=www.example.com&client=127.0.0.1&type=A";
    let is_shown = |region: &str| {
        let (_, told) = edge.admin("GET", explain, "");
        let mut steps = told["steps"].as_array().unwrap().iter();
        steps.any(|step| {
            let figure = &step["round_trip"];
            let is_of_it = step["region"] == region && figure["network"] == "127.0.0.0/24";
            is_of_it && figure["source"] == "beacon" && figure["samples"] == 1
        })
    };
    assert!(wait_until(|| is_shown("near") && is_shown("far")));
}
