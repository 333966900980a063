//! What steered names answer beyond addresses: HTTPS records that let a client fail over by itself, and
//! regions that are given by the host name of a load balancer.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::net::TcpListener;

use meridian::config::load_text;
use support::{Edge, meridian, run, wait_until};

/// Three regions by priority, whose health checks connect to `port`. Nobody listens at the third.
fn yaml(port: u16) -> String {
    format!(
        "listen: {{ dns: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
regions:
  near: {{ addresses: [127.0.11.1, '::1'] }}
  far.away: {{ addresses: [127.0.12.1] }}
  down: {{ addresses: [127.0.13.1] }}
  cloud: {{ addresses: [LB.example.net] }}
services:
  www:
    hosts: [www.example.com, '*.www.example.com']
    regions: [near, far.away, down]
    steering: {{ policy: priority }}
    health: {{ port: {port}, interval: 1s, recheck_interval: 100ms, failure_threshold: 2, min_healthy: 1 }}
  mixed:
    hosts: [mixed.example.com, '*.mixed.example.com']
    regions: [near, cloud]
    steering: {{ policy: priority, overrides: [ {{ network: 203.0.113.0/24, prefer: [cloud] }} ] }}
    health: {{ failure_threshold: 10, recheck_interval: 10s }}  # nobody is there
  balanced: {{ hosts: [balanced.example.com], regions: [cloud] }}
  inside: {{ hosts: [inside.example.com], regions: [here] }}
zones:
  example.com:
    nameservers: {{ ns1: [192.0.2.53] }}
    records:
      lb: {{ A: [192.0.2.80], TXT: [balancer] }}
      short: {{ CNAME: balanced }}
"
    )
    .replace("  cloud:", "  here: { addresses: [lb.example.com] }\n  cloud:")
}

/// An address of loopback at which a region's health check finds somebody.
fn listener(address: &str, port: u16) -> TcpListener {
    TcpListener::bind((address, port)).unwrap()
}

fn start() -> (Edge, TcpListener, TcpListener) {
    let near = listener("127.0.11.1", 0);
    let port = near.local_addr().unwrap().port();
    let far = listener("127.0.12.1", port);
    (Edge::start(&yaml(port)), near, far)
}

/// What kdig prints of the answer section.
fn answer(edge: &Edge, words: &str) -> Vec<String> {
    let said = edge.kdig(&format!("{words} +noall +answer"));
    let lines = said
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let mut lines: Vec<String> = lines.filter(|line| !line.is_empty()).collect();
    lines.sort();
    lines
}

#[test]
fn https_records_name_the_port_that_was_bound_before_and_after_a_reload() {
    let edge = Edge::start(
        "listen: { dns: ['127.0.0.1:0'], https: ['127.0.0.1:0'], admin: '127.0.0.1:0' }
regions: { near: { addresses: [127.0.11.1] } }
services: { www: { hosts: [www.example.com] } }
zones: { example.com: { nameservers: { ns1: [192.0.2.53] } } }
",
    );
    let port = format!(" port={} ", edge.address("https").port());
    let said = || answer(&edge, "www.example.com HTTPS");
    assert!(said()[0].contains(&port), "{:?}", said());
    let (code, told) = edge.admin("POST", "/api/v1/reload", "");
    assert_eq!(
        (code, &told["changes"]),
        (200, &serde_json::json!([])),
        "{told}"
    );
    assert!(said()[0].contains(&port), "{:?}", said());
}

#[test]
fn https_records_say_where_to_go_when_the_first_region_fails() {
    let (edge, near, _far) = start();
    // RFC 9460 §2.4.1: clients try the lowest priority first. What is down is not offered.
    let both = [
        "www.example.com. 30 IN HTTPS 1 . alpn=h2,http/1.1 ipv4hint=127.0.11.1 ipv6hint=::1",
        "www.example.com. 30 IN HTTPS 2 far.away._regions.example.com. alpn=h2,http/1.1 ipv4hint=127.0.12.1",
    ];
    assert!(
        wait_until(|| answer(&edge, "www.example.com HTTPS") == both),
        "{:?}",
        answer(&edge, "www.example.com HTTPS")
    );
    // Where they lead to has the region's addresses, and nothing else.
    assert_eq!(
        answer(&edge, "far.away._regions.example.com A"),
        ["far.away._regions.example.com. 30 IN A 127.0.12.1"]
    );
    assert_eq!(
        answer(&edge, "near._regions.example.com AAAA"),
        ["near._regions.example.com. 30 IN AAAA ::1"]
    );
    assert!(
        edge.kdig("far.away._regions.example.com AAAA")
            .contains("status: NOERROR")
    );
    // A name made by a wildcard leads there too.
    let tenant = answer(&edge, "tenant.www.example.com HTTPS");
    assert!(
        tenant[1].contains(" 2 far.away._regions.example.com. "),
        "{tenant:?}"
    );

    drop(near);
    let next = "HTTPS 1 . alpn=h2,http/1.1 ipv4hint=127.0.12.1";
    assert!(
        wait_until(
            || matches!(&answer(&edge, "www.example.com HTTPS")[..], [one] if one.contains(next))
        ),
        "{:?}",
        answer(&edge, "www.example.com HTTPS")
    );
}

