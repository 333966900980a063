use std::collections::BTreeMap;

use super::*;

/// Reads files that include each other, the first at example.com.
fn read_files(files: &[(&str, &[u8])]) -> Master {
    let files: BTreeMap<&Path, Arc<[u8]>> = files
        .iter()
        .map(|(path, text)| (Path::new(*path), Arc::from(*text)))
        .collect();
    let mut open = |path: &Path| {
        let text = files.get(path).cloned();
        text.ok_or_else(|| "No such file".to_owned())
    };
    let origin = Name::from_ascii("example.com.").unwrap();
    read(&Arc::from(Path::new("zone")), &origin, 1_000, &mut open).unwrap()
}

/// `owner ttl TYPE data` of each record.
fn shown(master: &Master) -> Vec<String> {
    let show = |record: &Record| {
        let (owner, ttl, data) = (&record.owner, record.ttl.secs(), &record.data);
        format!("{owner} {ttl} {} {data}", data.record_type())
    };
    master.records.iter().map(show).collect()
}

/// The records of a text.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let master = read_files(&[("zone", text.as_bytes())]);
    assert_eq!(master.problems, [], "{text}");
    assert_eq!(shown(&master), expected, "{text}");
}

fn told(problems: &[Problem]) -> Vec<String> {
    let show = |problem: &Problem| {
        let at = problem.at.as_ref().unwrap();
        let (file, message) = (at.file.display(), &problem.message);
        format!("{file}:{}:{} {message}", at.line, at.column)
    };
    problems.iter().map(show).collect()
}

/// The problems of a text; each begins as is expected.
#[track_caller]
fn check_told(files: &[(&str, &[u8])], expected: &[&str]) {
    let told = told(&read_files(files).problems);
    let matches = told.iter().zip(expected).all(|(t, e)| t.starts_with(e));
    assert!(matches && told.len() == expected.len(), "{told:#?}");
}

#[track_caller]
fn check_refused(text: &str, expected: &[&str]) {
    check_told(&[("zone", text.as_bytes())], expected);
}

const A: &str = "A 192.0.2.1";

#[test]
fn names_are_absolute_relative_or_the_origin() {
    let text = format!("$TTL 60\n@ {A}\nwww {A}\nWWW.Example.ORG. {A}\n\\@ {A}\n*.a {A}\n");
    check(
        &text,
        &[
            "example.com. 60 A 192.0.2.1",
            "www.example.com. 60 A 192.0.2.1",
            "www.example.org. 60 A 192.0.2.1",
            "\\@.example.com. 60 A 192.0.2.1",
            "*.a.example.com. 60 A 192.0.2.1",
        ],
    );
}

#[test]
fn a_blank_owner_is_the_one_before() {
    let text = format!("$TTL 60\nwww {A}\n\tMX 10 mail\n\n ; nothing\n   TXT x\n");
    check(
        &text,
        &[
            "www.example.com. 60 A 192.0.2.1",
            "www.example.com. 60 MX 10 mail.example.com.",
            "www.example.com. 60 TXT x",
        ],
    );
    check_refused(
        " 60 A 192.0.2.1\n",
        &["zone:1:2 the first record needs an owner"],
    );
}

#[test]
fn the_origin_changes_what_is_relative() {
    let text = format!("$TTL 60\n$ORIGIN lab\na {A}\n$origin example.net.\na CNAME @\n");
    check(
        &text,
        &[
            "a.lab.example.com. 60 A 192.0.2.1",
            "a.example.net. 60 CNAME example.net.",
        ],
    );
}

#[test]
fn ttl_and_class_stand_in_either_order_or_not_at_all() {
    for text in ["60 IN", "IN 60", "1m in", "CLASS1 1M", "60"] {
        check(
            &format!("a {text} {A}\n"),
            &["a.example.com. 60 A 192.0.2.1"],
        );
    }
    check_refused("a 60 CH A 192.0.2.1\n", &["zone:1:6 class `CH`"]);
    check_refused("a 60x A 192.0.2.1\n", &["zone:1:3 `60x` is not"]);
    check_refused(
        "a 60 IN IN A 192.0.2.1\n",
        &["zone:1:9 unknown record type `IN`"],
    );
}

