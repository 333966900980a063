//! The main job: a region dies, HTTPS and DNS move, everybody is told why, and it comes back.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use support::{Lab, admin, wait_until};

/// RIPE NCC's network, in Amsterdam.
const NETHERLANDS: &str = "193.0.6.0/24";

/// WIDE's network, in Tokyo.
const JAPAN: &str = "203.178.141.0/24";

/// UC Berkeley's network.
const CALIFORNIA: &str = "169.229.0.0/16";

const VIRGINIA: &str = "192.0.2.10";
const IRELAND: &str = "198.51.100.10";
const TOKYO: &str = "203.0.113.10";

#[test]
fn well_known_networks_land_where_they_should() {
    let lab = Lab::start();
    assert_eq!(lab.steers(NETHERLANDS), IRELAND);
    assert_eq!(lab.steers(JAPAN), TOKYO);
    assert_eq!(lab.steers(CALIFORNIA), VIRGINIA);
}

/// Asks so often, so many at a time; the codes, of which curl says 000 where there was no answer.
fn curl_many(lab: &Lab, count: usize, at_once: usize) -> Vec<String> {
    let port = lab.address("https").port();
    let output = std::process::Command::new("curl")
        .args([
            "-ksZ",
            "--parallel-immediate",
            "--parallel-max",
            &at_once.to_string(),
        ])
        .args([
            "--connect-to",
            &format!("www.lab.example:443:127.0.0.1:{port}"),
        ])
        .args(["-o", "/dev/null", "-w", "%{http_code}\\n"])
        .arg(format!("https://www.lab.example/kv/hello?[1-{count}]"))
        .output()
        .unwrap();
    let codes = String::from_utf8(output.stdout).unwrap();
    codes.lines().map(str::to_owned).collect()
}

#[test]
fn a_region_killed_under_many_requests_at_once_costs_none_of_them() {
    let lab = Lab::start();
    let over = AtomicBool::new(false);
    let codes = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut codes = Vec::new();
            while !over.load(Ordering::SeqCst) {
                codes.extend(curl_many(&lab, 300, 60));
            }
            codes
        });
        lab.command("kill eu-west-1");
        assert!(wait_until(|| lab.steers(NETHERLANDS) == VIRGINIA));
        over.store(true, Ordering::SeqCst);
        asking.join().unwrap()
    });
    let failed: Vec<&String> = codes
        .iter()
        .filter(|code| !["200", "404"].contains(&&***code))
        .collect();
    assert!(
        codes.len() >= 300 && failed.is_empty(),
        "{failed:?} of {}",
        codes.len()
    );
}

#[test]
fn a_killed_region_costs_not_a_single_get_and_comes_back() {
    let lab = Lab::start();
    let (over, done, failed) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    let keep_asking = || {
        while !over.load(Ordering::SeqCst) {
            let answer = lab.curl("/", &[]);
            failed.fetch_add(u32::from(answer.status != 200), Ordering::SeqCst);
            done.fetch_add(1, Ordering::SeqCst);
        }
    };
    let some_more = || {
        let goal = done.load(Ordering::SeqCst) + 20;
        assert!(wait_until(|| done.load(Ordering::SeqCst) >= goal));
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(keep_asking);
        }
        some_more();
        lab.command("kill eu-west-1");
        assert!(wait_until(|| lab.steers(NETHERLANDS) == VIRGINIA));
        some_more();
        assert_eq!(lab.states(), ["healthy", "unhealthy", "healthy"]);
        lab.command("restore eu-west-1");
        assert!(wait_until(|| lab.steers(NETHERLANDS) == IRELAND));
        some_more();
        over.store(true, Ordering::SeqCst);
    });
    let done = done.load(Ordering::SeqCst);
    assert_eq!(failed.load(Ordering::SeqCst), 0, "of {done}");
}

/// The messages of the events so far.
fn events(lab: &Lab) -> Vec<String> {
    let mut command = support::meridian();
    command.args([
        "events",
        "--admin",
        &format!("http://{}", lab.address("admin")),
    ]);
    let said = String::from_utf8(support::run(&mut command).stdout).unwrap();
    said.lines().map(str::to_owned).collect()
}

