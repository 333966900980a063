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
use support::{Edge, Origin, Process, meridian, run, wait_until};

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
services: {{ www: {{ hosts: [www.example.com], health: {{ interval: 1h, timeout: 10m }} }} }}
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
fn explain_says_why_a_region_stands_before_one_of_a_smaller_figure() {
    let measured = "network,region,ms\n193.0.6.0/24,eu-central-1,27\n193.0.6.0/24,eu-west-1,23\n";
    let edge = Edge::start_in(
        folder(measured),
        &yaml("latency: { import: [measured.csv] }"),
    );
    let told = explained(&edge, "193.0.6.139");
    assert_eq!(told["decision"][0], "eu-central-1");
    let reason = |region| placed(&told, region)["reason"].to_string();
    let note =
        "; eu-west-1's 23.0 ms is not less by more than 5 ms and a tenth, so distance decides";
    assert!(reason("eu-central-1").contains(note), "{told}");
    assert!(!reason("eu-west-1").contains("not less"), "{told}");
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

#[test]
fn a_database_that_has_networks_in_other_systems_is_told_in_the_reload() {
    let known = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/asn.mmdb");
    let mut database = fs::read(known).unwrap();
    let folder = folder("network,region,ms\nAS64496,eu-west-1,20\nAS64496,us-east-1,140\n");
    let asns = folder.path().join("asn.mmdb");
    fs::write(&asns, &database).unwrap();
    let with = "latency: { import: [measured.csv] }\ngeo: { asn_database: asn.mmdb }";
    let edge = Edge::start_in(folder, &yaml(with));
    assert_eq!(steered(&edge, "198.51.100.0/24"), IRELAND);
    let number = 64_496_u16.to_be_bytes();
    let at = database.windows(2).position(|bytes| bytes == number);
    database[at.unwrap() + 1] += 1;
    fs::write(&asns, &database).unwrap();
    let is_elsewhere = || steered(&edge, "198.51.100.0/24") == VIRGINIA;
    assert!(wait_until(is_elsewhere));
    let told = edge.admin("GET", "/api/v1/status", "").1["config"].to_string();
    assert!(
        told.contains("database of autonomous systems changed"),
        "{told}"
    );
}

#[test]
fn networks_that_nobody_has_measured_go_by_their_neighbors() {
    let measured = |networks: std::ops::Range<u8>| {
        let rows = networks
            .map(|n| format!("193.0.{n}.0/24,eu-west-1,20\n193.0.{n}.0/24,eu-central-1,60\n"));
        format!("network,region,ms\n{}", rows.collect::<String>())
    };
    let import = yaml("latency: { import: [measured.csv] }");
    let edge = Edge::start_in(folder(&measured(18..20)), &import);
    assert_eq!(steered(&edge, DUTCH), FRANKFURT, "two networks are too few");
    let edge = Edge::start_in(folder(&measured(18..21)), &import);
    assert_eq!(steered(&edge, DUTCH), IRELAND);
    let why = placed(&explained(&edge, "193.0.6.139"), "eu-west-1")["round_trip"].clone();
    assert_eq!(
        (&why["network"], &why["networks"]),
        (&json!("193.0.0.0/16"), &json!(3))
    );
    // Others of the country go by the country's median, if it is of three blocks.
    let why = placed(&explained(&edge, "145.97.1.1"), "eu-west-1")["round_trip"].clone();
    assert_eq!(why["source"], json!("distance"));
    let others = "145.96.1.0/24,eu-west-1,20\n130.37.1.0/24,eu-west-1,20\n";
    let edge = Edge::start_in(folder(&(measured(18..21) + others)), &import);
    let why = placed(&explained(&edge, "145.97.1.1"), "eu-west-1")["round_trip"].clone();
    assert_eq!(
        (&why["network"], &why["networks"]),
        (&json!("NL"), &json!(5))
    );
}

/// An edge that samples round trips over http.
fn sampling(more: &str, origin: &Origin, folder: tempfile::TempDir) -> Edge {
    sampling_with("", more, origin, folder)
}

/// The same with more to say of us-east-1.
fn sampling_with(virginia: &str, more: &str, origin: &Origin, folder: tempfile::TempDir) -> Edge {
    let yaml = format!(
        "listen: {{ dns: ['127.0.0.1:0'], http: ['127.0.0.1:0'], http_mode: serve, trusted_proxies: [127.0.0.1], admin: '127.0.0.1:0' }}
{more}
regions:
  us-east-1: {{ {virginia}addresses: [{VIRGINIA}], origins: ['{origin}'] }}
  eu-west-1: {{ addresses: [{IRELAND}], origins: ['{origin}'] }}
services: {{ www: {{ hosts: [www.example.com], health: {{ path: / }} }} }}
zones: {{ example.com: {{ nameservers: {{ ns1: [192.0.2.53] }} }} }}
",
        origin = origin.url()
    );
    Edge::start_in(folder, &yaml)
}

/// The reason of a region's place for the clients of this machine.
fn reason(edge: &Edge, region: &str) -> String {
    reason_for(edge, region, "127.0.0.1")
}

fn reason_for(edge: &Edge, region: &str, client: &str) -> String {
    let told = explained(edge, client);
    placed(&told, region)["reason"].as_str().unwrap().to_owned()
}

/// Asks the edge for a path as a client of this address; the status.
fn post(edge: &Edge, from: &str, path: &str) -> String {
    let url = format!("http://{}{path}", edge.address("http"));
    let arguments = ["-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", "POST"];
    let mut curl = std::process::Command::new("curl");
    curl.args(arguments)
        .args(["-H", "Host: www.example.com", "--interface", from, &url]);
    String::from_utf8(run(&mut curl).stdout).unwrap()
}

#[test]
fn round_trips_of_connections_count_for_the_region_that_the_edge_stands_in() {
    let origin = Origin::start("it");
    let more = "node: { region: eu-west-1 }\nlatency: { connections: true, min_samples: 3 }";
    // It is as near as its origin is: light would not allow that of Virginia.
    let in_dublin = "location: [53.35, -6.26], ";
    let edge = sampling_with(in_dublin, more, &origin, tempfile::tempdir().unwrap());
    let connected: Vec<std::net::TcpStream> = (2..5)
        .map(|host| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
            let socket = socket.unwrap();
            let from: std::net::SocketAddr = ([127, 0, 0, host], 0).into();
            socket.bind(&from.into()).unwrap();
            socket.connect(&edge.address("http").into()).unwrap();
            socket.into()
        })
        .collect();
    assert!(wait_until(|| {
        reason(&edge, "eu-west-1").contains("ms for 127.0.0.0/24 (connections, 3 samples")
    }));
    // The way on from here is the edge's own.
    assert!(reason(&edge, "us-east-1").contains("ms for 127.0.0.0/24 (edge, 3 samples"));
    drop(connected);
}

