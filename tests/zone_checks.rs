//! What zones are refused or warned of, as the checkers of Knot and BIND have it.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod zone_file_support;

use zone_file_support::{Folder, HEAD};

/// What is told of records, in a master file and in YAML. `line` is that of the master file.
#[track_caller]
fn check_told(text: &str, yaml: &str, line: usize, says: &str) {
    let file = Folder::of("file: z", &[("z", &format!("{HEAD}{text}"))]);
    let place = format!("z:{}:1: ", HEAD.lines().count() + line);
    check_says(&file, &place, says);
    let zone = format!("nameservers: {{ ns1: [192.0.2.53] }}, records: {{ {yaml} }}");
    check_says(&Folder::of(&zone, &[]), "edge.yaml:3:", says);
}

#[track_caller]
fn check_says(folder: &Folder, place: &str, says: &str) {
    let told = match folder.load() {
        Ok(_) => folder.warnings(),
        Err(_) => folder.errors(),
    };
    let is_told = |line: &str| line.starts_with(place) && line.contains(says);
    assert!(told.lines().any(is_told), "{place} {says} in\n{told}");
}

#[test]
fn what_cannot_stand_together_is_an_error() {
    check_told(
        "a CNAME b\na CNAME c\n",
        "a: { CNAME: [b, c] }",
        1,
        "a CNAME beside other",
    );
    check_told(
        "a TXT b\na CNAME c\n",
        "a: { TXT: b, CNAME: c }",
        2,
        "a CNAME beside other",
    );
    check_told(
        "a DNAME b\na DNAME c\n",
        "a: { DNAME: [b, c] }",
        2,
        "a second DNAME",
    );
    check_told(
        "a DNAME b\na CNAME c\n",
        "a: { DNAME: b, CNAME: c }",
        2,
        "a CNAME beside other",
    );
    let ns = "a: { DNAME: b, NS: ns.example.net. }";
    check_told(
        "a DNAME b\na NS ns.example.net.\n",
        ns,
        1,
        "a DNAME beside NS",
    );
}

#[test]
fn what_is_doubtful_is_a_warning() {
    check_told(
        "a TXT b\na TXT b\n",
        "a: { TXT: [b, b] }",
        2,
        "has this TXT record once more",
    );
    // The one that counts stays.
    let file = format!("{HEAD}a 60 TXT b\na 30 TXT b\n");
    let first = format!("z:{}:1: ", HEAD.lines().count() + 1);
    let file = Folder::of("file: z", &[("z", &file)]);
    check_says(&file, &first, "has this TXT record once more");
    check_told(
        "a NS ns.example.net.\nx.a TXT y\n",
        "a: { NS: ns.example.net. }, x.a: { TXT: y }",
        2,
        "lies below the delegation a.example.com.",
    );
    check_told(
        "a NS ns.example.net.\na TXT y\n",
        "a: { NS: ns.example.net., TXT: y }",
        2,
        "lies at the delegation a.example.com.",
    );
    check_told(
        "a DNAME b\nx.a A 192.0.2.1\n",
        "a: { DNAME: b }, x.a: { A: 192.0.2.1 }",
        2,
        "lies below the DNAME of a.example.com.",
    );
    check_told("a NS ns.a\n", "a: { NS: ns.a }", 1, "has no glue");
    check_told("a NS b\n", "a: { NS: b }", 1, "has no address");
    check_told(
        "a MX 1 b\nb CNAME c\n",
        "a: { MX: 1 b }, b: { CNAME: c }",
        1,
        "is an alias",
    );
    let srv = "a: { SRV: 1 1 1 b }, '*': { CNAME: c.example.net. }";
    check_told(
        "a SRV 1 1 1 b\n* CNAME c.example.net.\n",
        srv,
        1,
        "is an alias",
    );
    check_told("*.a NS ns1\n", "'*.a': { NS: ns1 }", 1, "a wildcard's NS");
    check_told(
        "*.a DNAME b\n",
        "'*.a': { DNAME: b }",
        1,
        "a wildcard's DNAME",
    );
}