#[test]
fn dns_lets_go_within_the_threshold_and_everybody_is_told_why() {
    let lab = Lab::start();
    lab.command("kill ap-northeast-1");
    assert!(wait_until(|| lab.steers(JAPAN) != TOKYO));
    // The threshold's three failures in a row, and what has followed since, at most one in 2 s.
    let failed = failed_probes(&lab, "ap-northeast-1");
    assert!((3..=5).contains(&failed), "{failed} failed probes");
    let events = events(&lab);
    let has = |text: &str| events.iter().any(|event| event.contains(text));
    assert!(
        has("of ap-northeast-1 is unhealthy: cannot connect: Connection refused"),
        "{events:#?}"
    );
    assert!(
        has("region ap-northeast-1 is unhealthy for service www, was healthy"),
        "{events:#?}"
    );
    let (_, status) = admin(lab.address("admin"), "GET", "/api/v1/status", "");
    let origin = &status["regions"][2]["services"][0]["origins"][0];
    assert_eq!(origin["state"], "unhealthy");
    assert_eq!(origin["last_check"]["ok"], false);
}

/// How many probes of a region have failed so far.
fn failed_probes(lab: &Lab, region: &str) -> u32 {
    let metrics = admin(lab.address("admin"), "GET", "/metrics", "").1;
    let metric = format!(
        "meridian_health_checks_total{{service=\"www\",region=\"{region}\",result=\"fail\"}} "
    );
    let lines = metrics.as_str().unwrap().lines();
    let mut counts = lines.filter_map(|line| line.strip_prefix(&metric)?.parse().ok());
    counts.next().unwrap_or(0)
}

#[test]
fn explain_gives_every_region_its_reason() {
    let lab = Lab::start();
    let url = format!("http://{}", lab.address("admin"));
    let explain = |more: &[&str]| -> serde_json::Value {
        let words = [
            "explain",
            "www.lab.example",
            "--client",
            "203.178.141.1",
            "--json",
        ];
        let mut command = support::meridian();
        command.args(words).args(["--admin", &url]).args(more);
        serde_json::from_slice(&support::run(&mut command).stdout).unwrap()
    };
    let live = explain(&[]);
    let decision: Vec<&str> = live["decision"]
        .as_array()
        .unwrap()
        .iter()
        .map(|region| region.as_str().unwrap())
        .collect();
    assert_eq!(decision, ["ap-northeast-1", "eu-west-1", "us-east-1"]);
    let steps = live["steps"].as_array().unwrap();
    for region in decision {
        let of_region = steps.iter().filter(|step| step["region"] == region);
        assert!(of_region.clone().count() > 0, "{region} has no step");
        assert!(
            of_region
                .clone()
                .all(|step| step["kept"] == true && step["reason"].is_string())
        );
    }
    let http = explain(&["--method", "GET"]);
    let mut steps = http["steps"].as_array().unwrap().iter();
    let probed = steps.find(|step| step["round_trip"]["source"] == "probes");
    let probed = probed.expect("the edge's own round trips decide over HTTP");
    assert!(probed["round_trip"]["age_seconds"].is_u64(), "{probed}");
    assert!(
        probed["reason"].as_str().unwrap().ends_with(" s ago"),
        "{probed}"
    );
}

#[test]
fn a_write_is_never_missed_while_replication_lags_and_is_parted() {
    let lab = Lab::start();
    lab.command("lag us-east-1 2s");
    lab.command("lag ap-northeast-1 2s");
    lab.command("partition eu-west-1 us-east-1");
    for i in 0..5 {
        let value = format!("value-{i}");
        let write = lab.curl("/kv/key", &["-X", "PUT", "-d", &value]);
        assert!([200, 201].contains(&write.status), "{}", write.head);
        let token = format!("Meridian-Token: {}", write.header("meridian-token"));
        // Without affinity; the drain sends readers elsewhere, where the write has not arrived.
        for region in ["eu-west-1", "us-east-1"] {
            admin(
                lab.address("admin"),
                "PUT",
                &format!("/api/v1/drains/{region}"),
                "",
            );
            let read = lab.curl("/kv/key", &["-H", &token]);
            assert!(read.body.contains(&value), "{}{}", read.head, read.body);
            assert_ne!(read.header("meridian-consistency"), "stale");
            admin(
                lab.address("admin"),
                "DELETE",
                &format!("/api/v1/drains/{region}"),
                "",
            );
        }
    }
}