const BEACON: &str = "{ sample: 5%, probes: { us-east-1: 'https://us.example/ping', eu-west-1: 'https://eu.example/ping' } }";

#[test]
fn a_browser_s_report_counts_once_three_addresses_agree_and_outlives_a_restart() {
    let origin = Origin::start("it");
    let more =
        format!("node: {{ state_dir: state }}\nlatency: {{ min_samples: 3, beacon: {BEACON} }}");
    let edge = sampling(&more, &origin, tempfile::tempdir().unwrap());
    assert_eq!(steered(&edge, "127.0.0.0/24"), VIRGINIA, "as listed");
    let report = "/.well-known/meridian/beacon?us-east-1=95.5&eu-west-1=20.5";
    assert_eq!(post(&edge, "127.0.0.2", report), "204");
    assert_eq!(post(&edge, "127.0.0.3", report), "204");
    let counted = |result: &str| {
        let labels = ["source=\"beacon\"", result];
        edge.counted("meridian_latency_samples_total", &labels)
    };
    assert!(wait_until(|| counted("result=\"counted\"") == 4));
    assert_eq!(steered(&edge, "127.0.0.0/24"), VIRGINIA, "two are too few");
    // Nobody is that near to both.
    let absurd = "/.well-known/meridian/beacon?us-east-1=2&eu-west-1=2";
    assert_eq!(post(&edge, "127.0.0.9", absurd), "204");
    assert!(wait_until(|| counted("result=\"implausible\"") == 1));
    assert_eq!(post(&edge, "127.0.0.4", report), "204");
    assert!(wait_until(|| steered(&edge, "127.0.0.0/24") == IRELAND));
    let said = reason(&edge, "eu-west-1");
    assert!(
        said.contains("measured 20 ms for 127.0.0.0/24 (beacon, 3 samples, ")
            || said.contains("measured 21 ms"),
        "{said}"
    );
    let mut edge = edge;
    edge.process.signal("TERM");
    assert_eq!(edge.process.wait(), 0);
    let Edge { process, folder } = edge;
    drop(process);
    let file = fs::read_to_string(folder.path().join("state/latency")).unwrap();
    assert!(!file.contains("127.0.0.2"), "no client's address: {file}");
    let edge = sampling(&more, &origin, folder);
    assert!(wait_until(|| steered(&edge, "127.0.0.0/24") == IRELAND));
}

