//! Where zones end: delegations at wildcards, and what a zone says of one that lies in it, with both here.

use std::sync::Arc;

use super::exchange::{SOA, check, query};
use crate::config::plan::{Zone, ZoneRecord};
use crate::dns::testing::{a, name, ns, plan, record, snapshot, soa, txt};
use crate::dns::{Live, Signing};

const INNER_SOA: &str = "ns inner.example.com. 60 SOA ns1.inner.example.com. hostmaster.inner.example.com. 7 7200 3600 1209600 60";

fn zone(origin: &str, records: impl IntoIterator<Item = ZoneRecord>) -> Zone {
    let soa = record(origin, 3_600, soa(origin));
    Zone {
        origin: name(origin),
        records: std::iter::once(soa).chain(records).collect(),
        steered: Vec::new(),
        dnssec: None,
    }
}

fn live(zones: Vec<Zone>) -> Live {
    let mut plan = plan();
    plan.zones = zones;
    let snapshot = snapshot(Arc::new(plan), |_, _| {});
    Live::compile(Arc::new(snapshot), &Signing::default(), None)
}

#[test]
fn a_wildcard_s_delegation_is_of_what_lies_below_the_asterisk() {
    let cut = "*.cut.example.com.";
    let live = live(vec![zone(
        "example.com.",
        [
            record(cut, 600, ns("ns.*.cut.example.com.")),
            record(cut, 600, txt("own")),
            record("ns.*.cut.example.com.", 60, a("192.0.2.9")),
            record("hidden.*.cut.example.com.", 60, txt("occluded")),
        ],
    )]);
    let referral = "0 rd
        ns *.cut.example.com. 600 NS ns.*.cut.example.com.
        ar ns.*.cut.example.com. 60 A 192.0.2.9";
    // RFC 1034 §4.2.1: the name itself and what lies below it belong to another zone.
    for delegated in ["*", "x.*", "hidden.*", "ns.*"] {
        let asked = format!("{delegated}.cut.example.com");
        check(&live, &query(&asked, "TXT"), referral);
    }
    check(
        &live,
        &query("*.cut.example.com", "DS"),
        &format!("0 aa rd\n{SOA}"),
    );
    // RFC 4592 §4.2: names that the wildcard stands for are answered from its records, NS among them.
    check(
        &live,
        &query("x.cut.example.com", "TXT"),
        "0 aa rd\nan x.cut.example.com. 600 TXT own",
    );
    check(
        &live,
        &query("x.cut.example.com", "NS"),
        "0 aa rd
         an x.cut.example.com. 600 NS ns.*.cut.example.com.
         ar ns.*.cut.example.com. 60 A 192.0.2.9",
    );
    check(
        &live,
        &query("x.cut.example.com", "A"),
        &format!("0 aa rd\n{SOA}"),
    );
}

/// What is said of DS, and of another type, at the apex of a zone within one that has these records.
#[track_caller]
fn check_ds(above: impl IntoIterator<Item = ZoneRecord>, expected: &str) {
    let inner = "inner.example.com.";
    let live = live(vec![zone("example.com.", above), zone(inner, [])]);
    check(&live, &query(inner, "DS"), expected);
    check(
        &live,
        &query(inner, "TXT"),
        &format!("0 aa rd\n{INNER_SOA}"),
    );
    // RFC 4035 §3.1.4.1: of names within the inner zone the zone above says nothing.
    check(
        &live,
        &query("x.inner.example.com", "DS"),
        &format!("3 aa rd\n{INNER_SOA}"),
    );
}

#[test]
fn ds_at_an_apex_is_answered_by_the_zone_above() {
    let inner = "inner.example.com.";
    // RFC 4035 §3.1.4.1, whether it delegates the zone or not.
    check_ds(
        [record(inner, 60, ns("ns.example.net."))],
        &format!("0 aa rd\n{SOA}"),
    );
    check_ds(
        [record(inner, 60, txt("no delegation"))],
        &format!("0 aa rd\n{SOA}"),
    );
    // RFC 8020: with names below it, it exists; without, it does not.
    check_ds(
        [record("ns1.inner.example.com.", 60, a("192.0.2.9"))],
        &format!("0 aa rd\n{SOA}"),
    );
    check_ds([], &format!("3 aa rd\n{SOA}"));
    // RFC 4592 §3.3.1.
    check_ds(
        [record("*.example.com.", 60, txt("any"))],
        &format!("0 aa rd\n{SOA}"),
    );
}

#[test]
fn names_between_a_zone_and_one_within_it_exist() {
    let any = || record("*.example.com.", 60, txt("any"));
    let delegation = record("gtm.eu.example.com.", 60, ns("ns.example.net."));
    // RFC 4592 §2.2.2: whether the zone delegates the other or does not know of it.
    for above in [vec![any(), delegation], vec![any()]] {
        let inner = zone("gtm.eu.example.com.", []);
        let live = live(vec![inner, zone("example.com.", above)]);
        check(
            &live,
            &query("eu.example.com", "TXT"),
            &format!("0 aa rd\n{SOA}"),
        );
        check(
            &live,
            &query("x.eu.example.com", "TXT"),
            &format!("3 aa rd\n{SOA}"),
        );
        check(
            &live,
            &query("x.us.example.com", "TXT"),
            "0 aa rd\nan x.us.example.com. 60 TXT any",
        );
    }
}

#[test]
fn ds_below_a_delegation_of_the_zone_above_is_referred() {
    let cut = record("cut.example.com.", 60, ns("ns.example.net."));
    let deep = "deep.cut.example.com.";
    let live = live(vec![zone("example.com.", [cut]), zone(deep, [])]);
    check(
        &live,
        &query(deep, "DS"),
        "0 rd\nns cut.example.com. 60 NS ns.example.net.",
    );
}