#[test]
fn every_command_that_it_prints_works_as_it_stands() {
    let lab = Lab::start();
    let said = lab.said();
    let commands = said.lines().filter_map(|line| line.strip_prefix("  "));
    let commands: Vec<&str> = commands.filter(|line| !line.starts_with("http")).collect();
    let of = |tool: &str| {
        commands
            .iter()
            .filter(|line| line.starts_with(tool))
            .count()
    };
    assert_eq!(
        (of("dig "), of("curl "), commands.len()),
        (1, 1, 9),
        "{said}"
    );
    for command in commands {
        let output = std::process::Command::new("sh")
            .args(["-c", command])
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert!(
            output.status.success() && !text.trim().is_empty(),
            "{command}\n{text}"
        );
    }
    let page = said
        .lines()
        .find_map(|line| line.strip_prefix("  http://"))
        .unwrap();
    let address = page.trim_end_matches('/').parse().unwrap();
    assert_eq!(admin(address, "GET", "/", "").0, 200);
}

#[test]
fn faults_of_regions_that_are_none_are_refused() {
    let lab = Lab::start();
    let control = lab.control().to_string();
    let output = support::meridian()
        .args(["lab", "kill", "mars", "--control", &control])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("mars") && said.contains("eu-west-1"),
        "{said}"
    );
}

#[test]
fn a_configuration_of_one_s_own_is_rehearsed_with_a_region_for_each_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("edge.yaml");
    // Nobody is at these origins, and nothing answers at this path.
    let yaml = "
node: { location: [50.11, 8.68] }
listen: { http: ['127.0.0.1:0'], http_mode: serve, admin: '127.0.0.1:0' }
regions:
  here: { location: [50, 8], origins: ['https://192.0.2.10:8443', 'https://192.0.2.11:8443'] }
  there: { location: [39, -77], origins: ['h2c://192.0.2.20:8080'] }
services:
  shop:
    hosts: [shop.example.com]
    writes: { to: { primary: there } }
    health: { path: /ready, expect: { status: [204] }, interval: 1s }
";
    std::fs::write(&file, yaml).unwrap();
    let mut lab = support::Process::start(
        support::meridian()
            .args(["lab", "--control", "127.0.0.1:0", "--config"])
            .arg(&file),
    );
    lab.wait_for("Ctrl-C stops it all.");
    let said = lab.said();
    assert!(
        said.starts_with("2 region(s) and an edge are running: here, there."),
        "{said}"
    );
    let after = |mark: &str| {
        said.split(mark)
            .nth(1)
            .unwrap()
            .split_whitespace()
            .next()
            .unwrap()
    };
    let (http, url) = (after("\nhttp ").to_owned(), after("--admin "));
    let admin_address = url.trim_start_matches("http://").parse().unwrap();
    let healthy = || {
        let (_, status) = admin(admin_address, "GET", "/api/v1/status", "");
        let regions = status["regions"].as_array().cloned().unwrap_or_default();
        regions.len() == 2 && regions.iter().all(|region| region["state"] == "healthy")
    };
    assert!(wait_until(healthy), "{}", lab.said());
    let answer = |arguments: &[&str]| {
        let output = support::run(
            std::process::Command::new("curl")
                .args(["-sS", "-i", "-H", "Host: shop.example.com"])
                .args(arguments)
                .arg(format!("http://{http}/kv/a")),
        );
        String::from_utf8_lossy(&output.stdout).to_ascii_lowercase()
    };
    let write = answer(&["-X", "PUT", "-d", "b"]);
    assert!(
        write.contains(" 201 ") && write.contains("meridian-region: there"),
        "{write}"
    );
    let read = answer(&[]);
    assert!(read.contains("meridian-region: here"), "{read}");
}