#[test]
fn what_only_a_file_can_get_wrong_is_told() {
    let check = |text: &str, place: &str, says: &str| {
        check_says(&Folder::of("file: z", &[("z", text)]), place, says);
    };
    check(
        "www 60 A 192.0.2.1\n",
        "z:1:1: ",
        "there is no SOA of example.com.",
    );
    check(
        &format!("{HEAD}@ SOA a b 1 2 3 4 5\n"),
        "z:5:1: ",
        "a second SOA",
    );
    check(
        &format!("{HEAD}www SOA a b 1 2 3 4 5\n"),
        "z:5:1: ",
        "an SOA at www.example.com.",
    );
    check(
        &format!("{HEAD}a 60 TXT x\na 90 TXT y\n"),
        "z:6:1: ",
        "the TTLs of a.example.com. TXT",
    );
    check(
        &format!("{HEAD}example.net. TXT x\n"),
        "z:5:1: ",
        "lies outside the zone",
    );
    check(
        &format!("{HEAD}@ RRSIG A 1\n"),
        "z:5:3: ",
        "Meridian signs by itself",
    );
    check(
        "@ 60 SOA a b 1 2 3 4 5\n",
        "z:1:1: ",
        "no NS records at its apex",
    );
}

/// The first problem is the one that a log shows.
#[test]
fn a_file_that_is_cut_within_its_soa_is_told_of_that_alone() {
    let cut = "$TTL 300\n@ SOA ns1 host ( 12 3600\n";
    let errors = Folder::of("file: z", &[("z", cut)]).errors();
    assert!(errors.contains("z:2:16: a `(` is not closed"), "{errors}");
    assert!(!errors.contains("there is no SOA"), "{errors}");
}

#[test]
fn a_file_of_another_kind_is_told_of_a_thousand_times() {
    let folder = Folder::of("file: z", &[("z", &"no record at all\n".repeat(1_500))]);
    let errors = folder.errors();
    let told = errors.lines().filter(|line| line.starts_with("z:"));
    let told: Vec<&str> = told.collect();
    assert_eq!(told.len(), 1_001, "and that there is no SOA");
    assert!(told[1_000].ends_with("(and 500 more)"), "{}", told[1_000]);
}

/// What is told of records that nearly fill a message, with a zone's keys or without.
fn too_large(text: &str, dnssec: &str) -> String {
    let folder = Folder::of(
        &format!("file: z{dnssec}"),
        &[("z", &format!("{HEAD}{text}"))],
    );
    folder.errors()
}

#[test]
fn an_rrset_fits_a_message() {
    let addresses = |count: u32| {
        let lines = (0..count).map(|i| format!("a A {}\n", std::net::Ipv4Addr::from(i)));
        lines.collect::<String>()
    };
    let text = |strings: usize| {
        format!(
            "a TXT {}\n",
            format!("\"{}\" ", "x".repeat(255)).repeat(strings)
        )
    };
    // 65,535 bytes without the question, an OPT with all its options, and two signatures of a signed zone.
    let signed = ", dnssec: { keys: keys }";
    for (fits, too_much, dnssec) in [
        (addresses(4_078), addresses(4_079), ""),
        (addresses(4_065), addresses(4_066), signed),
        (text(254), text(255), ""),
    ] {
        assert_eq!(too_large(&fits, dnssec), "");
        let told = too_large(&too_much, dnssec);
        assert!(told.contains("no answer holds them"), "{told}");
    }
}

#[test]
fn a_referral_fits_a_message_with_its_glue() {
    let cut = |servers: u32| {
        let line = |i: u32| {
            format!("sub NS ns{i:04}.sub\nns{i:04}.sub A 192.0.2.1\nns{i:04}.sub AAAA ::1\n")
        };
        (0..servers).map(line).collect::<String>()
    };
    assert_eq!(too_large(&cut(500), ""), "");
    let told = too_large(&cut(800), "");
    assert!(
        told.contains("the NS records of sub.example.com. have over"),
        "{told}"
    );
}

#[test]
fn keys_beside_the_zone_s_own_are_warned_of() {
    let records = "@ CDS 0 0 0 00\n@ CDNSKEY 0 3 0 AA==\n@ DNSKEY 257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=\n";
    let text = format!("{HEAD}{records}");
    let told = Folder::of("file: z, dnssec: { keys: keys }", &[("z", &text)]).warnings();
    for rtype in ["CDS", "CDNSKEY", "DNSKEY"] {
        let says = format!("has this {rtype}, and its own keys have theirs");
        assert!(told.contains(&says), "{told}");
    }
    let told = Folder::of("file: z", &[("z", &text)]).warnings();
    assert!(!told.contains("z:"), "{told}");
}

#[test]
fn what_steers_below_a_dname_of_the_apex_is_warned_of() {
    let yaml = "regions: { eu: { location: [0, 0], addresses: [192.0.2.1] }, us: { location: [1, 1], addresses: [192.0.2.2] } }
services: { api: { hosts: [example.com, www.example.com] } }
zones: { example.com: { nameservers: { ns.example.net.: [] }, records: { '@': { DNAME: example.net. } } } }
";
    let loaded = meridian::config::load_text("edge.yaml", yaml, &|_| None).unwrap();
    let told = loaded.problems(loaded.warnings.clone()).as_warnings();
    assert!(
        told.contains("refers whoever asks for it to example.com."),
        "{told}"
    );
    assert!(
        told.contains("below _regions.example.com., but example.com. leads elsewhere"),
        "{told}"
    );
    assert_eq!(loaded.plan.zones[0].steered.len(), 1);
}

