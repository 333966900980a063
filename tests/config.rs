//! The samples under `config/`, and what a wrong configuration is told.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod config_support;

use std::collections::BTreeSet;

use config_support::*;
use meridian::config;

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
