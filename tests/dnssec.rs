//! Signed zones, as validators see them: delv and unbound with the DS that `check --ds` prints.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::process::Command;

use support::{Edge, Unbound, ask, delegation, meridian, run, wait_until};

/// A signed zone with one of everything that is proven in a way of its own. Whatever the health of
/// its regions, `api` has addresses of both kinds and `four` has none of IPv6.
fn yaml(algorithm: &str) -> String {
    format!(
        "listen: {{ dns: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
regions:
  us-east-1: {{ addresses: [192.0.2.1, 192.0.2.2, '2001:db8:1::1'] }}
  eu-west-1: {{ addresses: [198.51.100.1, '2001:db8:2::1'] }}
  ap-northeast-1: {{ addresses: [203.0.113.1] }}
  cloud: {{ addresses: [lb.example.com] }}
  eu-v6: {{ addresses: ['2001:db8:3::1'] }}
services:
  api: {{ hosts: [api.example.com, '*.api.example.com', six.example.com], regions: [us-east-1, eu-west-1] }}
  four: {{ hosts: [four.example.com], regions: [ap-northeast-1] }}
  half: {{ hosts: [half.example.com], regions: [ap-northeast-1, eu-v6] }}
  balanced: {{ hosts: [balanced.example.com, '*.balanced.example.com'], regions: [cloud] }}
zones:
  example.com:
    nameservers: {{ ns1: [192.0.2.53] }}
    dnssec: {{ algorithm: {algorithm}, keys: keys }}
    records:
      '@': {{ MX: ['10 Mail'], TXT: ['v=spf1 -all'], service: api }}
      mail: {{ A: [192.0.2.25] }}
      lb: {{ A: [192.0.2.80] }}
      Www: {{ CNAME: Api }}
      a.deep.name: {{ A: [192.0.2.9] }}
      '*.wild': {{ A: [192.0.2.7], TXT: [wild] }}
      '*.alias': {{ CNAME: mail }}
      '*.cut': {{ NS: [ns.lab.example.net.], TXT: [cut] }}
      old: {{ DNAME: deep.name }}
      lab: {{ NS: [ns.lab.example.net.] }}
      sub: {{ NS: [ns.lab.example.net.], DS: ['60485 13 2 AABBCCDDEEFF00112233445566778899AABBCCDDEEFF00112233445566778899'] }}
"
    )
}

/// The folder that an edge was started in.
struct Signed {
    edge: Edge,
    ds: String,
}

impl Signed {
    fn start(algorithm: &str) -> Self {
        let edge = Edge::start(&yaml(algorithm));
        let ds = delegation(edge.folder.path());
        Self { edge, ds }
    }

    /// What delv makes of an answer, with the zone's DS as its trust anchor.
    fn delv(&self, words: &str) -> String {
        let server = self.edge.address("dns");
        let anchor = self.edge.folder.path().join("anchor");
        let fields: Vec<&str> = self.ds.split_whitespace().collect();
        let [_, _, _, tag, algorithm, kind, digest] = fields[..] else {
            panic!("{:?}", self.ds)
        };
        let text = format!(
            "trust-anchors {{ example.com. static-ds {tag} {algorithm} {kind} \"{digest}\"; }};"
        );
        std::fs::write(&anchor, text).unwrap();
        let mut command = Command::new("delv");
        command
            .arg(format!("@{}", server.ip()))
            .args(["-p", &server.port().to_string(), "-a"])
            .arg(&anchor)
            .args(["+root=example.com", "+multiline"])
            .args(words.split_whitespace());
        let output = run(&mut command);
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8(text).unwrap()
    }

    #[track_caller]
    fn check(&self, words: &str, expected: &str) {
        let answer = self.delv(words);
        assert!(
            answer.contains(expected),
            "{words}: no `{expected}` in\n{answer}"
        );
    }

