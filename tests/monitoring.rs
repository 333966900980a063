//! What `docs/metrics.md` and `docs/monitoring` say is true of a running edge, as a real Prometheus sees it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{Lab, Process, admin, free_address, run, wait_until};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn monitoring(file: &str) -> PathBuf {
    root().join("docs/monitoring").join(file)
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The name and kind of each metric in the tables of `docs/metrics.md`.
fn documented() -> BTreeSet<(String, String)> {
    let page = text(&root().join("docs/metrics.md"));
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `meridian_")?.split(" | ");
        let name = format!("meridian_{}", cells.next()?.trim_end_matches('`'));
        let kind = cells.next()?;
        ["counter", "gauge", "histogram"]
            .contains(&kind)
            .then(|| (name, kind.to_owned()))
    };
    page.lines().filter_map(row).collect()
}

/// The sources of the program.
fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(text(&path));
        }
    }
}

/// The name and kind of each metric that the program counts.
fn counted() -> BTreeSet<(String, String)> {
    let mut texts = Vec::new();
    sources(&root().join("src"), &mut texts);
    let mut found = BTreeSet::new();
    for (call, kind) in [
        ("counter!(", "counter"),
        ("gauge!(", "gauge"),
        ("histogram!(", "histogram"),
        ("write_histogram(&mut text, ", "histogram"),
    ] {
        for rest in texts.iter().flat_map(|text| text.split(call).skip(1)) {
            let name = rest.trim_start().strip_prefix('"');
            let name = name.and_then(|rest| rest.split_once('"'));
            if let Some((name, _)) = name.filter(|(name, _)| name.starts_with("meridian_")) {
                found.insert((name.to_owned(), kind.to_owned()));
            }
        }
    }
    found
}

/// Names of metrics in a text.
fn names(text: &str) -> BTreeSet<String> {
    let is_of_a_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.split(|c| !is_of_a_name(c))
        .filter(|word| word.starts_with("meridian_"))
        .map(str::to_owned)
        .collect()
}

