//! Measured latency: what files, connections and browsers say decides what DNS answers.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::fs;

use serde_json::{Value, json};
use support::{Edge, Process, meridian, run, wait_until};

const VIRGINIA: &str = "192.0.2.10";
const IRELAND: &str = "192.0.2.20";
const FRANKFURT: &str = "192.0.2.30";

/// A network in the Netherlands, which Frankfurt is nearest to.
const DUTCH: &str = "193.0.6.0/24";

fn yaml(more: &str) -> String {
    format!(
        "listen: {{ dns: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
{more}
regions:
  us-east-1: {{ addresses: [{VIRGINIA}] }}
  eu-west-1: {{ addresses: [{IRELAND}] }}
  eu-central-1: {{ addresses: [{FRANKFURT}] }}
services: {{ www: {{ hosts: [www.example.com], health: {{ interval: 1h }} }} }}
zones: {{ example.com: {{ nameservers: {{ ns1: [192.0.2.53] }} }} }}
"
    )
}

fn folder(measured: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("measured.csv"), measured).unwrap();
    folder
}

fn steered(edge: &Edge, network: &str) -> String {
    let answer = edge.kdig(&format!("www.example.com A +subnet={network} +short"));
    answer.trim().to_owned()
}

fn explained(edge: &Edge, client: &str) -> Value {
    let path = format!("/api/v1/explain?name=www.example.com&client={client}");
    edge.admin("GET", &path, "").1
}

/// The step that placed a region.
fn placed(explained: &Value, region: &str) -> Value {
    let steps = explained["steps"].as_array().unwrap();
    let step = steps
        .iter()
        .find(|step| step["rule"] == "policy" && step["region"] == region);
    step.unwrap().clone()
}

const DETOUR: &str = "network,region,ms,samples
193.0.6.0/24,eu-central-1,61,41
193.0.6.0/24,eu-west-1,23,40
";

#[test]
fn an_imported_file_decides_and_explain_says_by_which_figure() {
    let edge = Edge::start_in(folder(DETOUR), &yaml("latency: { import: [measured.csv] }"));
    assert_eq!(steered(&edge, DUTCH), IRELAND);
    assert_eq!(steered(&edge, "193.0.7.0/24"), FRANKFURT);
    let told = explained(&edge, "193.0.6.139");
    assert_eq!(told["decision"][0], "eu-west-1");
    let step = placed(&told, "eu-west-1");
    let reason = step["reason"].as_str().unwrap();
    let begins = "number 1 by round trip from the client, measured 23 ms for 193.0.6.0/24 (import, 40 samples, ";
    assert!(reason.starts_with(begins), "{reason}");
    let figure = &step["round_trip"];
    assert_eq!(
        (&figure["ms"], &figure["source"], &figure["network"]),
        (&json!(23.0), &json!("import"), &json!("193.0.6.0/24"))
    );
    assert!(figure["age_seconds"].as_u64().unwrap() < 600, "{figure}");
    let modelled = placed(&told, "us-east-1");
    assert_eq!(modelled["round_trip"]["source"], "distance");
    let reason = modelled["reason"].as_str().unwrap();
    assert!(reason.contains("modelled from distance: "), "{reason}");
}

#[test]
fn the_command_explains_by_the_same_figure_without_an_edge() {
    let folder = folder(DETOUR);
    let file = folder.path().join("edge.yaml");
    fs::write(&file, yaml("latency: { import: [measured.csv] }")).unwrap();
    let client = ["explain", "www.example.com", "--client", "193.0.6.139"];
    let output = run(meridian().args(client).arg("--config").arg(&file));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("decision eu-west-1, "), "{said}");
    assert!(
        said.contains("measured 61 ms for 193.0.6.0/24 (import, 41 samples"),
        "{said}"
    );
}

#[test]
fn the_scope_is_that_of_the_measured_network() {
    let edge = Edge::start_in(folder(DETOUR), &yaml("latency: { import: [measured.csv] }"));
    let answer = edge.kdig("www.example.com A +subnet=193.0.6.128/25");
    assert!(answer.contains("193.0.6.128/25/24"), "{answer}");
}

#[test]
fn a_file_that_changes_is_in_force_at_once_and_a_wrong_one_changes_nothing() {
    let edge = Edge::start_in(folder(DETOUR), &yaml("latency: { import: [measured.csv] }"));
    let file = edge.folder.path().join("measured.csv");
    fs::write(&file, DETOUR.replace("61", "21")).unwrap();
    assert!(wait_until(|| steered(&edge, DUTCH) == FRANKFURT));
    let (_, status) = edge.admin("GET", "/api/v1/status", "");
    assert!(status["config"]["error"].is_null(), "{status}");
    fs::write(&file, "network,region,ms\nNL,eu-west-1,fast\n").unwrap();
    let error = || {
        let (_, status) = edge.admin("GET", "/api/v1/status", "");
        status["config"]["error"].clone()
    };
    assert!(wait_until(|| !error().is_null()));
    let error = error();
    assert!(error["file"].as_str().unwrap().ends_with("measured.csv"));
    assert_eq!((&error["line"], &error["column"]), (&json!(2), &json!(14)));
    assert_eq!(steered(&edge, DUTCH), FRANKFURT);
}

#[test]
fn check_tells_what_is_wrong_with_a_file_at_its_place() {
    let folder = folder("network,region,ms\n193.0.6.0/24,eu-west-1,0\n");
    let file = folder.path().join("edge.yaml");
    fs::write(&file, yaml("latency: { import: [measured.csv] }")).unwrap();
    let mut check = Process::start(meridian().args(["check", "--config"]).arg(&file));
    assert_eq!(check.wait(), 1);
    let said = check.said();
    assert!(
        said.contains("measured.csv:2:24: `0` is no round trip"),
        "{said}"
    );
}

#[test]
fn figures_of_an_autonomous_system_need_a_database_that_knows_it() {
    let asns = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/asn.mmdb");
    let measured = "network,region,ms\nAS64496,eu-west-1,20\nAS64496,us-east-1,140\n";
    let import = "latency: { import: [measured.csv] }";
    let edge = Edge::start_in(folder(measured), &yaml(import));
    assert_eq!(steered(&edge, "198.51.100.0/24"), VIRGINIA);
    let with = format!("{import}\ngeo: {{ asn_database: {asns} }}");
    let edge = Edge::start_in(folder(measured), &yaml(&with));
    assert_eq!(steered(&edge, "198.51.100.0/24"), IRELAND);
}
