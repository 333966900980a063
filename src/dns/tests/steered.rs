//! What services answer at their names.

use std::sync::Arc;

use super::exchange::{
    SOA, arrival, check, exchange_over, extended_error, extended_text, live, live_with, query,
    show, with_opt,
};
use crate::dns::testing::{plan, snapshot};
use crate::dns::{Live, Outcome, Pace, Signing, Transport, respond};
use crate::health::Health;
use crate::ids::{Id, RegionId, ServiceId};
use crate::steering::Admin;

#[test]
fn steered_names_answer_the_addresses_of_the_region() {
    let live = live();
    check(
        &live,
        &query("api.example.com", "A"),
        "0 aa rd\nan api.example.com. 30 A 203.0.113.10",
    );
    check(
        &live,
        &query("x.y.api.example.com", "AAAA"),
        "0 aa rd\nan x.y.api.example.com. 30 AAAA 2001:db8:1::10",
    );
    // At the apex, beside SOA, NS, MX and TXT; and behind a CNAME.
    check(
        &live,
        &query("example.com", "A"),
        "0 aa rd\nan example.com. 30 A 203.0.113.10",
    );
    check(
        &live,
        &query("example.com", "TXT"),
        "0 aa rd\nan example.com. 3600 TXT v=spf1 -all",
    );
    check(
        &live,
        &query("www.example.com", "A"),
        "0 aa rd
         an www.example.com. 300 CNAME api.example.com.
         an api.example.com. 30 A 203.0.113.10",
    );
    check(
        &live,
        &query("api.example.com", "TXT"),
        &format!("0 aa rd\n{SOA}"),
    );
}

#[test]
fn https_names_the_port_and_hints_the_addresses() {
    // RFC 9460 §9, §7.
    check(
        &live(),
        &query("api.example.com", "HTTPS"),
        "0 aa rd
         an api.example.com. 30 HTTPS 1 . alpn=h2,http/1.1, port=8443 ipv4hint=203.0.113.10, ipv6hint=2001:db8:1::10,
         an api.example.com. 30 HTTPS 2 two._regions.example.com. alpn=h2,http/1.1, port=8443 ipv4hint=203.0.113.20,
         an api.example.com. 30 HTTPS 3 three._regions.example.com. alpn=h2,http/1.1, port=8443 ipv6hint=2001:db8:3::30,",
    );
}

#[test]
fn a_region_without_the_type_is_passed_over() {
    let first_down = live_with(|member| {
        if crate::ids::Id::index(member.region) == 0 {
            member.health = Health::Unhealthy;
        }
    });
    check(
        &first_down,
        &query("api.example.com", "A"),
        "0 aa rd\nan api.example.com. 30 A 203.0.113.20",
    );
    check(
        &first_down,
        &query("api.example.com", "AAAA"),
        "0 aa rd\nan api.example.com. 30 AAAA 2001:db8:3::30",
    );
}

#[test]
fn who_asks_for_a_type_that_no_able_region_has_is_answered_as_if_there_were_no_others() {
    let third_alone = live_with(|member| {
        if crate::ids::Id::index(member.region) < 2 {
            member.health = Health::Unhealthy;
        }
    });
    check(
        &third_alone,
        &query("api.example.com", "AAAA"),
        "0 aa rd\nan api.example.com. 30 AAAA 2001:db8:3::30",
    );
    check(
        &third_alone,
        &query("api.example.com", "A"),
        "0 aa rd\nan api.example.com. 30 A 203.0.113.10",
    );
    let asks = with_opt(query("api.example.com", "A"), 1232, 0, &[]);
    let open = exchange_over(&third_alone, &asks, Transport::Udp).unwrap();
    assert_eq!(extended_error(&open), Some(3));
    assert_eq!(
        extended_text(&open),
        "when_none_healthy: all (no region with this type is able)"
    );
    // RFC 8482 §4.1: any RRset will do for ANY, so that it is one of a region that is able.
    check(
        &third_alone,
        &query("api.example.com", "ANY"),
        "0 aa rd\nan api.example.com. 30 AAAA 2001:db8:3::30",
    );
    // Its hints are of the region that is able; the address of the owner's name is asked for in any case.
    check(
        &third_alone,
        &query("api.example.com", "HTTPS"),
        "0 aa rd
         an api.example.com. 30 HTTPS 1 . alpn=h2,http/1.1, port=8443 ipv6hint=2001:db8:3::30,",
    );
    // Where nobody is to fail open, nobody does.
    check(
        &third_alone,
        &query("strict.example.com", "A"),
        &format!("0 aa rd\n{SOA}"),
    );
}