/// Every expression of the Grafana dashboard, with its variables filled in.
fn expressions() -> Vec<String> {
    fn collect(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(expression)) = map.get("expr") {
                    found.push(expression.clone());
                }
                map.values().for_each(|value| collect(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| collect(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut found = Vec::new();
    let dashboard: Value = serde_json::from_str(&text(&monitoring("grafana.json"))).unwrap();
    collect(&dashboard, &mut found);
    let fill = |expression: String| {
        expression
            .replace("$instance", ".*")
            .replace("$__rate_interval", "10s")
            .replace("$__interval", "10s")
    };
    found.into_iter().map(fill).collect()
}

/// A Prometheus that scrapes an edge every second, with the rules of the documentation.
struct Prometheus {
    address: SocketAddr,
    process: Process,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    #[track_caller]
    fn watching(edge: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = free_address();
        let config = text(&monitoring("prometheus.yml"))
            .replace("15s", "1s")
            .replace("alerts.yml", monitoring("alerts.yml").to_str().unwrap())
            .replace("127.0.0.1:9090", &edge.to_string());
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, config).unwrap();
        let data = folder.path().join("data");
        let process = Process::start(
            Command::new("prometheus")
                .arg(format!("--config.file={}", file.display()))
                .arg(format!("--storage.tsdb.path={}", data.display()))
                .arg(format!("--web.listen-address={address}")),
        );
        let prometheus = Self {
            address,
            process,
            _folder: folder,
        };
        prometheus.expect("up == 1");
        prometheus
    }

    fn query(&self, expression: &str) -> Option<Vec<Value>> {
        let url = format!("http://{}", self.address);
        let said = Command::new("promtool")
            .args(["query", "instant", "--format=json", &url, expression])
            .output()
            .unwrap_or_else(|error| panic!("promtool: {error}; scripts/test.sh installs it"));
        let found = serde_json::from_slice(&said.stdout).ok();
        found.filter(|_| said.status.success())
    }

    /// Waits until an expression has something to say.
    #[track_caller]
    fn expect(&self, expression: &str) {
        let says = || {
            self.query(expression)
                .is_some_and(|found| !found.is_empty())
        };
        assert!(wait_until(says), "{expression}\n{}", self.process.said());
    }
}

#[test]
fn the_documentation_lists_every_metric_that_is_counted_and_no_other() {
    let (documented, counted) = (documented(), counted());
    assert!(counted.len() > 25, "{counted:?}");
    assert_eq!(documented, counted);
    let described: String = text(&root().join("src/admin/metrics.rs"))
        .split_whitespace()
        .collect();
    for (name, kind) in &counted {
        let kind = kind.replacen(
            |first: char| first.is_lowercase(),
            &kind[..1].to_uppercase(),
            1,
        );
        let entry = format!("(\"{name}\",Kind::{kind},");
        assert!(described.contains(&entry), "{name} has no help");
    }
}

#[test]
fn alerts_and_dashboard_ask_only_for_what_there_is() {
    let series = |(name, kind): (String, String)| match kind.as_str() {
        "histogram" => ["_bucket", "_sum", "_count"]
            .map(|part| format!("{name}{part}"))
            .to_vec(),
        _ => vec![name],
    };
    let there_is: BTreeSet<String> = documented().into_iter().flat_map(series).collect();
    for file in ["alerts.yml", "alerts.test.yml", "grafana.json"] {
        let asked = names(&text(&monitoring(file)));
        assert!(asked.len() > 5, "{file}: {asked:?}");
        let unknown: Vec<_> = asked.difference(&there_is).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
}

#[test]
fn every_alert_speaks_when_it_should_and_none_when_all_is_well() {
    let folder = root().join("docs/monitoring");
    let promtool = || {
        let mut command = Command::new("promtool");
        command.current_dir(&folder);
        command
    };
    run(promtool().args(["check", "config", "prometheus.yml"]));
    run(promtool().args(["test", "rules", "alerts.test.yml"]));
    let tested = text(&monitoring("alerts.test.yml"));
    let page = text(&root().join("docs/metrics.md"));
    for rule in text(&monitoring("alerts.yml")).split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap();
        assert!(tested.contains(name), "{name} is not tested");
        assert!(
            page.contains(&format!("| `{name}` |")),
            "{name} is not told of"
        );
    }
}

#[test]
fn prometheus_sees_who_is_routed_where_and_what_fails() {
    let lab = Lab::start();
    let admin = lab.address("admin");
    let prometheus = Prometheus::watching(admin);
    lab.curl("/", &[]);
    lab.steers("203.178.141.0/24");
    let answered = "sum(meridian_http_responses_total{class=\"2xx\"}) > 0";
    prometheus.expect(answered);
    for histogram in ["http_first_byte", "health_check"] {
        let series = format!("meridian_{histogram}_seconds_bucket");
        prometheus.expect(&format!(
            "histogram_quantile(0.99, sum by (region, le) ({series})) < 60"
        ));
    }
    prometheus.expect("meridian_dns_steered_answers_total{region=\"ap-northeast-1\"} > 0");
    for expression in expressions() {
        assert!(prometheus.query(&expression).is_some(), "{expression}");
    }
    lab.command("kill us-east-1");
    prometheus.expect("ALERTS{alertname=\"MeridianRegionUnhealthy\", region=\"us-east-1\"}");
}

#[test]
fn the_text_of_metrics_is_what_promtool_takes() {
    let lab = Lab::start();
    lab.curl("/", &[]);
    let url = format!("http://{}/metrics", lab.address("admin"));
    let page = run(Command::new("curl").args(["-sSf", &url])).stdout;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(&page).unwrap();
    let said = promtool.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{errors}");
}

/// `increase` sees nothing of the event that a counter begins with.
#[test]
fn counters_of_which_alerts_want_to_see_single_events_are_there_before_the_first() {
    let lab = Lab::start();
    let (_, page) = admin(lab.address("admin"), "GET", "/metrics", "");
    let alerts = text(&monitoring("alerts.yml"));
    let selectors = alerts.split("increase(").skip(1);
    let selectors: Vec<&str> = selectors
        .filter_map(|rest| rest.split_once('[').map(|(selector, _)| selector))
        .collect();
    assert!(selectors.len() >= 2, "{selectors:?}");
    for selector in selectors {
        let (name, labels) = selector.split_once('{').unwrap();
        let labels = labels.trim_end_matches('}');
        let is_of = |line: &str| line.starts_with(&format!("{name}{{")) && line.contains(labels);
        let mut lines = page.as_str().unwrap().lines();
        assert!(lines.any(is_of), "{selector} is not there at the start");
    }
}

#[test]
fn who_is_drained_or_forced_is_counted_and_how_many_regions_are_able() {
    let lab = Lab::start();
    let call = |method: &str, path: &str, body: &str| {
        let (code, said) = admin(lab.address("admin"), method, path, body);
        assert_eq!(code, 200, "{said}");
        said
    };
    let expect = |line: &str| {
        let is_told = || {
            let page = call("GET", "/metrics", "");
            page.as_str().unwrap().lines().any(|told| told == line)
        };
        assert!(
            wait_until(is_told),
            "{line}\n{}",
            call("GET", "/metrics", "")
        );
    };
    let of = |metric: &str, region: &str, value: u8| {
        format!("meridian_{metric}{{service=\"www\",region=\"{region}\"}} {value}")
    };
    let able = |count: u8| format!("meridian_service_able_regions{{service=\"www\"}} {count}");
    expect(&able(3));
    expect(&of("region_drained", "us-east-1", 0));
    let force = r#"{"force": true}"#;
    call("PUT", "/api/v1/drains/us-east-1", force);
    expect(&able(2));
    expect(&of("region_drained", "us-east-1", 1));
    expect(&of("region_healthy", "us-east-1", 1));
    call("PUT", "/api/v1/forced/eu-west-1", r#"{"state": "down"}"#);
    expect(&able(1));
    expect(&of("region_forced", "eu-west-1", 1));
    call("PUT", "/api/v1/drains/ap-northeast-1", force);
    expect(&able(0));
    call("DELETE", "/api/v1/forced/eu-west-1", "");
    expect(&of("region_forced", "eu-west-1", 0));
}
