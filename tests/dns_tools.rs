//! What `dig` and `kdig` make of the answers, over real sockets.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop loudly"
)]

mod dns_support;

use dns_support::{Server, live};
use meridian::health::Health;
use std::sync::Arc;

#[track_caller]
fn check(server: &Server, words: &str, expected: &[&str], absent: &[&str]) {
    for tool in ["kdig", "dig"] {
        let answer = server.ask(tool, words);
        // Both tools separate columns as they please.
        let squeezed: Vec<String> = answer
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        let squeezed = squeezed.join("\n");
        for text in expected {
            assert!(
                squeezed.contains(text),
                "{tool} {words}: no `{text}` in\n{answer}"
            );
        }
        for text in absent {
            assert!(
                !squeezed.contains(text),
                "{tool} {words}: `{text}` in\n{answer}"
            );
        }
        assert!(
            !squeezed.to_lowercase().contains("warning"),
            "{tool} {words}:\n{answer}"
        );
        assert!(!squeezed.contains("malformed"), "{tool} {words}:\n{answer}");
    }
}

#[test]
fn addresses_and_https_of_a_steered_name() {
    let server = Server::start("127.0.0.1:0");
    check(
        &server,
        "api.example.com A +norec",
        &[
            "status: NOERROR",
            "api.example.com. 30 IN A 203.0.113.1",
            " aa",
        ],
        &[" ra"],
    );
    check(
        &server,
        "api.example.com AAAA +norec",
        &["api.example.com. 30 IN AAAA 2001:db8:1::10"],
        &[],
    );
    check(
        &server,
        "api.example.com HTTPS +norec",
        &[
            "IN HTTPS 1 . alpn=",
            "h2,http/1.1",
            "port=8443",
            "ipv4hint=203.0.113.1",
            "ipv6hint=2001:db8:1::10",
        ],
        &[],
    );
    check(
        &server,
        "+tcp api.example.com A +norec",
        &["30 IN A 203.0.113.1"],
        &[],
    );
}

#[test]
fn a_new_snapshot_is_answered_at_once() {
    let server = Server::start("127.0.0.1:0");
    server.live.store(Arc::new(live(|member| {
        if meridian::ids::Id::index(member.region) == 0 {
            member.health = Health::Unhealthy;
        }
    })));
    check(
        &server,
        "api.example.com A +norec",
        &["30 IN A 203.0.113.20"],
        &[],
    );
}

#[test]
fn a_subnet_is_echoed_with_its_scope() {
    let server = Server::start("127.0.0.1:0");
    check(
        &server,
        "mail.example.com A +norec +subnet=198.51.100.0/24",
        &["198.51.100.0/24/0"],
        &[],
    );
    let opted_out = server.ask("dig", "mail.example.com A +norec +subnet=0");
    assert!(opted_out.contains("/0/0"), "{opted_out}");
    check(
        &server,
        "mail.example.com A +norec",
        &["NOERROR"],
        &["SUBNET"],
    );
}

#[test]
fn denials_carry_the_soa() {
    let server = Server::start("127.0.0.1:0");
    let soa =
        "example.com. 60 IN SOA ns1.example.com. hostmaster.example.com. 7 7200 3600 1209600 60";
    check(
        &server,
        "nothing.example.com A +norec",
        &["status: NXDOMAIN", soa],
        &[],
    );
    check(
        &server,
        "mail.example.com TXT +norec",
        &["status: NOERROR", soa],
        &[],
    );
}

#[test]
fn wildcards_chains_and_delegations() {
    let server = Server::start("127.0.0.1:0");
    check(
        &server,
        "x.wild.example.com A +norec",
        &["x.wild.example.com. 300 IN A 192.0.2.77"],
        &[],
    );
    check(
        &server,
        "www.example.com A +norec",
        &[
            "www.example.com. 300 IN CNAME api.example.com.",
            "api.example.com. 30 IN A 203.0.113.1",
        ],
        &[],
    );
    check(
        &server,
        "host.old.example.com A +norec",
        &[
            "old.example.com. 600 IN DNAME newer.example.com.",
            "host.newer.example.com. 600 IN A 192.0.2.88",
        ],
        &[],
    );
    check(
        &server,
        "below.sub.example.com A +norec",
        &[
            "sub.example.com. 3600 IN NS ns.sub.example.com.",
            "ns.sub.example.com. 3600 IN A 192.0.2.99",
        ],
        &[" aa"],
    );
}

#[test]
fn what_does_not_fit_is_asked_again_over_tcp() {
    let server = Server::start("127.0.0.1:0");
    let cut = server.ask("dig", "many.example.com TXT +norec +ignore +bufsize=512");
    assert!(cut.contains(" tc") && cut.contains("ANSWER: 0"), "{cut}");
    let whole = server.ask("dig", "many.example.com TXT +norec");
    assert_eq!(
        whole
            .lines()
            .filter(|line| line.contains("IN\tTXT\t"))
            .count(),
        8,
        "{whole}"
    );
}

#[test]
fn refusals_say_why() {
    let server = Server::start("127.0.0.1:0");
    let refused = server.ask("dig", "www.example.net A +norec");
    assert!(refused.contains("status: REFUSED"), "{refused}");
    for (words, why) in [
        (
            "www.example.net A",
            "20 (Not Authoritative): (no zone here has the name)",
        ),
        (
            "example.com A -c HS",
            "20 (Not Authoritative): (no other class than IN has data)",
        ),
        (
            "example.com TXT -c CH",
            "20 (Not Authoritative): (of class CH only this server's names are told)",
        ),
        ("example.com TYPE128", "30: (NXNAME only marks denials)"),
    ] {
        let refused = server.ask("dig", &format!("{words} +norec +nocookie"));
        assert!(
            refused.contains(&format!("EDE: {why}")),
            "{words}: {refused}"
        );
    }
    check(&server, "example.com AXFR +tcp", &[], &["hostmaster"]);
}

#[test]
fn the_node_names_itself() {
    let server = Server::start("127.0.0.1:0");
    check(
        &server,
        "-c CH -t TXT -q id.server +norec",
        &["id.server. 0 CH TXT \"fra-edge-1\""],
        &[],
    );
    check(
        &server,
        "example.com SOA +norec +nsid",
        &["NSID", "fra-edge-1"],
        &[],
    );
}

#[test]
fn an_unknown_opcode_is_not_implemented() {
    let server = Server::start("127.0.0.1:0");
    let notify = server.ask("dig", "+norec +opcode=15 +header-only");
    assert!(notify.contains("status: NOTIMP"), "{notify}");
    let version = server.ask("dig", "example.com SOA +norec +edns=1 +noednsneg");
    assert!(version.contains("status: BADVERS"), "{version}");
    let unknown = server.ask("dig", "example.com SOA +norec +ednsopt=100 +ednsflags=0x80");
    assert!(unknown.contains("status: NOERROR"), "{unknown}");
}

#[test]
fn ipv6_serves_the_same() {
    let server = Server::start("[::1]:0");
    check(
        &server,
        "api.example.com A +norec",
        &["30 IN A 203.0.113.1"],
        &[],
    );
    check(
        &server,
        "api.example.com A +norec +tcp",
        &["30 IN A 203.0.113.1"],
        &[],
    );
}
