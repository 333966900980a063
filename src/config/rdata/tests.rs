use super::*;

fn origin() -> Name {
    Name::from_ascii("example.com.").unwrap()
}

/// The wire format of RDATA, as hexadecimal.
#[track_caller]
fn check(mnemonic: &str, text: &str, expected: &str) {
    let record_type = record_type(mnemonic).unwrap();
    let data = read(record_type, text, &origin()).unwrap();
    let mut wire = Vec::new();
    let mut encoder = hickory_proto::serialize::binary::BinEncoder::new(&mut wire);
    hickory_proto::serialize::binary::BinEncodable::emit(&data, &mut encoder).unwrap();
    let hex: String = wire.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, expected.replace(' ', ""), "{mnemonic} {text}");
}

#[track_caller]
fn check_refused(mnemonic: &str, text: &str, says: &str) {
    let record_type = record_type(mnemonic).unwrap();
    let error = read(record_type, text, &origin()).unwrap_err();
    assert!(error.contains(says), "{error}");
}

const EXAMPLE_COM: &str = "07 6578616d706c65 03 636f6d 00";

#[test]
fn names_are_relative_absolute_or_the_origin() {
    check("CNAME", "@", EXAMPLE_COM);
    check("CNAME", "a", &format!("01 61 {EXAMPLE_COM}"));
    check("CNAME", "a.b.", "01 61 01 62 00");
    check("CNAME", ".", "00");
    check("MX", "10 mail", &format!("000a 04 6d61696c {EXAMPLE_COM}"));
    check(
        "SRV",
        "0 5 5060 sip.example.net.",
        "0000 0005 13c4 03 736970 07 6578616d706c65 03 6e6574 00",
    );
}

#[test]
fn escapes_stand_for_characters_and_numbers() {
    check("PTR", r"a\.b.c.", "03 612e62 01 63 00");
    check("PTR", r"\000\255.", "02 00ff 00");
    check(
        "TXT",
        r#""say \"hi\" \\ \065""#,
        "0c 73617920226869 22205c2041",
    );
    check_refused("TXT", r"\25", "three digits");
    check_refused("TXT", r"\256", "over 255");
}

