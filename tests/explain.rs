//! What `explain` tells of a decision, offline and live.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use serde_json::{Value, json};
use support::{Edge, Origin, meridian, run};

fn yaml(policy: &str, origin: &Origin) -> String {
    let origin = origin.url();
    format!(
        "node: {{ location: [50.11, 8.68] }}
listen: {{ dns: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
regions:
  near: {{ location: [50, 8], addresses: [192.0.2.1], weight: 300, origins: ['{origin}'] }}
  far: {{ location: [39, -77], addresses: [192.0.2.2, '2001:db8::2'], origins: ['{origin}'] }}
services:
  www:
    hosts: [www.example.com, www.other.test]
    steering: {{ policy: {policy}, when_none_healthy: none }}
    consistency: {{ read_your_writes: true }}
zones: {{ example.com: {{ nameservers: {{ ns1: [192.0.2.53] }} }} }}
"
    )
}

fn get(edge: &Edge, question: &str) -> (u16, Value) {
    edge.admin("GET", &format!("/api/v1/explain?{question}"), "")
}

#[test]
fn explain_gives_every_region_a_reason_and_names_what_is_wrong_with_a_question() {
    let origin = Origin::start("any");
    let edge = Edge::start(&yaml("priority", &origin));
    let (code, told) = get(&edge, "name=www.example.com&client=193.0.6.0/24");
    assert_eq!((code, &told["decision"]), (200, &json!(["near", "far"])));
    let steps = told["steps"].as_array().unwrap();
    for step in steps {
        assert!(
            step["kept"].is_boolean() && step["rule"].is_string(),
            "{step}"
        );
        assert!(!step["reason"].as_str().unwrap().is_empty(), "{step}");
    }
    let http = get(&edge, "name=www.example.com&client=193.0.6.1&method=GET").1;
    assert_eq!(http["decision"], json!(["near", "far"]));
    for (query, expected) in [
        ("name=nobody.example&client=193.0.6.1", 404),
        ("name=b%C3%BCcher.example.com&client=193.0.6.1", 400),
        ("name=www.example.com&client=nonsense", 400),
        ("name=www.example.com", 400),
        ("name=www.example.com&client=193.0.6.1&type=MX", 400),
        ("name=www.example.com&client=193.0.6.1&tpye=AAAA", 400),
        ("name=www.example.com&client=193.0.6.1&client=::1", 400),
        ("name=www.example.com&client=193.0.6.1&token=nonsense", 400),
    ] {
        let (code, told) = get(&edge, query);
        assert_eq!(code, expected, "{query}: {told}");
        assert!(!told["error"].as_str().unwrap().is_empty());
    }
}

#[test]
fn explain_says_offline_what_it_says_live() {
    let origin = Origin::start("any");
    let edge = Edge::start(&yaml("priority", &origin));
    let question = [
        "explain",
        "www.example.com",
        "--client",
        "203.178.141.1",
        "--json",
    ];
    let url = format!("http://{}", edge.address("admin"));
    let config = edge.folder.path().to_str().unwrap();
    let decision = |more: [&str; 2]| {
        let output = run(meridian().args(question).args(more));
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        (
            told["decision"].clone(),
            told["steps"].as_array().map(Vec::len),
        )
    };
    let (live, offline) = (decision(["--admin", &url]), decision(["--config", config]));
    assert_eq!(live, offline);
    assert_eq!(live.0, json!(["near", "far"]));
}

#[test]
fn explain_knows_every_name_that_dns_steers() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("edge.yaml");
    let yaml = yaml("priority", &Origin::start("any")).replace(
        "nameservers: { ns1: [192.0.2.53] } } }",
        "nameservers: { ns1: [192.0.2.53] }, records: { '@': { service: www }, '*.any': { service: www }, alias: { CNAME: '@' }, plain: { A: 192.0.2.9 } } } }",
    );
    std::fs::write(&file, yaml).unwrap();
    for (name, expected) in [
        ("example.com", 0),
        ("Alias.Example.com.", 0),
        ("x.any.example.com", 0),
        ("plain.example.com", 1),
    ] {
        let output = meridian()
            .args(["explain", name, "--client", "193.0.6.1", "--config"])
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(expected), "{name}: {said}");
    }
}

#[test]
fn of_https_records_it_tells_the_regions_given_by_name_that_they_lead_to() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("edge.yaml");
    let yaml = "
regions:
  first: { addresses: [lb.first.test] }
  own: { addresses: [192.0.2.1] }
  last: { addresses: [lb.last.test] }
services: { www: { hosts: [www.example.com], regions: [ORDER], steering: { policy: priority } } }
zones: { example.com: { nameservers: { ns1: [192.0.2.53] } } }
";
    for (order, rtype, expected) in [
        ("own, last", "HTTPS", json!(["own", "last"])),
        ("own, last", "A", json!(["own"])),
        ("first, own, last", "HTTPS", json!(["first", "own", "last"])),
    ] {
        std::fs::write(&file, yaml.replace("ORDER", order)).unwrap();
        let asked = [
            "explain",
            "www.example.com",
            "--client",
            "193.0.6.1",
            "--json",
        ];
        let output = run(meridian()
            .args(asked)
            .args(["--type", rtype, "--config"])
            .arg(&file));
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(told["decision"], expected, "{order} {rtype}");
    }
}