    fn check_what_is_there(&self) {
        let valid = "; fully validated";
        // Records of the zone, and the keys themselves.
        for words in [
            "example.com MX",
            "example.com SOA",
            "example.com NS",
            "example.com DNSKEY",
            "example.com CDS",
            "example.com CDNSKEY",
            "mail.example.com A",
            "sub.example.com DS",
        ] {
            self.check(words, valid);
        }
        // What a service answers: each rotation, each region, each type.
        for _ in 0..4 {
            for words in [
                "api.example.com A",
                "api.example.com AAAA",
                "api.example.com HTTPS",
                "example.com A",
                "six.example.com HTTPS",
                "four.example.com A",
            ] {
                self.check(words, valid);
            }
        }
        // Chains, and names made by wildcards, steered ones among them.
        for words in [
            "www.example.com A",
            "a.old.example.com A",
            "x.y.wild.example.com A",
            "x.wild.example.com TXT",
            "x.cut.example.com TXT",
            "x.alias.example.com A",
            "tenant.api.example.com A",
            "tenant.api.example.com HTTPS",
            "balanced.example.com A",
            "balanced.example.com CNAME",
            "balanced.example.com TXT",
            "balanced.example.com NSEC",
            "tenant.balanced.example.com A",
            "tenant.balanced.example.com NSEC",
            "us-east-1._regions.example.com A",
            "nobody.example.com NSEC",
        ] {
            self.check(words, valid);
        }
    }

    fn check_what_is_not_there(&self) {
        let nothing = "; negative response, fully validated";
        for words in [
            "nobody.example.com A",
            "mail.example.com AAAA",
            "four.example.com AAAA",
            "deep.name.example.com A",
            "x.wild.example.com MX",
            "x.cut.example.com A",
            "x.cut.example.com NS",
            "*.cut.example.com DS",
            "tenant.api.example.com TXT",
            "lab.example.com DS",
            "example.com CAA",
            "x.mail.example.com A",
            "_regions.example.com A",
        ] {
            self.check(words, nothing);
        }
        // The last name that the zone can have, of 255 bytes: its NSEC leads back to the zone's own.
        let labels = [49, 63, 63, 63].map(|length| "\\255".repeat(length));
        self.check(&format!("{}.example.com A", labels.join(".")), nothing);
    }
}

