//! The samples under `config/`, and what a wrong configuration is told.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use meridian::config::{self, Loaded, Problems};

fn environment(name: &str) -> Option<String> {
    let known = ["MERIDIAN_KEY", "MERIDIAN_ADMIN_TOKEN", "HOST"];
    known
        .contains(&name)
        .then(|| "0123456789abcdef0123.example".to_owned())
}

fn sample(name: &str) -> String {
    fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("config")
            .join(name),
    )
    .unwrap()
}

fn load(yaml: &str) -> Result<Loaded, Problems> {
    config::load_text("edge.yaml", yaml, &environment)
}

/// A configuration with one region, one service, and this beside them.
fn with(more: &str) -> String {
    format!(
        "regions:\n  us-east-1: {{ addresses: [192.0.2.1] }}\nservices:\n  www: {{ hosts: [www.example.com] }}\n{more}\n"
    )
}

#[track_caller]
fn check_refused(yaml: &str, says: &str) {
    let said = load(yaml).unwrap_err().to_string();
    assert!(said.contains(says), "{said}");
}

#[track_caller]
fn check_warned(yaml: &str, says: &str) {
    let loaded = load(yaml).unwrap_or_else(|problems| panic!("{problems}"));
    let said = loaded.problems(loaded.warnings.clone()).as_warnings();
    assert!(said.contains(says), "{said}");
}

#[test]
fn the_samples_are_valid_and_nothing_in_them_is_doubtful() {
    for name in ["minimal.yaml", "example.yaml"] {
        let loaded = load(&sample(name)).unwrap_or_else(|problems| panic!("{problems}"));
        let warnings = loaded.problems(loaded.warnings.clone()).as_warnings();
        assert_eq!(warnings, "", "{name}");
    }
}

/// Every key of the schema, at any depth.
fn keys(schema: &serde_json::Value, found: &mut BTreeSet<String>) {
    if let Some(properties) = schema.get("properties").and_then(|p| p.as_object()) {
        // Types of records are in capitals, and not all of them need an example.
        let words = properties
            .keys()
            .filter(|key| key.contains(char::is_lowercase));
        found.extend(words.cloned());
    }
    let below = schema
        .as_object()
        .into_iter()
        .flat_map(|object| object.values());
    let items = schema.as_array().into_iter().flatten();
    below.chain(items).for_each(|schema| keys(schema, found));
}

fn known_keys() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    keys(&config::schema(), &mut found);
    found
}

#[test]
fn the_example_explains_every_key() {
    let example = sample("example.yaml");
    for key in known_keys() {
        let written = format!("{key}:");
        assert!(example.contains(&written), "`{key}` is not in the example");
    }
}