#[test]
fn what_is_more_than_a_host_name_is_told_what_it_should_be() {
    for (name, expected) in [
        ("www.example.com:443", "such as www.example.com;"),
        (
            "https://api.example.net/cart?x=1",
            "such as api.example.net;",
        ),
        ("[2001:db8::1]", "such as www.example.com;"),
    ] {
        let asked = ["explain", "--client", "192.0.2.1", name];
        let output = meridian().args(asked).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(expected), "{name}: {told}");
    }
}

#[test]
fn of_a_weighted_service_it_tells_how_often_each_region_is_first() {
    let origin = Origin::start("any");
    let edge = Edge::start(&yaml("weighted", &origin));
    let url = format!("http://{}", edge.address("admin"));
    let chances = |question: &str| {
        let question = format!("name=www.example.com&client=193.0.6.1{question}");
        sorted(&get(&edge, &question).1)
    };
    let both = json!([{ "region": "far", "share": 0.25 }, { "region": "near", "share": 0.75 }]);
    assert_eq!(chances(""), both);
    assert_eq!(chances("&method=GET"), both);
    let only_far = json!([{ "region": "far", "share": 1.0 }]);
    assert_eq!(chances("&type=AAAA"), only_far);
    let countries = edge.admin("GET", "/api/v1/countries?name=www.example.com", "");
    let mut countries = countries.1["countries"].as_array().unwrap().iter();
    let japan = countries.find(|entry| entry["country"] == "JP").unwrap();
    assert_eq!(sorted(japan), both);
    let config = edge.folder.path().to_str().unwrap().to_owned();
    for more in [["--admin", &url], ["--config", &config]] {
        let said = told(&more);
        let line = said.lines().find(|line| line.starts_with("chances"));
        let line = line.unwrap_or(&said);
        assert!(line.contains("near 75.0 %") && line.contains("far 25.0 %"));
        assert!(line.ends_with(": each query is drawn anew, and the decision above is one draw"));
    }
}

/// The chances by region.
fn sorted(told: &Value) -> Value {
    let mut chances = told["chances"].as_array().unwrap().clone();
    chances.sort_by_key(|chance| chance["region"].to_string());
    chances.into()
}

/// What the command says.
fn told(more: &[&str]) -> String {
    let words = ["explain", "www.example.com", "--client", "203.178.141.1"];
    let output = run(meridian().args(words).args(more));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn of_a_host_that_no_zone_has_it_says_that_dns_refuses_it() {
    let origin = Origin::start("any");
    let edge = Edge::start(&yaml("priority", &origin));
    let why = json!("no zone of this edge has the name: DNS refuses it");
    assert!(edge.kdig("www.other.test A").contains("status: REFUSED"));
    let asked = |more: &str| {
        get(
            &edge,
            &format!("name=www.other.test&client=193.0.6.1{more}"),
        )
        .1
    };
    assert_eq!(asked("")["not_in_dns"], why);
    assert_eq!(asked("&method=GET")["not_in_dns"], Value::Null);
    let countries = edge.admin("GET", "/api/v1/countries?name=www.other.test", "");
    assert_eq!(countries.1["not_in_dns"], why);
    let url = format!("http://{}", edge.address("admin"));
    let words = ["explain", "www.other.test", "--client", "193.0.6.1"];
    let output = run(meridian().args(words).args(["--admin", &url]));
    let said = String::from_utf8(output.stdout).unwrap();
    let line = format!("but      {}", why.as_str().unwrap());
    assert!(said.lines().any(|told| told == line), "{said}");
}

#[test]
fn a_decision_without_regions_is_nobodys() {
    let origin = Origin::start("any");
    let edge = Edge::start(&yaml("priority", &origin));
    for region in ["near", "far"] {
        let body = "{\"state\":\"down\",\"force\":true}";
        let forced = edge.admin("PUT", &format!("/api/v1/forced/{region}"), body);
        assert_eq!(forced.0, 200, "{}", forced.1);
    }
    let said = told(&["--admin", &format!("http://{}", edge.address("admin"))]);
    let decision = "decision nobody (dns, refused: no region is able to answer)";
    assert!(said.contains(decision), "{said}");
    assert!(said.contains("client   JP ("), "{said}");
    // The one region with an address of IPv6 is out.
    assert_eq!(edge.admin("DELETE", "/api/v1/forced/near", "").0, 200);
    let told = get(&edge, "name=www.example.com&client=193.0.6.1&type=AAAA").1;
    assert_eq!(told["decision"], json!([]));
    let verdict = "steered, but no region that is able has an address of this type";
    assert_eq!(told["verdict"], verdict);
    assert!(said.contains("ttl      "), "{said}");
}