#[test]
fn what_browsers_reported_outlives_an_upgrade_though_nothing_is_saved() {
    let origin = Origin::start("it");
    let more = format!(
        "node: {{ upgrade_socket: door.sock }}\nlatency: {{ min_samples: 3, beacon: {BEACON} }}"
    );
    let mut edge = sampling(&more, &origin, tempfile::tempdir().unwrap());
    let report = "/.well-known/meridian/beacon?us-east-1=95.5&eu-west-1=20.5";
    for client in ["127.0.0.2", "127.0.0.3", "127.0.0.4"] {
        assert_eq!(post(&edge, client, report), "204");
    }
    assert!(wait_until(|| steered(&edge, "127.0.0.0/24") == IRELAND));
    let mut successor = support::Process::serving(edge.folder.path(), &["--upgrade"]);
    successor.wait_for("took over");
    let mut old = std::mem::replace(&mut edge.process, successor);
    assert_eq!(old.wait(), 0);
    assert!(wait_until(|| {
        reason(&edge, "eu-west-1").contains("for 127.0.0.0/24 (beacon, 3 samples, ")
    }));
    assert_eq!(steered(&edge, "127.0.0.0/24"), IRELAND);
}

#[test]
fn the_beacon_is_served_only_where_it_is_configured() {
    let origin = Origin::start("it");
    let script = "/.well-known/meridian/beacon.js";
    let ask = |edge: &Edge| {
        let url = format!("http://{}{script}", edge.address("http"));
        let curl = ["-si", "-H", "Host: www.example.com", &url];
        String::from_utf8(run(std::process::Command::new("curl").args(curl)).stdout).unwrap()
    };
    let more = format!("latency: {{ beacon: {BEACON} }}");
    let edge = sampling(&more, &origin, tempfile::tempdir().unwrap());
    let answer = ask(&edge);
    assert!(answer.contains("text/javascript") && answer.contains("https://us.example/ping"));
    assert!(
        answer
            .to_lowercase()
            .contains("access-control-allow-origin: *")
    );
    let wrong = "/.well-known/meridian/beacon?mars=1";
    assert_eq!(post(&edge, "127.0.0.1", wrong), "400");
    let edge = sampling("", &origin, tempfile::tempdir().unwrap());
    assert!(
        !ask(&edge).contains("text/javascript"),
        "it is the origin's"
    );
}

#[test]
fn a_customer_of_ipv6_is_one_source_whatever_its_addresses() {
    let origin = Origin::start("it");
    let more = format!("latency: {{ min_samples: 3, beacon: {BEACON} }}");
    let edge = sampling(&more, &origin, tempfile::tempdir().unwrap());
    let report = |client: &str| {
        let path = "/.well-known/meridian/beacon?us-east-1=95.5&eu-west-1=20.5";
        let url = format!("http://{}{path}", edge.address("http"));
        let mut curl = std::process::Command::new("curl");
        curl.args(["-s", "-X", "POST", "-H", "Host: www.example.com", "-H"]);
        run(curl.arg(format!("X-Forwarded-For: {client}")).arg(&url));
    };
    let counted = |result: &str| {
        let labels = ["source=\"beacon\"", result];
        edge.counted("meridian_latency_samples_total", &labels)
    };
    for host in 1..=16 {
        report(&format!("2001:67c:2e8:1::{host:x}"));
    }
    assert!(wait_until(|| counted("result=\"counted\"") == 2));
    assert!(wait_until(|| counted("result=\"too_often\"") == 30));
    assert!(!reason_for(&edge, "eu-west-1", "2001:67c:2e8::1").contains("beacon"));
    report("2001:67c:2e8:100::1");
    report("2001:67c:2e8:200::1");
    assert!(wait_until(|| {
        reason_for(&edge, "eu-west-1", "2001:67c:2e8::1")
            .contains("for 2001:67c:2e8::/48 (beacon, 3 samples, ")
    }));
}
