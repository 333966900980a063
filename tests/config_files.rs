//! Configurations of many files, zones and entries, and what a reload of them changes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod config_support;

use std::fs;
use std::path::PathBuf;

use config_support::*;
use meridian::config::{self, Loaded, Problems};

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
fn of_a_configuration_of_which_a_file_cannot_be_read_nothing_else_is_guessed() {
    let services = "services: { www: { hosts: [www.example.com], regions: [eu] } }\n";
    for (broken, expected) in [
        ("regions:\n  eu: { addresses: [192.0.2.10]\n", "b.yaml:"),
        ("regions:\n\teu: {}\n", "b.yaml:2:"),
    ] {
        let folder = Folder::of(&[("a.yaml", services), ("b.yaml", broken)]);
        let said = folder.load().unwrap_err().to_string();
        assert!(
            said.contains(expected) && said.contains("not YAML"),
            "{said}"
        );
        assert!(!said.contains("a.yaml"), "{said}");
    }
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
    assert!(
        said.contains("c.yaml: a link to nowhere.yaml, where nothing is"),
        "{said}"
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
    check(
        "residency: { by: { header: X-Home }, allow: { DE: [near] } }, retries: { budget: 7% }",
        "residency: { by: client_country, allow: { DE: [near] } }, retries: { budget: 99.9% }",
        "residency.by header x-home → client_country, retries.budget 7% → 99.9%",
    );
}

#[test]
fn a_diff_tells_where_a_region_was_and_is() {
    let plan = |keys: &str| {
        let yaml = format!(
            "regions: {{ near: {{ addresses: [192.0.2.1], {keys} }} }}\nservices: {{ www: {{ hosts: [www.example.com] }} }}"
        );
        load(&yaml).unwrap().plan
    };
    let before = plan("location: [38.95, -77.45]");
    let after = plan("location: [38.951, -77.45], proxy_protocol: v2");
    let told = "region near changed: location [38.95, -77.45] → [38.951, -77.45], proxy_protocol absent → v2";
    assert_eq!(config::diff(&before, &after).lines(), [told]);
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