#[test]
fn a_ttl_comes_from_above_or_the_record_before_or_the_soa() {
    check(
        &format!("a 60 {A}\nb {A}\n$TTL 1h30m\nc {A}\nd 2w {A}\n"),
        &[
            "a.example.com. 60 A 192.0.2.1",
            "b.example.com. 60 A 192.0.2.1",
            "c.example.com. 5400 A 192.0.2.1",
            "d.example.com. 1209600 A 192.0.2.1",
        ],
    );
    let text = format!("@ SOA ns1 admin 1 2h 15m 2w 5m\na {A}\n");
    let master = read_files(&[("zone", text.as_bytes())]);
    let soa = "example.com. 300 SOA ns1.example.com. admin.example.com. 1 7200 900 1209600 300";
    assert_eq!(shown(&master), [soa, "a.example.com. 300 A 192.0.2.1"]);
    let warnings = told(&master.warnings);
    assert!(
        warnings[0].starts_with("zone:1:1 there is no TTL"),
        "{warnings:?}"
    );
    assert_eq!(warnings.len(), 1, "once is enough");
    check_refused(&format!("a {A}\nb {A}\n"), &["zone:1:5 it has no TTL"]);
}

#[test]
fn parentheses_make_one_entry_of_many_lines() {
    check(
        "@ 60 SOA ns1 admin ( ; the serial\n 7 ; and the rest\n1h 15m\n\n 2w ) 5m\na 60 ( A\n192.0.2.1)\n",
        &[
            "example.com. 60 SOA ns1.example.com. admin.example.com. 7 3600 900 1209600 300",
            "a.example.com. 60 A 192.0.2.1",
        ],
    );
    check_refused("a 60 A 192.0.2.1 )\n", &["zone:1:18 a `)` without a `(`"]);
    check_refused(
        "$TTL 60\na A ( 192.0.2.1\nb A x\n",
        &["zone:2:5 a `(` is not closed"],
    );
}

#[test]
fn quotes_and_escapes_keep_what_stands_in_them() {
    check(
        "$TTL 60\na TXT \"x ; y ( z\" \\\"q\\\" a\\;b \"\\065\\\\\"\na\\.b TXT \"\"\n",
        &[
            "a.example.com. 60 TXT x ; y ( z\"q\"a;bA\\",
            "a\\.b.example.com. 60 TXT ",
        ],
    );
    let master = read_files(&[("zone", b"a 60 TXT \"caf\xe9\" \\233\n")]);
    let RData::TXT(texts) = &master.records[0].data else {
        panic!("{master:?}")
    };
    let texts: Vec<&[u8]> = texts.txt_data.iter().map(|text| &**text).collect();
    assert_eq!(texts, [&b"caf\xe9"[..], b"\xe9"], "a byte is a byte");
    check_refused(
        "a 60 TXT \"x\nb 60 A 192.0.2.1\n",
        &["zone:1:10 a quote is not closed"],
    );
}

#[test]
fn types_have_mnemonics_in_either_case_or_numbers() {
    check(
        "$TTL 60\na a 192.0.2.1\na TYPE1 \\# 4 C0000202\na Type65280 \\# 2 ( ab\n cd )\n",
        &[
            "a.example.com. 60 A 192.0.2.1",
            "a.example.com. 60 A 192.0.2.2",
            "a.example.com. 60 Unknown q80=",
        ],
    );
    check_refused(
        "a 60 AAA ::1\n",
        &["zone:1:6 unknown record type `AAA`: did you mean `A"],
    );
}

#[test]
fn every_problem_is_told_and_the_next_line_goes_on() {
    check_refused(
        "$TTL 60\na A 192.0.2.256\n..b A 192.0.2.1\n A 192.0.2.1\nc MX 10\nd TYPE65300 \\# 5 0102\n$TLT 60\n$GENERATE 1 a A 192.0.2.$\n",
        &[
            "zone:2:5 this is not the RDATA of A: `192.0.2.256`",
            "zone:3:1 `..b` is not a name",
            "zone:5:6 this is not the RDATA of MX: a name is missing",
            "zone:6:18 this is not the RDATA of TYPE65300: 5 bytes are announced, 2 follow",
            "zone:7:1 unknown directive `$TLT`: did you mean `$TTL`?",
            "zone:8:11 `1` is not a range: FIRST-LAST or FIRST-LAST/STEP is expected",
        ],
    );
}