#[test]
fn a_region_whose_own_name_would_be_too_long_is_warned_of() {
    // 4 labels of 47 bytes, and the root: 193 bytes, so that 52 of a region's name fit.
    let zone = [&*"z".repeat(47); 4].join(".");
    let told = |length: usize| {
        let long = "r".repeat(length);
        let yaml = format!(
            "regions: {{ us: {{ addresses: [192.0.2.1] }}, {long}: {{ addresses: [192.0.2.2] }} }}
services: {{ www: {{ hosts: [www.{zone}] }} }}
zones: {{ {zone}: {{ nameservers: {{ ns1: [192.0.2.53] }} }} }}"
        );
        let loaded = meridian::config::load_text("edge.yaml", &yaml, &|_| None).unwrap();
        loaded.problems(loaded.warnings.clone()).as_warnings()
    };
    let longer = "._regions.";
    assert!(!told(52).contains(longer), "{}", told(52));
    assert!(told(53).contains(longer), "{}", told(53));
}

#[test]
fn a_steered_name_that_is_another_name_is_no_server_and_not_its_own_alias() {
    let yaml = "regions: { eu: { location: [0, 0], addresses: [loop.example.com] } }
services: { api: { hosts: [loop.example.com, mx.example.com] } }
zones: { example.com: { nameservers: { ns1: [192.0.2.53] }, records: { '@': { MX: ['10 mx'] } } } }
";
    let loaded = meridian::config::load_text("edge.yaml", yaml, &|_| None).unwrap();
    let told = loaded.problems(loaded.warnings.clone()).as_warnings();
    assert!(
        told.contains("points at mx.example.com., which is an alias"),
        "{told}"
    );
    assert!(
        told.contains("region `eu` is given by the name loop.example.com."),
        "{told}"
    );
}

#[test]
fn what_one_of_the_checkers_refuses_is_told() {
    let ds = format!("@ DS 1 8 2 {}", "00".repeat(32));
    for (text, says) in [
        (&*ds, "has a DS: it stands in the zone above"),
        ("@ MX 10 192.0.2.1", "the MX of example.com. is an address"),
        ("@ MX 10 192.0.2.1.", "the MX of example.com. is an address"),
        ("@ NS 192.0.2.1", "the NS of example.com. is an address"),
        ("@ NS 192.0.2.1.", "the NS of example.com. is an address"),
        (
            "@ MX 10 nowhere",
            "points at nowhere.example.com., which lies in the zone and has no address",
        ),
        (
            "_a._tcp SRV 0 0 1 nowhere",
            "lies in the zone and has no address",
        ),
        ("a 1h30 A 192.0.2.1", "1h30"),
        (
            "a HTTPS 1 . no-default-alpn",
            "no-default-alpn: it needs alpn beside it",
        ),
    ] {
        let folder = Folder::of("file: z", &[("z", &format!("{HEAD}{text}\n"))]);
        let told = match folder.load() {
            Ok(_) => folder.warnings(),
            Err(_) => folder.errors(),
        };
        assert!(told.contains(says), "{text}: {told}");
    }
}

#[test]
fn what_is_right_is_not_warned_of() {
    let zone = format!(
        "{HEAD}a NS ns.a\na DS 1 8 2 {}\nns.a A 192.0.2.1\nns.a AAAA ::1\nb NS ns.a\nc NS w.wild\n*.wild A 192.0.2.1\n\
         x NS api\nd DNAME e\nd TXT y\n@ MX 10 mail.example.net.\n_a._tcp SRV 0 0 0 .\n",
        "00".repeat(32)
    );
    let told = Folder::of("file: z", &[("z", &zone)]).warnings();
    assert!(!told.contains("z:"), "{told}");
}

#[test]
fn the_zones_of_rfc_2317_have_names() {
    let yaml = "regions: { eu-west-1: { addresses: [192.0.2.1] } }
services: { api: { hosts: [api.example.com] } }
zones: { 0/25.2.0.192.in-addr.arpa: { records: { 1: { PTR: a.example.com. } } } }
";
    let plan = meridian::config::load_text("edge.yaml", yaml, &|_| None)
        .unwrap()
        .plan;
    assert_eq!(plan.zones[0].records.len(), 2);
}