#[test]
fn what_fails_open_for_its_type_validates_beside_what_does_not() {
    let signed = Signed::start("ecdsap256sha256");
    for (region, body) in [
        ("eu-v6", r#"{"state":"up"}"#),
        ("ap-northeast-1", r#"{"state":"down","force":true}"#),
    ] {
        let path = format!("/api/v1/forced/{region}");
        let (code, told) = signed.edge.admin("PUT", &path, body);
        assert_eq!(code, 200, "{told}");
    }
    let why = "when_none_healthy: all (no region with this type is able)";
    let asked = || signed.edge.kdig("half.example.com A +edns");
    assert!(wait_until(|| asked().contains(why)), "{}", asked());
    for (rtype, data) in [
        ("A", "203.0.113.1"),
        ("AAAA", "2001:db8:3::1"),
        ("HTTPS", "ipv6hint=2001:db8:3::1"),
    ] {
        let words = format!("half.example.com {rtype}");
        signed.check(&words, "; fully validated");
        signed.check(&words, data);
    }
    let explain = "/api/v1/explain?name=half.example.com&client=192.0.2.1&type=";
    let told = |rtype: &str| signed.edge.admin("GET", &format!("{explain}{rtype}"), "").1;
    assert_eq!(told("AAAA")["decision"][0], "eu-v6");
    let open = told("A");
    assert_eq!(
        open["decision"],
        serde_json::json!(["ap-northeast-1"]),
        "{open}"
    );
    let steps = open["steps"].to_string();
    assert!(steps.contains("has no address of this type"), "{steps}");
    assert!(steps.contains("failing open"), "{steps}");
}

#[test]
fn delv_validates_every_kind_of_answer() {
    let signed = Signed::start("ecdsap256sha256");
    signed.check_what_is_there();
    signed.check_what_is_not_there();
}

#[test]
fn delv_validates_ed25519_too() {
    let signed = Signed::start("ed25519");
    signed.check_what_is_there();
    signed.check_what_is_not_there();
}

#[test]
fn unbound_validates_and_sees_nxdomain() {
    let signed = Signed::start("ecdsap256sha256");
    let validating = format!(
        "module-config: 'validator iterator'
  trust-anchor: '{}'",
        signed.ds.trim()
    );
    let unbound = Unbound::start(signed.edge.address("dns"), &validating);
    let secure = |words: &str, status: &str| {
        let asked = format!("+dnssec +timeout=2 +retry=0 {words}");
        let answer = ask("kdig", unbound.address, &asked);
        assert!(answer.contains(status), "{words}: no {status} in\n{answer}");
        let flags = answer.lines().find(|line| line.contains("Flags:")).unwrap();
        assert!(
            flags.contains(" ad"),
            "{words}: not authenticated\n{answer}"
        );
    };
    for words in [
        "api.example.com A",
        "api.example.com HTTPS",
        "www.example.com A",
        "x.wild.example.com A",
        "tenant.api.example.com A",
        "a.old.example.com A",
        "mail.example.com AAAA",
        "deep.name.example.com A",
        "x.wild.example.com MX",
        "x.cut.example.com A",
        "x.cut.example.com TXT",
    ] {
        secure(words, "NOERROR");
    }
    // The code of a compact denial is NOERROR, unless the resolver knows better (RFC 9824 §4).
    secure("nobody.example.com A", "status: NO");
}

#[test]
fn a_denial_has_the_code_that_the_client_can_read() {
    let signed = Signed::start("ecdsap256sha256");
    let ask = |words: &str| signed.edge.kdig(words);
    // RFC 9824 §3.1: one NSEC of the name itself, which has the type NXNAME.
    let compact = ask("nobody.example.com A +dnssec");
    assert!(compact.contains("status: NOERROR"), "{compact}");
    assert!(
        compact.contains("\\000.nobody.example.com. RRSIG NSEC TYPE128"),
        "{compact}"
    );
    // Without DO there is nothing to prove, and the code is that of RFC 2308.
    let plain = ask("nobody.example.com A");
    assert!(
        plain.contains("status: NXDOMAIN") && !plain.contains("NSEC"),
        "{plain}"
    );
    // RFC 9824 §3.4
    assert!(ask("example.com TYPE128 +dnssec").contains("status: FORMERR"));
}

#[test]
fn a_wildcard_that_delegates_its_own_name_delegates_no_other() {
    let signed = Signed::start("ed25519");
    let types = |words: &str| {
        let answer = signed.edge.kdig(&format!("{words} +dnssec"));
        let nsec = answer.lines().find(|line| line.contains("IN\tNSEC\t"));
        let nsec = nsec.unwrap_or_else(|| panic!("{words}: no NSEC in\n{answer}"));
        let mut types = nsec.split_whitespace().skip(5).collect::<Vec<_>>();
        types.sort_unstable();
        types.join(" ")
    };
    // RFC 6840 §4.1: an NSEC with NS and without SOA denies nothing but DS.
    assert_eq!(types("x.cut.example.com A"), "NSEC RRSIG TXT");
    // RFC 4035 §2.3: at a cut the zone above has no other types.
    assert_eq!(types("*.cut.example.com A"), "NS NSEC RRSIG");
}

#[test]
fn a_name_that_is_there_has_a_signature_to_ask_for() {
    let signed = Signed::start("ed25519");
    // RFC 8482 §7 for the type RRSIG: those of one RRset are enough. Made by wildcards, too.
    for name in ["mail", "www", "api", "x.wild", "x.alias", "tenant.api"] {
        for flag in ["", "+dnssec"] {
            let words = format!("{name}.example.com RRSIG +noall +answer {flag}");
            let answer = signed.edge.kdig(&words);
            assert!(answer.contains("RRSIG"), "{words}: {answer}");
        }
    }
    // RFC 9824 §3.1: a name that is not there has one for whoever validates, that of its NSEC.
    let answer = signed
        .edge
        .kdig("nobody.example.com RRSIG +noall +answer +dnssec");
    assert!(answer.contains("RRSIG\tNSEC 15 3 "), "{answer}");
    let answer = signed.edge.kdig("nobody.example.com RRSIG");
    assert!(answer.contains("status: NXDOMAIN"), "{answer}");
}

#[test]
fn an_nsec_that_is_asked_for_comes_with_its_signature_only_to_who_asks_for_dnssec() {
    let signed = Signed::start("ed25519");
    for name in [
        "mail",
        "balanced",
        "x.wild",
        "x.alias",
        "tenant.api",
        "tenant.balanced",
    ] {
        let ask = |rest: &str| {
            let words = format!("{name}.example.com {rest} +noall +answer");
            let answer = signed.edge.kdig(&words);
            let lines = answer.lines().map(|line| line.split_whitespace().skip(3));
            let records = lines.map(|fields| fields.collect::<Vec<_>>().join(" "));
            records.collect::<Vec<String>>()
        };
        let alone = ask("NSEC");
        assert!(
            alone.len() == 1 && alone[0].starts_with("NSEC "),
            "{name}: {alone:?}"
        );
        let both = ask("NSEC +dnssec");
        assert_eq!((both.len(), &both[0]), (2, &alone[0]), "{name}");
    }
}

#[test]
fn the_signature_of_a_name_that_is_another_name_is_that_of_its_nsec() {
    let signed = Signed::start("ed25519");
    for name in ["balanced", "tenant.balanced"] {
        let ask = |qtype: &str| {
            let words = format!("{name}.example.com {qtype} +noall +answer +dnssec");
            let answer = signed.edge.kdig(&words);
            answer.lines().last().map(str::to_owned)
        };
        let signature = ask("RRSIG").unwrap();
        assert!(signature.contains("RRSIG\tNSEC "), "{signature}");
        assert_eq!(ask("NSEC").unwrap(), signature);
    }
}

#[test]
fn what_asks_for_the_ds_to_be_deleted_stands_alone() {
    let yaml = yaml("ed25519").replace(
        "      '@': {",
        "      '@': { CDS: ['0 0 0 00'], CDNSKEY: ['0 3 0 AA=='],",
    );
    let edge = Edge::start(&yaml);
    for rtype in ["CDS", "CDNSKEY"] {
        let answer = edge.kdig(&format!("example.com {rtype} +short"));
        assert_eq!(answer.lines().count(), 1, "{answer}");
    }
    assert!(edge.kdig("example.com DNSKEY +short").contains("257 3 15"));
    edge.write(&yaml.replace(", CDNSKEY: ['0 3 0 AA==']", ""));
    assert!(wait_until(|| edge
        .kdig("example.com CDNSKEY +short")
        .is_empty()));
    assert!(edge.kdig("example.com CDS +short").starts_with("0 0 0"));
}

#[test]
fn the_ds_of_a_zone_that_is_here_too_is_its_parents() {
    let digest = "AABBCCDDEEFF00112233445566778899AABBCCDDEEFF00112233445566778899";
    let kid = format!("      kid: {{ NS: [ns1.kid], DS: ['4711 13 2 {digest}'] }}\n");
    let zone = "  kid.example.com: { nameservers: { ns1: [192.0.2.54] } }\n";
    let edge = Edge::start(&format!("{}{kid}{zone}", yaml("ed25519")));
    let answer = edge.kdig("kid.example.com DS +dnssec");
    assert!(answer.contains("4711 13 2"), "{answer}");
    assert!(
        answer.contains("DS 15 3 3600"),
        "signed by the parent\n{answer}"
    );
    // Everything else of the name is the child's, which is not signed.
    let soa = edge.kdig("kid.example.com SOA +dnssec");
    assert!(
        soa.contains("ns1.kid.example.com.") && !soa.contains("RRSIG"),
        "{soa}"
    );
}

#[test]
fn check_warns_of_more_orders_of_regions_than_are_signed_ahead() {
    let check = |regions: usize, hosts: &str| {
        let region = |number| format!("  r{number}: {{ addresses: [192.0.2.{number}] }}\n");
        let regions: String = (0..regions).map(region).collect();
        let yaml = format!(
            "regions:\n{regions}services: {{ www: {{ hosts: [{hosts}] }} }}
zones: {{ example.com: {{ nameservers: {{ ns1: [192.0.2.53] }}, dnssec: {{ keys: keys }} }} }}
"
        );
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("edge.yaml");
        std::fs::write(&config, yaml).unwrap();
        let output = run(meridian().arg("check").arg("--config").arg(config));
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(!check(51, "www.example.com").contains("in signed zones"));
    let place = "edge.yaml:55:";
    let told = check(52, "www.example.com");
    let says =
        "in 135252 orders for all names together, of which 131072 at most are signed when the";
    assert!(told.contains(place) && told.contains(says), "{told}");
    let late = "all or none: those of www.example.com. are signed when health first gives them";
    assert!(told.contains(late), "{told}");
    let hosts: Vec<String> = (0..6).map(|name| format!("n{name}.example.com")).collect();
    let told = check(51, &hosts.join(", "));
    let late = "those of n1.example.com., n2.example.com., n3.example.com. and 2 more are signed";
    assert!(told.contains(late), "{told}");
}