#[test]
fn a_misspelt_key_anywhere_in_the_samples_is_refused_at_its_place() {
    let known = known_keys();
    let mut tried = 0;
    for name in ["minimal.yaml", "example.yaml"] {
        let text = sample(name);
        for (number, line) in text.lines().enumerate() {
            let code = line.split(" #").next().unwrap();
            if code.trim_start().starts_with('#') {
                continue;
            }
            for key in &known {
                for (at, _) in code.match_indices(&format!("{key}:")) {
                    let starts = code[..at].chars().last();
                    if starts.is_some_and(|c| !matches!(c, ' ' | '{')) {
                        continue; // The end of a longer key.
                    }
                    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                    lines[number].insert_str(at, "zz_");
                    let said = load(&lines.join("\n")).unwrap_err().to_string();
                    let place = format!("edge.yaml:{}:{}: unknown ", number + 1, at + 1);
                    assert!(said.contains(&place), "{place}zz_{key} in\n{said}");
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 100, "{tried}");
}

#[test]
fn a_problem_shows_place_line_caret_and_the_nearest_key() {
    let problems = load("regions:\n  us-east-1:\n    adresses: [192.0.2.1]\nservices:\n  www: { hosts: [a.example] }\n").unwrap_err();
    assert_eq!(
        problems.to_string(),
        "edge.yaml:3:5: unknown key `adresses` in regions.us-east-1: did you mean `addresses`?
   |
 3 |     adresses: [192.0.2.1]
   |     ^"
    );
}

#[test]
fn every_problem_is_told_at_once_in_the_order_of_the_file() {
    let yaml = "listen: { dns: [\"53\"] }
regions:
  us-east-1: { addresses: [192.0.2.300], weight: -1 }
services:
  www: { hosts: [www.example.com], regions: [us-est-1], steering: { policy: latncy } }
  api: { hosts: [www.example.com], health: { interval: 10 } }
";
    let said = load(yaml).unwrap_err().to_string();
    let places: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("edge.yaml:")?.split(": ").next())
        .collect();
    assert_eq!(
        places,
        ["1:17", "3:28", "3:50", "5:46", "5:77", "6:18", "6:56"],
        "{said}"
    );
    for hint in [
        "did you mean `us-east-1`?",
        "did you mean `latency`?",
        "is claimed by service `www` already",
        "a number with a unit, such as 250ms",
    ] {
        assert!(said.contains(hint), "{hint} in\n{said}");
    }
}

#[test]
fn files_that_are_not_there_are_told_with_everything_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("edge.yaml");
    let wrong = "tls: { certificates: [{ cert: no.pem, key: no.key }] }
geo: { database: no.mmdb }
regions: { us-east-1: { addresses: [192.0.2.10], wieght: 3 } }
services: { www: { hosts: [www.example.com] } }
";
    fs::write(&file, wrong).unwrap();
    let said = config::load(&[file], &environment).unwrap_err().to_string();
    for part in [
        ":1:31: ",
        "no.pem: ",
        "no.key: ",
        "no.mmdb: ",
        "did you mean `weight`?",
    ] {
        assert!(said.contains(part), "{part} in\n{said}");
    }
}

#[test]
fn what_retries_may_be_is_bounded() {
    let retries = |value: &str| {
        let retries = format!("www.example.com], retries: {{ {value} }} }}");
        with("").replace("www.example.com] }", &retries)
    };
    for taken in ["buffer: 16MiB", "on_status: [400-599]", "hedge_after: 0s"] {
        load(&retries(taken)).unwrap_or_else(|problems| panic!("{taken}: {problems}"));
    }
    check_refused(&retries("buffer: 16777217"), "it must be at most 16MiB");
    check_refused(&retries("on_status: [399]"), "from 400 to 599");
    check_refused(&retries("on_status: [200-503]"), "from 400 to 599");
}

#[test]
fn what_counts_of_traffic_is_on_unless_it_is_off_and_its_window_has_tenths() {
    let passive = |value: &str| {
        let health = format!("www.example.com], health: {{ passive: {value} }} }}");
        with("").replace("www.example.com] }", &health)
    };
    for taken in [
        "off",
        "{}",
        "{ window: 100ms, success_rate: 0%, consecutive_failures: 0 }",
    ] {
        load(&passive(taken)).unwrap_or_else(|problems| panic!("{taken}: {problems}"));
    }
    check_refused(&passive("{ window: 99ms }"), "it must be at least 100ms");
    check_refused(&passive("on"), "`on` is not one of off");
}

#[test]
fn responses_are_limited_unless_the_limit_is_off() {
    let limit = |yaml: &str| load(&with(yaml)).unwrap().plan.rate_limit;
    let shown = |yaml: &str| {
        let limit = limit(yaml).unwrap();
        let exempt: Vec<String> = limit.exempt.iter().map(ToString::to_string).collect();
        format!(
            "{} {} {}",
            limit.responses_per_second,
            limit.slip,
            exempt.join(",")
        )
    };
    let default = "200 2 127.0.0.0/8,::1/128";
    for yaml in [
        "",
        "dns: {}",
        "dns: { rate_limit: {} }",
        "dns: { rate_limit: }",
    ] {
        assert_eq!(shown(yaml), default, "{yaml}");
    }
    assert_eq!(
        shown("dns: { rate_limit: { responses_per_second: 100000, slip: 0, exempt: [] } }"),
        "100000 0 "
    );
    assert_eq!(
        shown("dns: { rate_limit: { slip: 255, exempt: [10.0.0.0/8] } }"),
        "200 255 10.0.0.0/8"
    );
    assert_eq!(limit("dns: { rate_limit: off }"), None);
    for (rate_limit, said) in [
        ("on", "`on` is not one of off"),
        ("{ responses_per_second: 0 }", "from 1 to 100000"),
        ("{ responses_per_second: 100001 }", "from 1 to 100000"),
        ("{ slip: 256 }", "from 0 to 255"),
        ("{ exempt: [10.0.0.1/8] }", "did you mean 10.0.0.0/8?"),
        ("{ exempts: [] }", "did you mean `exempt`?"),
    ] {
        check_refused(&with(&format!("dns: {{ rate_limit: {rate_limit} }}")), said);
    }
}

#[test]
fn variables_are_replaced_and_an_unset_one_is_told_once() {
    let yaml = "regions: { us-east-1: { addresses: [192.0.2.1] } }\nservices: { www: { hosts: [\"${HOST}\"] } }\n";
    let loaded = load(yaml).unwrap();
    let host = loaded.plan.services.values().next().unwrap().hosts[0].to_string();
    assert_eq!(host, "0123456789abcdef0123.example");
    // As the contract writes it: a brace within a flow map.
    let bare = load(&with(
        "keys: [{ id: 1, secret: ${MERIDIAN_KEY} }]\nadmin: { token: ${NOBODY} }",
    ));
    let said = bare.unwrap_err().to_string();
    assert!(
        said.starts_with("edge.yaml:6:17: the environment variable `NOBODY`"),
        "{said}"
    );
    assert!(load(&with("admin: { token: \"a $${b} ${HOST}\" }")).is_ok());
    let said = load(&with("admin: { token: \"${NOBODY}\" }")).unwrap_err();
    assert_eq!(said.iter().count(), 1, "{said}");
    check_refused(&with("admin: { token: \"${NOBODY\" }"), "`${` without `}`");
}

#[test]
fn a_secret_is_never_shown() {
    let yaml =
        with("keys: [{ id: 0, secret: hunter2hunter2hunter2 }]\nadmin: { tokn: correct-horse }");
    let said = load(&yaml).unwrap_err().to_string();
    assert!(said.contains("id"), "{said}");
    assert!(
        !said.contains("hunter2") && !said.contains("correct-horse"),
        "{said}"
    );
    let short = load(&with("keys: [{ id: 1, secret: hunter2 }]"))
        .unwrap_err()
        .to_string();
    assert!(
        short.contains("at least 16 bytes") && !short.contains("hunter2"),
        "{short}"
    );
    let plan = load(&sample("example.yaml")).unwrap().plan;
    assert!(!format!("{plan:?}").contains("0123456789abcdef0123"));
}

#[test]
fn a_secret_in_the_wrong_form_or_place_is_not_shown_either() {
    for yaml in [
        "keys:\n  - { id: 1, secret: first-0123456789, secret: VISIBLE-second }",
        "keys: { id: 1, secret: VISIBLE-map-012345 }",
        "keys:\n  - id: 1\n    secret: |\n      VISIBLE\n    id: 2",
        "admin: VISIBLE-scalar",
        "admin: { token: [VISIBLE-list] }",
        "admin: { token: VISIBLE-broken, foo: [ }",
        "admin: { token: \"VISIBLE-quote\"6543210 }",
        "admin: { token: \"VISIBLE\\\"escaped\", bogus: 1 }",
        "keys: [{ id: VISIBLE-swapped, secret: \"1\" }]",
    ] {
        let said = load(&with(yaml)).unwrap_err().to_string();
        assert!(!said.contains("VISIBLE"), "{yaml}\n{said}");
    }
    let swapped = load(&with("keys: [{ id: \"${MERIDIAN_KEY}\", secret: \"1\" }]"));
    let said = swapped.unwrap_err().to_string();
    assert!(!said.contains("0123456789abcdef0123"), "{said}");
    let file = "admin: { token: VISIBLE-twice }\nkeys: [{ id: 1, secret: VISIBLE-0123456789 }]\n";
    let folder = Folder::of(&[("a.yaml", &with(file)), ("b.yaml", file)]);
    let said = folder.load().unwrap_err().to_string();
    assert!(
        said.contains("is in two files") && !said.contains("VISIBLE"),
        "{said}"
    );
}

#[test]
fn what_has_no_effect_is_refused_or_warned_of() {
    let service = |more: &str| {
        format!(
            "regions: {{ us-east-1: {{ addresses: [192.0.2.1] }} }}\nservices: {{ www: {{ hosts: [www.example.com], {more} }} }}\n"
        )
    };
    check_warned(
        &service("writes: { key: { header: X-Tenant } }"),
        "`key` has an effect only with `to: home`",
    );
    check_warned(
        &service("writes: { failover: none }"),
        "`failover` has an effect only with",
    );
    check_refused(
        &service("dns: { ttl: 5s, ttl_min: 10s }"),
        "is longer than ttl",
    );
    check_warned(
        &service("health: { method: HEAD, expect: { body: ok } }"),
        "an answer to HEAD has no body",
    );
    for key in [
        "path: /up",
        "host: a.example",
        "method: HEAD",
        "expect: { body: ok }",
    ] {
        let name = key.split(':').next().unwrap();
        check_warned(
            &service(&format!("health: {{ protocol: tcp, {key} }}")),
            &format!("`{name}` has no effect with `protocol: tcp`"),
        );
    }
    check_warned(&service("consistency: { wait: 1s }"), "does nothing");
    check_warned(&service("dns: { ttl: 5m }"), "a TTL of 5m");
}

#[test]
fn what_is_left_empty_is_told() {
    check_refused("", "the configuration is empty");
    check_refused("regions:\nservices:\n", "lacks `regions`");
    check_refused("regions: {}\nservices: {}\n", "from 1 to");
    check_refused(
        "regions: { us-east-1: }\nservices: { www: }\n",
        "services.www lacks `hosts`",
    );
    check_refused(&with("listen: { dns: [~] }"), "listen.dns: a value such as");
    assert!(load("regions: { us-east-1: }\nservices: { www: { hosts: [a.example] } }\n").is_ok());
}

#[test]
fn a_file_of_nothing_or_of_another_kind_is_refused() {
    for nothing in ["---\n", "~\n", "null\n"] {
        check_refused(nothing, "the configuration is empty");
    }
    let folder = Folder::of(&[("a.yaml", &with("")), ("b.yaml", "- zones\n")]);
    let said = folder.load().unwrap_err().to_string();
    assert!(said.contains("b.yaml:1:1: a map is expected"), "{said}");
    let folder = Folder::of(&[("a.yaml", &with("")), ("b.yaml", "zones:\nregions:\n")]);
    assert!(folder.load().is_ok(), "an empty section adds nothing");
    std::os::unix::fs::symlink("nowhere.yaml", folder.0.path().join("c.yaml")).unwrap();
    let said = folder.load().unwrap_err().to_string();
    assert!(said.contains("c.yaml: No such file"), "{said}");
}

#[test]
fn values_that_cannot_be_are_refused() {
    check_refused(&with("node: { location: [95, 200] }"), "latitude");
    check_refused(
        &with("listen: { timeouts: { idle: 200000000000000d } }"),
        "too long",
    );
    check_refused(
        &with("listen: { https: [\"127.0.0.1:8443\"], admin: \"127.0.0.1:8443\" }"),
        "is listened on for two protocols",
    );
    let service = |more: &str| {
        format!(
            "regions: {{ us-east-1: {{ addresses: [192.0.2.1] }} }}\nservices: {{ www: {{ hosts: [www.example.com], {more} }} }}\n"
        )
    };
    let steering = |more: &str| service(&format!("steering: {{ overrides: [{more}] }}"));
    check_refused(
        &steering("{ country: [UK], prefer: [us-east-1] }"),
        "did you mean `GB`?",
    );
    check_refused(
        &steering("{ country: [], prefer: [us-east-1] }"),
        "`country` of an override is empty",
    );
    let residency = |allow: &str| {
        service(&format!(
            "residency: {{ by: client_country, allow: {{ {allow} }} }}"
        ))
    };
    check_refused(&residency("eu: [us-east-1]"), "`eu` is not a country");
    check_refused(&residency("DE: []"), "allows no region");
    check_refused(
        &service("health: { expect: { status: [] } }"),
        "`status` is empty, so no answer would pass",
    );
    check_refused(
        &with("keys: [{ id: 0, secret: 0123456789abcdef }]"),
        "keys.id: this is not a whole number from 1 to 255",
    );
    check_refused(&with("node: { name: \"${}\" }"), "`${}` names no variable");
    check_refused(
        &service("health: { host: \"*.example.com\" }"),
        "is a wildcard",
    );
    check_refused("<<: 5\n", "merges a map");
}

#[test]
fn a_listener_s_address_is_told_as_it_would_be_right() {
    for (given, right) in [
        (":80", "write 0.0.0.0:80 for every IPv4 address, [::]:80"),
        ("::1:80", "write [::1]:80"),
        ("::1", "such as 0.0.0.0:53 or [::]:53"),
        ("example:80", "such as 0.0.0.0:53 or [::]:53"),
    ] {
        check_refused(&with(&format!("listen: {{ http: [\"{given}\"] }}")), right);
    }
}

#[test]
fn a_value_that_is_none_is_told_once() {
    for more in [
        "steering: { overrides: [{ network: 10.0.0.1/8, prefer: [us-east-1] }] }",
        "steering: { overrides: [{ country: JP, prefer: [us-east-1] }] }",
        "steering: { overrides: [{ country: [JP], prefer: us-east-1 }] }",
        "residency: { by: { header: X }, allow: { eu: us-east-1 } }",
        "writes: { to: home, key: { header: \"A b\" } }",
        "writes: { to: home, key: X-Tenant }",
    ] {
        let yaml = format!(
            "regions: {{ us-east-1: {{ addresses: [192.0.2.1] }} }}\nservices: {{ www: {{ hosts: [www.example.com], {more} }} }}\n"
        );
        let said = load(&yaml).unwrap_err();
        assert_eq!(said.iter().count(), 1, "{more}: {said}");
    }
}

#[test]
fn labels_of_residency_that_differ_in_case_alone_name_both_places() {
    let yaml = "regions: { us-east-1: { addresses: [192.0.2.1] } }
services:
  www:
    hosts: [www.example.com]
    residency:
      by: { header: X-Jurisdiction }
      allow:
        eu: [us-east-1]
        EU: [us-east-1]
";
    let said = load(yaml).unwrap_err().to_string();
    assert!(said.contains("edge.yaml:9:9: `EU` is here twice"), "{said}");
    assert!(said.contains("edge.yaml:8:9: first here"), "{said}");
}

#[test]
fn yaml_that_is_none_is_told_with_its_place() {
    check_refused("regions: [", "edge.yaml:");
    check_refused("a: 1\na: 2\n", "edge.yaml:2:1: `a` appears twice");
    check_refused("--- {}\n--- {}\n", "a second YAML document");
    let deep = format!("a: {}{}", "[".repeat(100), "]".repeat(100));
    check_refused(&deep, "deeper than 64");
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
    check_refused(bomb, "aliases counted each time");
}

#[test]
fn anchors_and_merge_keys_are_resolved() {
    let yaml = "regions:
  us-east-1: &region { addresses: [192.0.2.1], weight: 7 }
  eu-west-1: { <<: *region, addresses: [192.0.2.2] }
services: { www: { hosts: [www.example.com] } }
";
    let plan = load(yaml).unwrap().plan;
    let region = plan.regions.of(plan.region("eu-west-1").unwrap());
    assert_eq!(
        (region.weight, region.addresses[0].to_string()),
        (7, "192.0.2.2".to_owned())
    );
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn of(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Self(folder)
    }

    fn load(&self) -> Result<Loaded, Problems> {
        config::load(&[PathBuf::from(self.0.path())], &environment)
    }
}

#[test]
fn a_folder_is_the_union_of_its_files_in_name_order() {
    let folder = Folder::of(&[
        (
            "10-regions.yaml",
            "regions: { us-east-1: { addresses: [192.0.2.1] } }\n",
        ),
        (
            "20-www.yml",
            "services: { www: { hosts: [www.example.com] } }\n",
        ),
        (
            "30-api.yaml",
            "services: { api: { hosts: [api.example.com] } }\nlisten: { dns: [\"127.0.0.1:5353\"] }\n",
        ),
        (".hidden.yaml", "nonsense: true\n"),
        ("notes.txt", "nonsense: true\n"),
    ]);
    let plan = folder.load().unwrap().plan;
    let names: Vec<&str> = plan
        .services
        .values()
        .map(|service| &*service.name)
        .collect();
    assert_eq!(names, ["www", "api"]);
}

#[test]
fn the_same_service_in_two_files_names_both_places() {
    let service = "services: { www: { hosts: [www.example.com] } }\n";
    let folder = Folder::of(&[
        (
            "a.yaml",
            "regions: { us-east-1: { addresses: [192.0.2.1] } }\nnode: { name: a }\n",
        ),
        ("b.yaml", service),
        ("c.yaml", &format!("{service}node: {{ name: b }}\n")),
    ]);
    let said = folder.load().unwrap_err().to_string();
    assert!(
        said.contains("c.yaml:1:13: `www` is in two files"),
        "{said}"
    );
    assert!(said.contains("b.yaml:1:13: first here"), "{said}");
    assert!(
        said.contains("c.yaml:2:9: `name` is in two files"),
        "{said}"
    );
}

#[test]
fn a_folder_without_files_and_a_file_that_is_none_are_named() {
    let said = Folder::of(&[]).load().unwrap_err().to_string();
    assert!(
        said.contains("there is no *.yaml or *.yml in this folder"),
        "{said}"
    );
    let missing = config::load(&[PathBuf::from("/no/such.yaml")], &environment).unwrap_err();
    assert!(
        missing.to_string().contains("/no/such.yaml: No such file"),
        "{missing}"
    );
    let folder = Folder::of(&[]);
    fs::write(folder.0.path().join("a.yaml"), b"a: \xff\n").unwrap();
    let said = folder.load().unwrap_err().to_string();
    assert!(
        said.contains("a.yaml:1:4: not UTF-8 from here on"),
        "{said}"
    );
}

#[test]
fn zones_hold_records_as_master_files_write_them() {
    let zone = |records: &str| {
        with(&format!(
            "zones: {{ example.com: {{ nameservers: {{ ns1: [192.0.2.53] }}, records: {{ {records} }} }} }}"
        ))
    };
    assert!(
        load(&zone(
            "a: { CNAME: \"@\" }, b: { DNAME: c.example.net. }, c: { TYPE65534: '\\# 1 ab' }"
        ))
        .is_ok()
    );
    check_refused(
        &zone("a: { CNAME: b, A: 192.0.2.1 }"),
        "a CNAME beside other records",
    );
    check_refused(
        &zone("a: { MX: mail }"),
        "`mail` is not the RDATA of MX: `mail` is not a number",
    );
    check_refused(&zone("a: { AA: 192.0.2.1 }"), "did you mean `A`?");
    check_refused(
        &zone("www: { A: 192.0.2.1 }"),
        "which has a A record here too",
    );
    check_refused(
        &zone("a.example.net.: { A: 192.0.2.1 }"),
        "lies outside zone `example.com`",
    );
    check_warned(&zone("lab: { NS: ns.lab }"), "has no glue");
    check_warned(
        &zone("lab: { NS: ns.example.net. }, x.lab: { A: 192.0.2.1 }"),
        "lies below the delegation",
    );
}

#[test]
fn what_a_zone_and_a_service_both_claim_is_told() {
    let two = |zones: &str| {
        format!(
            "regions: {{ us-east-1: {{ addresses: [192.0.2.1] }} }}
services: {{ www: {{ hosts: [www.example.com, app.lab.example.com] }}, api: {{ hosts: [api.example.com] }} }}
zones: {{ {zones} }}
"
        )
    };
    let zone = |records: &str| {
        two(&format!(
            "example.com: {{ nameservers: {{ ns1: [192.0.2.53] }}, records: {{ {records} }} }}"
        ))
    };
    check_refused(
        &zone("www: { service: api }"),
        "is steered by service `api` here",
    );
    check_refused(
        &zone("a: { A: 192.0.2.1 }, A: { TXT: x }"),
        "stand here and in line 3",
    );
    check_refused(
        &zone("\"@\": { SOA: \"a. b. 1 2 3 4 5\" }"),
        "is written under `soa`",
    );
    check_refused(&zone("a: { ttl: 5m }"), "needs record types");
    check_warned(
        &zone("a: { service: api, ttl: 5m }"),
        "has no effect on steered answers",
    );
    check_warned(
        &zone("lab: { NS: ns.example.net. }"),
        "only HTTP is steered",
    );
    check_refused(
        &two("example.com: {}, Example.com.: {}"),
        "`Example.com.` is here twice",
    );
    check_refused(
        &two("example.com: { soa: { rname: a@b.example } }"),
        "is a mailbox written as a name",
    );
    check_refused(&two("example.com: { records: www }"), "a map of names");
    check_refused(
        &zone("a: { TYPE41: '\\# 0' }"),
        "unknown record type `TYPE41`",
    );
}

#[test]
fn large_zones_compile_in_a_moment() {
    let records: String = (0..30_000)
        .map(|i| {
            format!(
                "      h{i}: {{ A: 10.{}.{}.{} }}\n",
                i >> 16,
                i >> 8 & 255,
                i & 255
            )
        })
        .collect();
    let zone = format!(
        "zones:\n  example.com:\n    nameservers: {{ ns1: [192.0.2.53] }}\n    records:\n{records}"
    );
    // Quadratic work would take minutes here, and the test's time-out would tell.
    let plan = load(&with(&zone)).unwrap().plan;
    assert_eq!(plan.zones[0].records.len(), 30_003);
}

#[test]
fn there_are_65_535_regions_and_no_more() {
    let regions = |count: usize| -> String {
        (0..count)
            .map(|i| format!("  r{i}: {{ addresses: [192.0.2.1] }}\n"))
            .collect()
    };
    let with = |count: usize| {
        let services = "services: { www: { hosts: [www.example.com], regions: [r65534] } }";
        load(&format!("regions:\n{}{services}", regions(count)))
    };
    // Quadratic work would take minutes here, and the test's time-out would tell.
    let most = with(65_535).unwrap();
    assert_eq!(most.plan.regions.ids().count(), 65_535);
    let unused = |w: &&config::Problem| w.message.contains("is in no service");
    assert_eq!(most.warnings.iter().filter(unused).count(), 65_534);
    let refused = with(65_536).unwrap_err().to_string();
    assert!(refused.contains("from 1 to 65535 regions are expected"));
    // Nor are they when that many warnings are printed.
    let printed = most.problems(most.warnings.clone()).as_warnings();
    assert_eq!(printed.matches("is in no service").count(), 65_534);
}

#[test]
fn there_are_65_535_services_and_no_more() {
    let with = |count: usize| {
        let services: String = (0..count)
            .map(|i| format!("  s{i}: {{ hosts: [s{i}.example.com] }}\n"))
            .collect();
        let regions = "regions: { near: { addresses: [192.0.2.1] } }";
        load(&format!("{regions}\nservices:\n{services}"))
    };
    assert_eq!(with(65_535).unwrap().plan.services.len(), 65_535);
    let refused = with(65_536).unwrap_err().to_string();
    assert!(refused.contains("from 1 to 65535 services are expected"));
}

#[test]
fn there_are_65_535_origins_of_all_regions_and_no_more() {
    let region = |name: usize, count: usize| {
        let origins = (0..count).map(|i| format!("'http://o{i}.r{name}.internal'"));
        let origins: Vec<String> = origins.collect();
        format!("  r{name}: {{ origins: [{}] }}\n", origins.join(", "))
    };
    let with = |last: usize| {
        let regions: String = (0..255).map(|name| region(name, 256)).collect();
        let services = "services: { www: { hosts: [www.example.com] } }";
        load(&format!(
            "regions:\n{regions}{}{services}",
            region(255, last)
        ))
    };
    assert_eq!(with(255).unwrap().plan.origins.len(), 65_535);
    let refused = with(256).unwrap_err().to_string();
    let expected = "edge.yaml:2:3: regions: at most 65535 origins are expected, of all of them";
    assert!(refused.contains(expected), "{refused:.300}");
}

#[test]
fn a_diff_names_what_changed() {
    let before = load(&with("zones: { example.com: {} }")).unwrap().plan;
    let after = load(
        "regions:\n  us-east-1: { addresses: [192.0.2.2] }\n  eu-west-1: { addresses: [192.0.2.3] }\nservices:\n  api: { hosts: [api.example.com] }\n",
    );
    let lines = config::diff(&before, &after.unwrap().plan).lines();
    assert_eq!(
        lines,
        [
            "region us-east-1 changed: addresses 192.0.2.1 → 192.0.2.2",
            "region eu-west-1 added",
            "service api added",
            "service www removed",
            "zone example.com. removed",
        ]
    );
    assert!(config::diff(&before, &before.clone()).lines().is_empty());
}

#[test]
fn a_diff_tells_which_keys_of_a_service_changed_and_nothing_that_may_be_secret() {
    let plan = |keys: &str| {
        let regions = "regions: { near: { addresses: [192.0.2.1] } }";
        let service = format!("www: {{ hosts: [www.example.com], {keys} }}");
        load(&format!("{regions}\nservices: {{ {service} }}\n"))
            .unwrap()
            .plan
    };
    let check = |before: &str, after: &str, told: &str| {
        let lines = config::diff(&plan(before), &plan(after)).lines();
        assert_eq!(lines, [format!("service www changed: {told}")]);
    };
    check(
        "dns: { ttl: 30s }",
        "dns: { ttl: 1m }, steering: { policy: geo }",
        "steering.policy latency → geo, dns.ttl 30s → 1m",
    );
    check(
        "guards: { min_regions: 1 }",
        "guards: { min_regions: 1 }, affinity: { by: cookie }",
        "affinity.by absent → cookie, affinity.ttl absent → 1h, affinity.drain absent → 10m",
    );
    check(
        "health: { path: '/health?key=s3cret' }",
        "health: { path: '/health?key=an0ther', interval: 5s }",
        "health.path, health.interval 10s → 5s",
    );
}

#[test]
fn the_schema_is_2020_12_and_refuses_unknown_keys() {
    let schema = config::schema();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(
        schema["properties"]["services"]["additionalProperties"]["required"][0],
        "hosts"
    );
}

proptest::proptest! {
    #[test]
    fn any_text_is_loaded_or_refused(text in "[ -~\\n]{0,200}") {
        let _ = load(&text);
    }

    #[test]
    fn any_damage_to_the_example_is_loaded_or_refused(at in 0_usize..8_000, byte in 0_u8..128) {
        let mut text = sample("example.yaml").into_bytes();
        if let Some(place) = text.get_mut(at) {
            *place = byte;
        }
        let _ = load(&String::from_utf8_lossy(&text));
    }
}

#[test]
fn headers_of_the_access_log_are_few_and_no_secrets() {
    let log = |keys: &str| with(&format!("access_log: {{ to: stdout, {keys} }}"));
    let many = |count: usize| {
        let names: Vec<String> = (0..count).map(|number| format!("X-{number}")).collect();
        log(&format!("request_headers: [{}]", names.join(", ")))
    };
    assert!(load(&many(32)).is_ok());
    check_refused(&many(33), "at most 32 headers are logged");
    check_refused(&log("response_headers: [X-A, x-a]"), "`x-a` appears twice");
    check_warned(
        &log("request_headers: [Cookie]"),
        "`Cookie` may bear a secret: its value is logged as REDACTED",
    );
}

#[test]
fn an_access_log_says_where_it_goes_and_how_much() {
    let log = |keys: &str| load(&with(&format!("access_log: {{ {keys} }}")));
    let plan = log("to: stdout").unwrap().plan;
    let shown = format!("{:?}", plan.access_log.unwrap());
    for part in ["Stdout", "Share(1.0)", "Redacted", "request_headers: []"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert!(load(&with("")).unwrap().plan.access_log.is_none());
    let refused = |keys: &str, says: &str| {
        let said = log(keys).unwrap_err().to_string();
        assert!(said.contains(says), "{said}");
    };
    refused("sample: 10%", "`to`");
    refused("to: stdout, sample: 101%", "101%");
    refused("to: stdout, query: redact", "did you mean `redacted`?");
    refused(
        "to: stdout, request_header: [A]",
        "did you mean `request_headers`?",
    );
    refused(
        "to: stdout, request_headers: ['a b']",
        "`a b` is not the name of a header",
    );
}

#[test]
fn the_proxy_protocol_is_spelled_as_it_is_read() {
    use meridian::config::plan::ProxyHeader;
    use meridian::proxy_protocol::Version;
    let listen = |keys: &str| load(&with(&format!("listen: {{ {keys} }}"))).unwrap();
    let read = |keys: &str| listen(keys).plan.listen.proxy_header;
    assert_eq!(read("trusted_proxies: [10.0.0.0/8]"), ProxyHeader::Optional);
    for (word, expected) in [
        ("off", ProxyHeader::Off),
        ("optional", ProxyHeader::Optional),
        ("required", ProxyHeader::Required),
    ] {
        let keys = format!("trusted_proxies: [10.0.0.0/8], proxy_protocol: {word}");
        assert_eq!(read(&keys), expected);
    }
    check_warned(
        &with("listen: { proxy_protocol: required }"),
        "`proxy_protocol` without `trusted_proxies`",
    );
    check_refused(
        &with("listen: { proxy_protocol: require }"),
        "did you mean `required`?",
    );
    let region = |version: &str| {
        with("").replace(
            "[192.0.2.1]",
            &format!("[192.0.2.1], proxy_protocol: {version}"),
        )
    };
    let wanted = |version: &str| {
        let plan = load(&region(version)).unwrap().plan;
        plan.regions.values().next().unwrap().proxy_protocol
    };
    assert_eq!(wanted("v1"), Some(Version::V1));
    assert_eq!(wanted("v2"), Some(Version::V2));
    check_refused(&region("v3"), "did you mean `v1`?");
}

#[test]
fn services_of_one_domain_are_followed_over_one_path() {
    let two = |one: &str, other: &str| {
        format!(
            "
regions: {{ us: {{ location: [38.95, -77.45], origins: ['http://10.1.0.1:80'] }} }}
services:
  one: {{ hosts: [one.example.com], consistency: {{ read_your_writes: true, domain: d{one} }} }}
  other: {{ hosts: [other.example.com], consistency: {{ read_your_writes: true, domain: d{other} }} }}
"
        )
    };
    let follow = |one: &str, other: &str| {
        let loaded = load(&two(one, other)).unwrap();
        let domains = loaded.plan.domains.values();
        domains
            .map(|domain| domain.follow.as_deref().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    assert_eq!(follow("", ""), [None]);
    for (one, other) in [
        (", follow: /a", ""),
        ("", ", follow: /a"),
        (", follow: /a", ", follow: /a"),
    ] {
        assert_eq!(follow(one, other), [Some("/a".to_owned())]);
    }
    check_refused(
        &two(", follow: /a", ", follow: /b"),
        "another service of domain `d` has another `follow`",
    );
    check_refused(&two(", follow: a", ""), "`a`");
}

#[test]
fn a_txt_record_fits_a_message_or_is_refused() {
    for (length, is_taken) in [(64_746, true), (64_747, false)] {
        let yaml = with(&format!(
            "zones: {{ example.com: {{ nameservers: {{ ns1: [192.0.2.1] }}, records: {{ '@': {{ TXT: '{}' }} }} }} }}",
            "x".repeat(length)
        ));
        let said = load(&yaml).err().map(|problems| problems.to_string());
        let is_refused = said
            .as_ref()
            .is_some_and(|said| said.contains("at most 65000"));
        assert_eq!(said.is_none(), is_taken, "{said:?}");
        assert_eq!(is_refused, !is_taken, "{said:?}");
    }
}