#[test]
fn what_only_gdnsd_has_is_told_apart() {
    check_refused(
        "$TTL 60\nwww DYNA geo!www\nwww 30/10 DYNA geo!www\nx CNAME www.@Z\n@F A 192.0.2.1\n",
        &[
            "zone:2:5 `DYNA` is gdnsd's own: take the record out",
            "zone:3:5 `30/10` are two TTLs, of a record of gdnsd",
            "zone:4:9 this is not the RDATA of CNAME: `www.@Z` is not a name: gdnsd's `@Z`",
            "zone:5:1 `@F` is not a name: gdnsd's `@Z` and `@F` are not known here",
        ],
    );
    check(
        "$TTL 60\nx CNAME www.\\@Z\n",
        &["x.example.com. 60 CNAME www.\\@Z.example.com."],
    );
}

#[test]
fn generate_counts_in_a_range_by_steps() {
    check(
        "$TTL 60\n$GENERATE 8-12/2 host-$ A 192.0.2.$\n$generate 1-2 $ 30 IN PTR host-$.lab\n",
        &[
            "host-8.example.com. 60 A 192.0.2.8",
            "host-10.example.com. 60 A 192.0.2.10",
            "host-12.example.com. 60 A 192.0.2.12",
            "1.example.com. 30 PTR host-1.lab.example.com.",
            "2.example.com. 30 PTR host-2.lab.example.com.",
        ],
    );
}

/// What `$GENERATE` makes of a word for one number; so says BIND's named-compilezone.
#[track_caller]
fn check_generated(number: u32, word: &str, expected: &str) {
    let text = format!("$GENERATE {number}-{number} {word} 60 A 192.0.2.1\n");
    check(&text, &[&format!("{expected}.example.com. 60 A 192.0.2.1")]);
}

#[test]
fn generate_writes_numbers_with_offset_width_and_base() {
    check_generated(7, "a$b", "a7b");
    check_generated(7, "a${3}", "a10");
    check_generated(7, "a${-7,3}", "a000");
    check_generated(1, "a${-3,4,d}", "a-002");
    check_generated(1, "a${-3,4,o}", "a37777777776");
    check_generated(1, "a${-3,9,X}", "a0fffffffe");
    check_generated(1, "a${-3,0,n}", "ae.f.f.f.f.f.f.f");
    check_generated(63, "a${0,4,d}", "a0063");
    check_generated(63, "a${0,0,o}", "a77");
    check_generated(2748, "a${0,6,x}", "a000abc");
    check_generated(2748, "a${0,0,X}", "aabc");
    check_generated(2748, "${0,0,n}.a", "c.b.a.a");
    check_generated(2748, "${0,7,n}.a", "c.b.a.0.a");
    check_generated(2748, "${0,7,N}.a", "c.b.a.0.a");
    check_generated(5, "${0,2,n}a", "5.a");
    check_generated(7, "a$$b\\$c", "a\\$b\\$c");
}

#[test]
fn generate_takes_data_of_several_words_in_quotes_or_without() {
    check(
        "$TTL 60\n$GENERATE 1-1 a MX \"10 m$\"\n$GENERATE 1-1 a MX 20 m$\n$GENERATE 1-1 a TXT \"x \\\"y $\\\"\"\n$GENERATE 1-1 a TXT z \"x $\"\n",
        &[
            "a.example.com. 60 MX 10 m1.example.com.",
            "a.example.com. 60 MX 20 m1.example.com.",
            "a.example.com. 60 TXT xy 1",
            "a.example.com. 60 TXT zx 1",
        ],
    );
}