#[test]
fn texts_are_split_at_spaces_unless_quoted() {
    check("TXT", "a b", "01 61 01 62");
    check("TXT", r#""a b""c" """#, "03 612062 01 63 00");
    check("TXT", "(a ; comment\n b)", "01 61 01 62");
    check("TXT", &"x".repeat(255), &format!("ff {}", "78".repeat(255)));
    check_refused("TXT", &"x".repeat(256), "at most 255");
    check_refused("TXT", "\"a", "not closed");
    check_refused("TXT", "(a", "not closed");
}

#[test]
fn the_common_types_have_their_wire_format() {
    check("A", "192.0.2.1", "c0000201");
    check("AAAA", "2001:db8::1", "20010db8000000000000000000000001");
    check(
        "CAA",
        r#"0 issue "ca.example.net""#,
        "00 05 6973737565 63612e6578616d706c652e6e6574",
    );
    check(
        "DS",
        "60485 5 1 2BB183AF 5F22588179A53B0A 98631FAD1A292118",
        "ec45 05 01 2bb183af5f22588179a53b0a98631fad1a292118",
    ); // RFC 4034 §5.4
    check(
        "SSHFP",
        "2 1 123456789abcdef67890123456789abcdef67890",
        "02 01 123456789abcdef67890123456789abcdef67890",
    ); // RFC 4255 §3.2
    check(
        "TLSA",
        "3 1 1 d2abde240d7cd3ee6b4b28c54df034b9 7951af2c5cd8d9cd8d5d3f9d6b4ad9f3",
        "03 01 01 d2abde240d7cd3ee6b4b28c54df034b9 7951af2c5cd8d9cd8d5d3f9d6b4ad9f3",
    );
    check(
        "HINFO",
        "PC-Intel-700mhz \"Red Hat\"",
        "0f 50432d496e74656c2d3730306d687a 07 52656420486174",
    );
    check("DNAME", "b.", "01 62 00");
}

#[test]
fn the_rarer_types_have_their_wire_format() {
    check("NID", "10 0014:4fff:ff20:ee64", "000a 00144fffff20ee64"); // RFC 6742 §2.1
    check("L32", "10 10.1.2.0", "000a 0a010200");
    check("L64", "10 2001:0DB8:1140:1000", "000a 20010db811401000");
    check("LP", "10 a.", "000a 01 61 00");
    check("CSYNC", "66 3 A NS AAAA", "00000042 0003 00 04 60000008"); // RFC 7477 §2.2
    check("CSYNC", "1 0", "00000001 0000");
    check("CSYNC", "1 0 TYPE257 A", "00000001 0000 00 01 40 01 01 40");
    check("CDS", "0 0 0 00", "0000 00 00 00"); // RFC 8078 §4
    check("CDNSKEY", "0 3 0 AA==", "0000 03 00 00");
    check("DNSKEY", "257 3 ECDSAP256SHA256 AAEC", "0101 03 0d 000102");
    check("CERT", "PGP 0 0 AAEC", "0003 0000 00 000102");
    // RFC 8976 §2.2.
    let (digest, short) = ("ab".repeat(48), "ab".repeat(47));
    check(
        "ZONEMD",
        &format!("2018031900 1 1 {digest}"),
        &format!("7848b91c 01 01 {digest}"),
    );
    check_refused(
        "ZONEMD",
        &format!("2018031900 1 1 {short}"),
        "53 bytes where 54",
    );
    check_refused("ZONEMD", "2018031900 1 240 abcd", "12 bytes or more");
    check("IPSECKEY", "10 0 2 . AAEC", "0a 00 02 000102"); // RFC 4025 §3.2
    check(
        "IPSECKEY",
        "10 1 2 192.0.2.38 AAEC",
        "0a 01 02 c0000226 000102",
    );
    check("IPSECKEY", "10 3 0 a.", "0a 03 00 01 61 00");
    // RFC 1876 §4.
    check(
        "LOC",
        "42 21 54 N 71 06 18 W -24m 30m",
        "00 33 16 13 89172dd0 70be15f0 00988d20",
    );
    check("LOC", "0 N 0 E 0", "00 12 16 13 80000000 80000000 00989680");
    check_refused("LOC", "91 N 0 E 0", "degrees from 0 to 90");
    check_refused("LOC", "90 0 1 N 0 E 0", "more than 90");
    check_refused("LOC", "1 2 3", "a hemisphere is missing");
    check_refused("LOC", "1 N 2 E 10 90000001m", "`90000001m` is out of range");
    check_refused("NID", "10 1:2:3", "four groups");
    check_refused("DNSKEY", "257 3 ROT13 AAEC", "`ROT13` is not a number");
    check_refused("CSYNC", "1 0 BOGUS", "`BOGUS` is not a record type");
    check_refused("IPSECKEY", "10 4 2 . AAEC", "`4` is not a type of gateway");
}

#[test]
fn an_entry_has_only_so_many_words() {
    assert!(Words::split(&b"a ".repeat(70_000)).is_ok());
    let wrong = Words::split(&b"a ".repeat(70_001)).unwrap_err();
    assert_eq!(wrong.message, "more than 70000 words");
}

#[test]
fn no_name_is_compressed() {
    check("NS", r"\# 3 016100", "01 61 00");
    let soa = format!(r"\# 25 016100 c000 {}", "00".repeat(20));
    check_refused("SOA", &soa, "compressed");
}

#[test]
fn service_parameters_are_sorted_and_typed() {
    // RFC 9460 D.2, figures 3 and 5.
    check(
        "SVCB",
        "16 foo.example.org. port=53",
        "0010 03 666f6f 07 6578616d706c65 03 6f7267 00 0003 0002 0035",
    );
    check(
        "SVCB",
        r#"1 foo.example.org. ipv6hint="2001:db8::1,2001:db8::53:1""#,
        "0001 03 666f6f 07 6578616d706c65 03 6f7267 00 0006 0020 20010db8000000000000000000000001 20010db8000000000000000000530001",
    );
    check(
        "HTTPS",
        "1 . port=8443 alpn=h2,http/1.1",
        "0001 00 0001 000c 02 6832 08 687474702f312e31 0003 0002 20fb",
    );
    // RFC 9460 D.2, figure 10: the list has escapes of its own, below those of the text.
    check(
        "SVCB",
        r#"16 foo.example.org. alpn="f\\\\oo\\,bar,h2""#,
        "0010 03 666f6f 07 6578616d706c65 03 6f7267 00 0001 000c 08 665c6f6f2c626172 02 6832",
    );
    check_refused("HTTPS", "1 . port=1 port=2", "twice");
    check_refused("HTTPS", "1 . alpm=h2", "`alpm` is not a parameter");
    check_refused("HTTPS", "1 . port=", "port");
    // RFC 9461 §5, RFC 9540 §4.
    check(
        "SVCB",
        "1 . dohpath=/q{?dns} ohttp",
        "0001 00 0007 0008 2f717b3f646e737d 0008 0000",
    );
    for path in ["/q{?dns}", "/q?ct&{dns}", "/{x,dns*}", "/é{&a,dns}"] {
        let path = format!("1 . dohpath={path}");
        assert!(
            read(RecordType::SVCB, &path, &Name::root()).is_ok(),
            "{path}"
        );
    }
    for path in [
        "",
        "/q",
        "/q{?dnss}",
        "/q{?dns",
        "q{?dns}",
        "/dns",
        r"/\255{?dns}",
    ] {
        let path = format!("1 . dohpath={path}");
        check_refused("SVCB", &path, "a path with the variable `dns`");
    }
    check(
        "HTTPS",
        "1 . tls-supported-groups=29,23",
        "0001 00 0009 0004 001d0017",
    );
    check_refused("HTTPS", "1 . ohttp=x", "it has no value");
    check_refused("HTTPS", "1 . alpn=", "a value is expected");
    check_refused("HTTPS", "1 . alpn=h2,,h3", "an item of the list is empty");
    check_refused("HTTPS", "1 . ipv4hint=192.0.2.1,", "address");
}

#[test]
fn behind_a_key_that_is_a_number_come_the_bytes_that_are_sent() {
    // RFC 9460 §2.1.
    check("HTTPS", r"1 . key1=\002h2", "0001 00 0001 0003 02 6832");
    check("HTTPS", r#"1 . key3="\032\251""#, "0001 00 0003 0002 20fb");
    check("HTTPS", r"1 . key3=\000P", "0001 00 0003 0002 0050");
    check(
        "HTTPS",
        r"1 . alpn=h2 key0=\000\001",
        "0001 00 0000 0002 0001 0001 0003 02 6832",
    );
    check("HTTPS", "1 . key65534=a", "0001 00 fffe 0001 61");
    for (wrong, why) in [
        ("key1=h2", "key1: these 2 bytes are no value of alpn"),
        (r"key1=\000", "key1: these 1 bytes are no value of alpn"),
        ("key3=8080", "key3: these 4 bytes are no value of port"),
        (
            "key4=192.0.2.1",
            "key4: these 9 bytes are no value of ipv4hint",
        ),
        ("key2=x", "key2: these 1 bytes"),
        ("key065=a", "`key065` is not a parameter"),
        ("key65535=a", "`key65535` is not a parameter"),
        (r"alpn=h2 key1=\002h2", "twice"),
    ] {
        check_refused("HTTPS", &format!("1 . {wrong}"), why);
    }
}

#[test]
fn what_a_service_parameter_makes_mandatory_is_there() {
    // RFC 9460 §8.
    check(
        "HTTPS",
        "1 . alpn=h2 mandatory=alpn",
        "0001 00 0000 0002 0001 0001 0003 02 6832",
    );
    check_refused(
        "HTTPS",
        "1 . mandatory=alpn",
        "`alpn` is not among the parameters",
    );
    check_refused("HTTPS", "1 . mandatory=key65000", "`key65000` is not among");
    check_refused("HTTPS", "1 . mandatory=mandatory", "does not name itself");
    check_refused("HTTPS", "1 . mandatory=alpn,alpn alpn=h2", "twice");
}

#[test]
fn lists_of_prefixes_leave_out_trailing_zeros() {
    // RFC 3123 §4, §5.
    check(
        "APL",
        "1:192.168.32.0/21 !1:192.168.38.0/28",
        "0001 15 03 c0a820 0001 1c 83 c0a826",
    );
    check(
        "APL",
        "2:FF00:0:0:0:0:0:0:0/8 1:0.0.0.0/0",
        "0002 08 01 ff 0001 00 00",
    );
    check("APL", "", "");
    check_refused("APL", "1:192.0.2.0/33", "32 bits");
    check_refused("APL", "3:192.0.2.0/24", "the family is");
    check_refused("APL", "192.0.2.0/24", "FAMILY:ADDRESS/LENGTH");
    check_refused("APL", "1:192.0.2.0", "FAMILY:ADDRESS/LENGTH");
}

#[test]
fn identifiers_are_written_with_hyphens() {
    // RFC 7043 §3.2, §4.2.
    check("EUI48", "00-1b-21-AA-bb-cc", "001b21aabbcc");
    check("EUI64", "00-00-5e-ef-10-00-00-2a", "00005eef1000002a");
    for other in ["001b21aabbcc", "00:1b:21:aa:bb:cc", "0-1b-21-aa-bb-cc"] {
        check_refused("EUI48", other, "pairs of hexadecimal digits");
    }
    check_refused("SSHFP", "1 1 00-00", "not hexadecimal");
}

#[test]
fn times_of_an_soa_have_32_bits() {
    let times = "7fffffff 80000000 ffffffff 0000003c";
    check(
        "SOA",
        ". . 1 2147483647 2147483648 4294967295 1m",
        &format!("00 00 00000001 {times}"),
    );
    check_refused("SOA", ". . 1 2 3 4 4294967296", "4294967296");
}

#[test]
fn any_type_can_be_written_as_bytes() {
    check("A", r"\# 4 C0000201", "c0000201"); // RFC 3597 §5
    check("TYPE65534", r"\# 3 ab cd ef", "abcdef");
    check("TYPE65534", r"\# 0", "");
    check_refused("TYPE65534", r"\# 2 ab", "2 bytes are announced, 1 follow");
    check_refused("TYPE65534", "anything", "RFC 3597");
    check_refused("TXT", r"\# 0", "no data");
    for nobody_s in ["TYPE0", "TYPE41", "TYPE46", "TYPE255", "TYPE65535"] {
        assert!(record_type(nobody_s).is_none(), "{nobody_s}");
    }
    assert!(record_type("TYPE65536").is_none() && record_type("BOGUS").is_none());
}

#[test]
fn what_is_wrong_is_named() {
    check_refused("A", "192.0.2.256", "`192.0.2.256` is not an IPv4 address");
    check_refused("A", "192.0.2.1 192.0.2.2", "`192.0.2.2` is too much");
    check_refused("MX", "mail", "`mail` is not a number of 16 bits");
    check_refused("MX", "10", "a name is missing");
    check_refused("CNAME", "a..b", "a label is empty");
    check_refused("CNAME", &"x".repeat(64), "more than 63");
    check_refused("CNAME", &"x.".repeat(200), "more than 255");
    check_refused("TLSA", "3 1 1 abc", "half a byte");
    check_refused("SSHFP", "1 1 00", "3 bytes where 22 are expected");
    check_refused("EUI48", "00", "1 bytes where 6 are expected");
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,80}", number in 0_u16..300) {
        let _ = read(RecordType::from(number), &text, &origin());
    }
}