#[test]
fn a_drained_region_comes_back_for_a_type_after_the_unhealthy_ones() {
    let first_drained = |second: Health| {
        live_with(move |member| match crate::ids::Id::index(member.region) {
            0 => member.admin = Admin::Drained,
            1 => member.health = second,
            _ => {}
        })
    };
    for (second, answer) in [
        (Health::Healthy, "203.0.113.20"),
        (Health::Unhealthy, "203.0.113.20"),
    ] {
        check(
            &first_drained(second),
            &query("api.example.com", "A"),
            &format!("0 aa rd\nan api.example.com. 30 A {answer}"),
        );
    }
    let both_drained = live_with(|member| {
        if crate::ids::Id::index(member.region) < 2 {
            member.admin = Admin::Drained;
        }
    });
    check(
        &both_drained,
        &query("api.example.com", "A"),
        "0 aa rd\nan api.example.com. 30 A 203.0.113.10",
    );
}

#[test]
fn a_refusal_at_the_end_of_a_chain_takes_back_that_a_region_answered() {
    let mut plan = plan();
    let first = plan.regions.of_mut(Id::at(0));
    first.addresses.clear();
    first.alias = Some("strict.example.com.".parse().unwrap());
    let strict: ServiceId = Id::at(2);
    let snapshot = snapshot(Arc::new(plan), |service, member| {
        if service == strict {
            member.health = Health::Unhealthy;
        }
    });
    let live = Live::compile(Arc::new(snapshot), &Signing::default(), None);
    let asks = query("api.example.com", "A");
    check(&live, &asks, "2 rd");
    let mut out = Vec::new();
    let arrival = arrival(Transport::Udp, 0);
    let outcome = respond(&live, &asks, arrival, || Pace::Whole, &mut out);
    assert!(matches!(outcome, Outcome::Answered { steered: None, .. }));
}

#[test]
fn where_only_who_publishes_nothing_is_able_it_is_the_type_that_nobody_has() {
    let mut plan = plan();
    let third = plan.regions.of_mut(RegionId::at(2));
    (third.addresses, third.alias) = (Vec::new(), None);
    let snapshot = snapshot(Arc::new(plan), |_, member| {
        if Id::index(member.region) < 2 {
            member.health = Health::Unhealthy;
        }
    });
    let live = Live::compile(Arc::new(snapshot), &Signing::default(), None);
    let asks = with_opt(query("api.example.com", "A"), 1232, 0, &[]);
    let open = exchange_over(&live, &asks, Transport::Udp).unwrap();
    assert_eq!(
        extended_text(&open),
        "when_none_healthy: all (no region with this type is able)"
    );
}

#[test]
fn when_nobody_is_able_it_fails_open_or_refuses() {
    let down = live_with(|member| member.health = Health::Unhealthy);
    let asks = |name| with_opt(query(name, "A"), 1232, 0, &[]);
    let open = exchange_over(&down, &asks("api.example.com"), Transport::Udp).unwrap();
    assert_eq!(show(&open).lines().next(), Some("0 aa rd"));
    // RFC 8914 §4.4, with the rule that decided.
    assert_eq!(extended_error(&open), Some(3));
    assert_eq!(
        extended_text(&open),
        "when_none_healthy: all (no region is able)"
    );
    let refused = exchange_over(&down, &asks("strict.example.com"), Transport::Udp).unwrap();
    assert_eq!(show(&refused), "2 rd");
    assert_eq!(extended_error(&refused), Some(0));
    assert_eq!(
        extended_text(&refused),
        "when_none_healthy: none (no region is able)"
    );
}

#[test]
fn a_weighted_service_draws_for_every_query() {
    let live = live();
    let mut seen = std::collections::BTreeSet::new();
    for draw in 0..64 {
        let mut out = Vec::new();
        let asks = query("pick.example.com", "A");
        let arrival = arrival(Transport::Udp, draw << 40);
        respond(&live, &asks, arrival, || Pace::Whole, &mut out);
        seen.insert(out[out.len() - 4..].to_vec());
    }
    assert_eq!(seen.len(), 2, "both regions that have the type");
}

#[test]
fn addresses_rotate_with_the_draw() {
    let live = live();
    let mut seen = std::collections::BTreeSet::new();
    for draw in 0..8 {
        let mut out = Vec::new();
        let asks = query("api.example.com", "A");
        let arrival = arrival(Transport::Udp, draw);
        respond(&live, &asks, arrival, || Pace::Whole, &mut out);
        seen.insert(out[out.len() - 4..].to_vec());
    }
    assert_eq!(seen.len(), 2);
}