#[test]
fn generate_leaves_the_owner_alone_and_makes_no_directives() {
    check(
        "$TTL 60\na A 192.0.2.1\n$GENERATE 1-1 b$ A 192.0.2.2\n A 192.0.2.3\n$GENERATE 1-1 $$TTL A 192.0.2.4\n",
        &[
            "a.example.com. 60 A 192.0.2.1",
            "b1.example.com. 60 A 192.0.2.2",
            "a.example.com. 60 A 192.0.2.3",
            "\\$ttl.example.com. 60 A 192.0.2.4",
        ],
    );
}

#[test]
fn a_wrong_generate_says_what_is_expected() {
    check_refused(
        "$TTL 60\n$GENERATE 3-2 a A 192.0.2.1\n$GENERATE 1-2/0 a A 192.0.2.1\n$GENERATE 0-2147483648 a A 192.0.2.1\n\
         $GENERATE 1-2 a${1 A 192.0.2.1\n$GENERATE 1-2 a${1,2,q} A 192.0.2.1\n$GENERATE 1-2 a${2147483647} A 192.0.2.1\n\
         $GENERATE 254-300 a A 192.0.2.$\n$GENERATE 1-2\n$GENERATE 1-2 a\n$GENERATE 1-2 a${0,128} A 192.0.2.1\n",
        &[
            "zone:2:11 `3-2` is not a range",
            "zone:3:11 `1-2/0` is not a range",
            "zone:4:11 `0-2147483648` is not a range",
            "zone:5:15 a `${` is not closed by a `}`",
            "zone:6:15 `${1,2,q}`: ${OFFSET}, ${OFFSET,WIDTH} or ${OFFSET,WIDTH,BASE} is expected",
            "zone:7:1 1 and the offset 2147483647 are 2147483648: -2147483648 to 2147483647 is expected",
            "zone:8:1 the line `a A 192.0.2.256`: this is not the RDATA of A",
            "zone:9:11 an owner such as host-$ is missing",
            "zone:10:1 the line `a`: a record type is missing",
            "zone:11:15 `${0,128}`",
        ],
    );
}

#[test]
fn what_generate_makes_is_bounded() {
    let made = |count: usize| {
        let mut open = |_: &Path| {
            let half = count.div_ceil(2);
            let text = format!(
                "$TTL 60\n$GENERATE 1-{half} a$ A 192.0.2.1\n$GENERATE 1-{} b$ A 192.0.2.1\n",
                count - half,
            );
            Ok(Arc::from(text.as_bytes()))
        };
        let origin = Name::from_ascii("example.com.").unwrap();
        let file = Arc::from(Path::new("zone"));
        read(&file, &origin, MOST_GENERATED, &mut open).unwrap()
    };
    let most = made(MOST_GENERATED);
    assert_eq!(
        (most.records.len(), most.problems.len()),
        (MOST_GENERATED, 0)
    );
    let told = told(&made(MOST_GENERATED + 1).problems);
    assert_eq!(
        told,
        ["zone:3:1 more than 262144 records of a zone are of `$GENERATE`"]
    );
    check_refused(
        "$TTL 60\n$GENERATE 1-1001 a$ A 192.0.2.1\n",
        &["zone:2:1 there are too many records"],
    );
    let long = format!("$GENERATE 1-2 a 60 TXT {}\n", "x ".repeat(1_024));
    check_refused(&long, &["zone:1:1 a line of more than 2048 bytes"]);
}

#[test]
fn columns_count_characters() {
    check_refused("a 60 TXT \"caf\u{e9}\" ) x\n", &["zone:1:17 a `)`"]);
    check_refused("\u{feff}a 60 A x\n", &["zone:1:8 this is not"]);
}

#[test]
fn an_included_file_leaves_origin_and_owner_alone() {
    let zone = b"$TTL 60\na TXT 1\n$INCLUDE sub/b lab\n TXT 4\nc TXT 5\n";
    let b = b" TXT 2\n$ORIGIN deep\nb TXT 3\n$INCLUDE \"c d\"\n";
    let files: [(&str, &[u8]); 3] = [
        ("zone", zone),
        ("sub/b", b),
        ("sub/c d", b"$TTL 90\nc TXT x\n"),
    ];
    let master = read_files(&files);
    assert_eq!(
        shown(&master),
        [
            "a.example.com. 60 TXT 1",
            "a.example.com. 60 TXT 2",
            "b.deep.lab.example.com. 60 TXT 3",
            "c.deep.lab.example.com. 90 TXT x",
            "a.example.com. 90 TXT 4",
            "c.example.com. 90 TXT 5",
        ]
    );
}

