//! Where writes go: to the home of their key, or to the primary and those that fail over for it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::collections::BTreeMap;

use support::{Edge, Origin, wait_until};

const HOST: &str = "api.example.com";

fn yaml(regions: &[(&str, &Origin)], writes: &str) -> String {
    let mut all = String::new();
    for (at, (name, origin)) in regions.iter().enumerate() {
        let url = origin.url();
        all += &format!("  {name}: {{ location: [50, {at}], origins: ['{url}'] }}\n");
    }
    format!(
        "listen: {{ https: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
regions:
{all}services:
  api:
    hosts: [{HOST}]
    steering: {{ policy: priority }}
    writes: {{ {writes} }}
    health: {{ interval: 200ms, recheck_interval: 100ms, timeout: 20s }}
"
    )
}

/// Where a write with these arguments goes.
fn written(edge: &Edge, path: &str, arguments: &[&str]) -> String {
    let arguments = [&["-d", "x"], arguments].concat();
    edge.curl(HOST, path, &arguments).body
}

fn by_header(edge: &Edge, key: &str) -> String {
    written(edge, "/", &["-H", &format!("X-Tenant: {key}")])
}

#[test]
fn a_key_of_every_kind_leads_writes_to_its_home_and_reads_do_not_go_by_it() {
    let (near, far) = (Origin::start("near"), Origin::start("far"));
    for (kind, path, argument) in [
        ("header: X-Tenant", "/", Some(["-H", "X-Tenant: KEY"])),
        ("cookie: tenant", "/", Some(["-b", "other=1; tenant=KEY"])),
        ("query: tenant", "/?a=b&tenant=KEY", None),
        ("path: 1", "/tenants/KEY/orders", None),
    ] {
        let homes = "homes: { acme: far, globex: near }";
        let writes = format!("to: home, key: {{ {kind} }}, {homes}");
        let edge = Edge::start(&yaml(&[("near", &near), ("far", &far)], &writes));
        let ask = |key: &str, more: &[&str]| {
            let told = argument.map(|words| words.map(|word| word.replace("KEY", key)));
            let words: Vec<&str> = told.iter().flatten().map(String::as_str).collect();
            let path = path.replace("KEY", key);
            edge.curl(HOST, &path, &[&words, more].concat()).body
        };
        assert_eq!(ask("acme", &["-d", "x"]), "far", "{kind}");
        assert_eq!(ask("globex", &["-d", "x"]), "near", "{kind}");
        assert_eq!(ask("acme", &[]), "near", "{kind}: a read");
        let mut seen = BTreeMap::new();
        for key in ["k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8", "k9", "k10"] {
            let home = ask(key, &["-d", "x"]);
            assert_eq!(ask(key, &["-X", "DELETE"]), home, "{kind}: {key}");
            *seen.entry(home).or_insert(0) += 1;
        }
        // All ten on one side: once in 512 for any hash, and the hash is always the same.
        assert_eq!(seen.len(), 2, "{kind}: {seen:?}");
    }
}

#[test]
fn adding_a_region_by_a_reload_moves_only_its_share_of_the_keys() {
    let (a, b, c) = (Origin::start("a"), Origin::start("b"), Origin::start("c"));
    let writes = "to: home, key: { header: X-Tenant }";
    let edge = Edge::start(&yaml(&[("a", &a), ("b", &b)], writes));
    let keys: Vec<String> = (0..60).map(|key| format!("tenant-{key}")).collect();
    let homes = || -> Vec<String> { keys.iter().map(|key| by_header(&edge, key)).collect() };
    let before = homes();
    edge.write(&yaml(&[("a", &a), ("b", &b), ("c", &c)], writes));
    let (status, told) = edge.admin("POST", "/api/v1/reload", "");
    assert_eq!(status, 200, "{told}");
    let after = homes();
    let moved: Vec<_> = before
        .iter()
        .zip(&after)
        .filter(|(old, new)| old != new)
        .collect();
    assert!(moved.iter().all(|(_, new)| *new == "c"), "{moved:?}");
    // A third of 60, four standard deviations: 15.
    assert!((5..=35).contains(&moved.len()), "{}", moved.len());
}

#[test]
fn a_primary_fails_over_in_the_order_of_the_regions_and_takes_its_writes_back() {
    let all = ["a", "b", "c"].map(Origin::start);
    let [a, b, c] = &all;
    let regions = [("a", a), ("b", b), ("c", c)];
    let edge = Edge::start(&yaml(&regions, "to: { primary: b }"));
    let goes_to = |name: &str| wait_until(|| written(&edge, "/", &[]) == name);
    assert_eq!(written(&edge, "/", &[]), "b");
    assert_eq!(
        edge.curl(HOST, "/", &[]).body,
        "a",
        "reads go by the policy"
    );
    b.set_healthy(false);
    assert!(goes_to("a"));
    a.set_healthy(false);
    assert!(goes_to("c"));
    b.set_healthy(true);
    assert!(goes_to("b"));
}
