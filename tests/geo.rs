//! Geography: the built-in table, the operator's own file in any schema, and networks by hand.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use meridian::geo::Database;
use support::{Edge, Process, meridian, wait_until};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

fn yaml(geo: &str) -> String {
    format!(
        "node: {{ location: [50.11, 8.68] }}
listen: {{ dns: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
geo: {geo}
regions:
  us-east-1: {{ addresses: [192.0.2.10] }}
  eu-west-1: {{ addresses: [192.0.2.20] }}
  ap-northeast-1: {{ addresses: [192.0.2.30] }}
services: {{ www: {{ hosts: [www.example.com], steering: {{ policy: geo }}, health: {{ interval: 1h, timeout: 10m }} }} }}
zones: {{ example.com: {{ nameservers: {{ ns1: [192.0.2.53] }} }} }}
"
    )
}

const VIRGINIA: &str = "192.0.2.10";
const IRELAND: &str = "192.0.2.20";
const TOKYO: &str = "192.0.2.30";

fn steered(edge: &Edge, network: &str) -> String {
    let answer = edge.kdig(&format!("www.example.com A +subnet={network} +short"));
    answer.trim().to_owned()
}

#[test]
fn a_file_of_any_common_schema_decides() {
    for name in ["country.mmdb", "city.mmdb", "flat.mmdb"] {
        let edge = Edge::start(&yaml(&format!("{{ database: {} }}", data(name).display())));
        for (network, expected) in [
            ("192.0.2.0/24", TOKYO),
            ("198.51.100.0/24", IRELAND),
            ("203.0.113.0/25", VIRGINIA),
            ("2001:db8:1::/48", TOKYO),
            // In the file without a place, and not in the file: as if at the edge.
            ("203.0.113.128/25", IRELAND),
            ("8.8.8.0/24", IRELAND),
        ] {
            assert_eq!(steered(&edge, network), expected, "{name} {network}");
        }
        let (_, status) = edge.admin("GET", "/api/v1/status", "");
        assert!(
            !status["geo"].as_str().unwrap().contains("IPtoASN"),
            "{status}"
        );
    }
}

#[track_caller]
fn check_refused(database: &Path, says: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("edge.yaml");
    fs::write(
        &file,
        yaml(&format!("{{ database: {} }}", database.display())),
    )
    .unwrap();
    let mut edge = Process::start(meridian().args(["serve", "--config"]).arg(&file));
    assert_eq!(edge.wait(), 1);
    let said = edge.said();
    assert!(said.contains("edge.yaml:3:18: "), "{said}");
    assert!(said.contains(says) && !said.contains("panicked"), "{said}");
}

#[test]
fn a_file_that_is_missing_truncated_or_of_another_kind_is_named() {
    let folder = tempfile::tempdir().unwrap();
    check_refused(&folder.path().join("none.mmdb"), "none.mmdb");
    let whole = fs::read(data("city.mmdb")).unwrap();
    for (name, length) in [
        ("half.mmdb", whole.len() / 2),
        ("short.mmdb", whole.len() - 20),
    ] {
        let file = folder.path().join(name);
        fs::write(&file, &whole[..length]).unwrap();
        check_refused(&file, name);
    }
    check_refused(&data("asn.mmdb"), "GeoLite2-ASN");
    check_refused(folder.path(), "not a file");
}

#[test]
fn a_new_file_is_taken_over_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("geo.mmdb");
    let put = |bytes: &[u8]| {
        let new = folder.path().join("new");
        fs::write(&new, bytes).unwrap();
        fs::rename(new, &database).unwrap();
    };
    let whole = fs::read(data("country.mmdb")).unwrap();
    put(&whole);
    let mut edge = Edge::start(&yaml(&format!("{{ database: {} }}", database.display())));
    assert_eq!(steered(&edge, "192.0.2.0/24"), TOKYO);
    put(&whole[..whole.len() / 2]);
    edge.process.wait_for("reload refused, nothing changed");
    assert_eq!(steered(&edge, "192.0.2.0/24"), TOKYO);
    // The same networks with the places swapped: Japan's are Germany's now.
    let swapped: Vec<u8> = String::from_utf8_lossy(&whole)
        .contains("JP")
        .then(|| {
            let mut bytes = whole.clone();
            for at in 0..bytes.len() - 1 {
                match &bytes[at..at + 2] {
                    b"JP" => bytes[at..at + 2].copy_from_slice(b"DE"),
                    b"DE" => bytes[at..at + 2].copy_from_slice(b"JP"),
                    _ => {}
                }
            }
            bytes
        })
        .unwrap();
    put(&swapped);
    assert!(wait_until(|| steered(&edge, "192.0.2.0/24") == IRELAND));
    assert_eq!(steered(&edge, "198.51.100.0/24"), TOKYO);
}

#[test]
fn networks_by_hand_come_before_the_database() {
    let geo = "{ networks: { 203.178.141.0/24: us-east-1, 10.20.0.0/16: ap-northeast-1 } }";
    let edge = Edge::start(&yaml(geo));
    assert_eq!(steered(&edge, "203.178.141.0/24"), VIRGINIA);
    assert_eq!(steered(&edge, "203.178.142.0/24"), TOKYO);
    assert_eq!(steered(&edge, "10.20.3.0/24"), TOKYO);
}

#[test]
fn well_known_addresses_are_where_they_are() {
    let database = Database::built_in();
    for (address, country) in [
        ("193.0.6.139", "NL"),          // RIPE NCC
        ("203.178.141.194", "JP"),      // WIDE
        ("169.229.216.200", "US"),      // UC Berkeley
        ("2001:67c:2e8::1", "NL"),      // RIPE NCC
        ("2001:200:dff:fff1::1", "JP"), // WIDE
    ] {
        let location = database.lookup(address.parse::<IpAddr>().unwrap());
        assert_eq!(location.country.unwrap().as_str(), country, "{address}");
    }
    for nowhere in [
        "192.0.2.1",
        "10.0.0.1",
        "127.0.0.1",
        "2001:db8::1",
        "fe80::1",
    ] {
        let location = database.lookup(nowhere.parse::<IpAddr>().unwrap());
        assert_eq!(
            (location.country, location.point),
            (None, None),
            "{nowhere}"
        );
    }
}