#[test]
fn a_problem_in_an_included_file_points_into_it() {
    check_told(
        &[("zone", b"$INCLUDE b\n"), ("b", b"a 60 A x\n")],
        &["b:1:8 this is not the RDATA of A"],
    );
    check_told(
        &[("zone", b"$TTL 60\n$INCLUDE nowhere\n")],
        &["zone:2:10 nowhere: No such file"],
    );
}

#[test]
fn inclusion_ends() {
    check_told(
        &[("zone", b"$INCLUDE b\n"), ("b", b"$INCLUDE zone\n")],
        &["b:1:10 zone includes itself"],
    );
    let names: Vec<String> = (0..=DEEPEST_INCLUDE + 1).map(|i| format!("f{i}")).collect();
    let texts: Vec<String> = names
        .iter()
        .map(|name| format!("$INCLUDE {name}\n"))
        .collect();
    let chain = |length: usize| {
        let inner = names.iter().zip(&texts[1..]).take(length - 1);
        let mut files: Vec<(&str, &[u8])> = vec![("zone", texts[0].as_bytes())];
        files.extend(inner.map(|(name, text)| (name.as_str(), text.as_bytes())));
        files.push((&names[length - 1], b"a 60 TXT x\n"));
        read_files(&files)
    };
    assert_eq!(chain(DEEPEST_INCLUDE).records.len(), 1);
    let told = told(&chain(DEEPEST_INCLUDE + 1).problems);
    assert!(told[0].contains("deeper than 16 levels"), "{told:?}");
    let many = "$INCLUDE b\n".repeat(MOST_INCLUDES);
    let empty: (&str, &[u8]) = ("b", b"");
    check_told(&[("zone", many.as_bytes()), empty], &[]);
    let more = format!("{many}$INCLUDE b\n");
    check_told(
        &[("zone", more.as_bytes()), empty],
        &["zone:1001:10 more than 1000"],
    );
}

#[test]
fn records_are_bounded() {
    let text = "a 60 TXT x\n".repeat(1_000);
    assert_eq!(read_files(&[("zone", text.as_bytes())]).problems, []);
    let text = format!("{text}a 60 TXT y\n");
    check_told(
        &[("zone", text.as_bytes())],
        &["zone:1001:1 there are too many records"],
    );
}

#[test]
fn what_a_signer_made_is_left_out_with_one_warning() {
    let text = "$TTL 60\na A 192.0.2.1\na RRSIG A 13 2 60 20300101000000 20200101000000 1 example.com. AAAA\na NSEC b A RRSIG\n0123 NSEC3 1 0 0 - 0123 A\n@ NSEC3PARAM 1 0 0 -\n@ TYPE46 \\# 0\n@ DNSKEY 257 3 ED25519 AAAA\n";
    let master = read_files(&[("zone", text.as_bytes())]);
    assert_eq!((master.records.len(), master.problems.len()), (2, 0));
    let warnings = told(&master.warnings);
    assert!(
        warnings[0].starts_with("zone:3:3 RRSIG, NSEC"),
        "{warnings:?}"
    );
    assert_eq!(warnings.len(), 1);
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(0_u8.., 0..200)) {
        let _ = read_files(&[("zone", &bytes)]);
    }

    #[test]
    fn any_damage_to_a_zone_is_read_or_refused(at in 0_usize..90, byte in 0_u8..) {
        let mut zone = b"$TTL 60\n@ SOA a b ( 1 2 3 4 5 ) ; x\n www IN 1h TXT \"a\\\"b\" c\\065\n$INCLUDE zone a\nb A 192.0.2.1\n".to_vec();
        let index = at % zone.len();
        zone[index] = byte;
        let _ = read_files(&[("zone", &zone)]);
    }
}