#[test]
fn a_region_given_by_host_name_is_a_cname_for_every_type() {
    let (edge, _near, _far) = start();
    let cname = "balanced.example.com. 30 IN CNAME lb.example.net.";
    // RFC 1034 §3.6.2: the name is another name, whatever is asked for.
    for rtype in ["A", "AAAA", "HTTPS", "TXT", "CNAME", "ANY"] {
        let said = answer(&edge, &format!("balanced.example.com {rtype}"));
        assert_eq!(said, [cname], "{rtype}");
    }
    // A chain that leads to it goes on with it.
    let chain = answer(&edge, "short.example.com A");
    assert_eq!(
        chain,
        [
            cname,
            "short.example.com. 3600 IN CNAME balanced.example.com."
        ]
    );
    // A target that is served here is followed.
    assert_eq!(
        answer(&edge, "inside.example.com TXT"),
        [
            "inside.example.com. 30 IN CNAME lb.example.com.",
            "lb.example.com. 3600 IN TXT \"balancer\"",
        ]
    );
}

#[test]
fn by_name_or_by_address_is_the_client_s_region_s_affair() {
    let (edge, _near, _far) = start();
    let here = "203.0.113.0/24";
    let ask = |rtype: &str, subnet: &str| {
        answer(
            &edge,
            &format!("mixed.example.com {rtype} +subnet={subnet}"),
        )
    };
    let cname = ["mixed.example.com. 30 IN CNAME lb.example.net."];
    // Nobody is at either, so that it fails open once both have been looked at; before, the other may seem able.
    let is_unhealthy = |region: &serde_json::Value| {
        let mut services = region["services"].as_array().unwrap().iter();
        let mixed = services.find(|service| service["name"] == "mixed");
        mixed.is_none_or(|mixed| mixed["state"] == "unhealthy")
    };
    assert!(wait_until(|| {
        let status = edge.admin("GET", "/api/v1/status", "").1;
        status["regions"]
            .as_array()
            .unwrap()
            .iter()
            .all(is_unhealthy)
    }));
    for rtype in ["A", "AAAA", "HTTPS", "TXT"] {
        assert_eq!(ask(rtype, here), cname, "{rtype}");
    }
    let there = "198.51.100.0/24";
    assert_eq!(ask("A", there), ["mixed.example.com. 30 IN A 127.0.11.1"]);
    assert!(ask("TXT", there).is_empty());
    // An HTTPS client of the other region finds the load balancer behind it.
    let https = ask("HTTPS", there);
    assert_eq!(
        https[1],
        "mixed.example.com. 30 IN HTTPS 2 lb.example.net. alpn=h2,http/1.1"
    );
    // That a client gets something else than others do is true of its network alone.
    let said = edge.kdig(&format!("mixed.example.com TXT +subnet={there}"));
    assert!(
        said.contains("CLIENT-SUBNET") && !said.contains("198.51.100.0/24/0"),
        "{said}"
    );
    let path = "/api/v1/explain?name=mixed.example.com&client=203.0.113.9";
    let (_, explained) = edge.admin("GET", path, "");
    assert_eq!(explained["decision"][0], "cloud", "{explained}");
}

#[test]
fn a_host_name_stands_alone() {
    let config = |regions: &str, records: &str| {
        format!(
            "regions: {{ cloud: {{ addresses: [{regions}] }} }}
services: {{ www: {{ hosts: [www.example.com] }} }}
zones:
  example.com:
    nameservers: {{ ns1: [192.0.2.53] }}
    records: {{ {records} }}
"
        )
    };
    let check = |regions: &str, records: &str, expected: &str| {
        let loaded = load_text("edge.yaml", &config(regions, records), &|_| None);
        let said = loaded.map_or_else(|problems| problems.to_string(), |_| "fine".to_owned());
        assert!(said.contains(expected), "no `{expected}` in\n{said}");
    };
    check(
        "lb.example.net, 192.0.2.1",
        "",
        "a region has addresses or one host name",
    );
    check(
        "lb.example.net, lc.example.net",
        "",
        "a region has addresses or one host name",
    );
    check("192.0.2.300", "", "neither an IP address nor a host name");
    check("balancer", "", "neither an IP address nor a host name");
    check(
        "lb.example.net",
        "www: { TXT: [text] }",
        "a CNAME stands alone (RFC 1034 §3.6.2)",
    );
    check(
        "lb.example.net",
        "'@': { service: www }",
        "example.com. has this ",
    );
    check("lb.example.net", "", "fine");
}

#[test]
fn the_ttl_shrinks_while_a_region_may_soon_flip_and_explain_says_it() {
    let near = listener("127.0.11.1", 0);
    let port = near.local_addr().unwrap().port();
    let _far = listener("127.0.12.1", port);
    // Sixty failures to go, one a second: less than a minute from the first one on.
    let edge = Edge::start(
        &yaml(port)
            .replace(
                "recheck_interval: 100ms, failure_threshold: 2",
                "recheck_interval: 1s, failure_threshold: 60",
            )
            .replace(
                "regions: [near, far.away, down]",
                "regions: [near, far.away]\n    dns: { ttl: 2m, ttl_min: 10s }",
            ),
    );
    let in_answer = || -> u32 {
        let lines = answer(&edge, "www.example.com A");
        lines[0].split(' ').nth(1).unwrap().parse().unwrap()
    };
    let in_explain = || -> u32 {
        let words = [
            "explain",
            "www.example.com",
            "--client",
            "192.0.2.1",
            "--json",
            "--admin",
        ];
        let admin = format!("http://{}", edge.address("admin"));
        let said = run(meridian().args(words).arg(admin)).stdout;
        let said: serde_json::Value = serde_json::from_slice(&said).unwrap();
        u32::try_from(said["ttl"].as_u64().unwrap()).unwrap()
    };
    assert!(wait_until(|| (in_answer(), in_explain()) == (120, 120)));
    drop(near);
    // From here on it falls second by second, so that what is asked first is never less than what is asked next.
    assert!(wait_until(|| in_answer() < 60));
    let (first, then, last) = (in_answer(), in_explain(), in_answer());
    assert!(
        60 > first && first >= then && then >= last && last >= 10,
        "{first}, {then}, {last}"
    );
}
