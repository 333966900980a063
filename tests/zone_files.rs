//! Zones from master files: what is taken, what is refused, what is laid over, and reloads.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;
mod zone_file_support;

use std::fs;
use std::path::Path;

use support::{Edge, meridian, wait_until};
use zone_file_support::{Folder, HEAD};

#[test]
fn a_file_s_records_are_the_zone_s() {
    let zone = format!("{HEAD}www TXT hello\n$INCLUDE sub/mail mail\n");
    let folder = Folder::of("file: z", &[("z", &zone), ("sub/mail", "@ A 192.0.2.25\n")]);
    assert_eq!(
        folder.records(),
        [
            "example.com. NS ns1.example.com.",
            "example.com. SOA ns1.example.com. hostmaster.example.com. 2024010101 7200 900 1209600 300",
            "mail.example.com. A 192.0.2.25",
            "ns1.example.com. A 192.0.2.53",
            "www.example.com. TXT hello",
        ]
    );
    let watched = folder.load().unwrap().watched();
    for name in ["z", "sub/mail"] {
        assert!(watched.contains(&folder.0.path().join(name)), "{watched:?}");
    }
}

#[test]
fn what_yaml_says_is_laid_over_the_file() {
    let zone = format!("{HEAD}www TXT 1\napi A 192.0.2.7\napi TXT 2\nold CNAME www\n");
    let records = "file: z, records: { www: { TXT: x, MX: 10 www }, old: { service: api } }";
    let folder = Folder::of(records, &[("z", &zone)]);
    let warnings = folder.warnings();
    for steered in [
        "z:6:1: warning: api.example.com. is steered: this A is not answered",
        "z:8:1: warning: old.example.com. is steered: this CNAME is not answered",
    ] {
        assert!(warnings.contains(steered), "{warnings}");
    }
    let records = folder.records();
    let below = |name: &str| records.iter().filter(|r| r.starts_with(name)).count();
    assert_eq!((below("www."), below("api."), below("old.")), (3, 1, 0));
    assert_eq!(folder.load().unwrap().plan.zones[0].steered.len(), 2);
}

#[test]
fn what_stands_in_the_file_is_refused_beside_it() {
    let zone = "file: z, soa: { minimum: 60s }, nameservers: { ns1: [192.0.2.53] }";
    let errors = Folder::of(zone, &[("z", HEAD)]).errors();
    assert!(
        errors.contains("`soa` stands in the zone's file"),
        "{errors}"
    );
    assert!(
        errors.contains("`nameservers` stands in the zone's file"),
        "{errors}"
    );
    let zone = "file: z, records: { api: { A: 192.0.2.1 } }";
    let errors = Folder::of(zone, &[("z", HEAD)]).errors();
    assert!(errors.contains("has a A record here too"), "{errors}");
}

#[test]
fn a_file_that_cannot_be_read_is_named_where_yaml_names_it() {
    let folder = Folder::of("file: nowhere", &[]);
    let errors = folder.errors();
    assert!(
        errors.contains("edge.yaml:3:31: nowhere: No such file"),
        "{errors}"
    );
    let folder = Folder::of("file: d", &[("d/x", "")]);
    let errors = folder.errors();
    assert!(errors.contains("d: not a file"), "{errors}");
    let folder = Folder::of("file: z", &[("z", "")]);
    let file = fs::File::options()
        .write(true)
        .open(folder.0.path().join("z"));
    file.unwrap().set_len((256 << 20) + 1).unwrap();
    let errors = folder.errors();
    assert!(
        errors.contains("z: the zone files of a configuration have more than 256 MiB"),
        "{errors}"
    );
    let folder = Folder::of("file: /dev/zero", &[]);
    let errors = folder.errors();
    assert!(errors.contains("/dev/zero: not a file"), "{errors}");
}

#[test]
fn every_error_is_told_at_once_with_its_line() {
    let zone = format!("{HEAD}a A 192.0.2.256\nb CNAME c\nb TXT x\n\t$INCLUDE x\n$INCLUDE i\n");
    let folder = Folder::of("file: z", &[("z", &zone), ("i", "\n d TXT \"x\n")]);
    assert_eq!(
        folder.errors(),
        r#"i:2:8: a quote is not closed
   |
 2 |  d TXT "x
   |        ^
z:5:5: this is not the RDATA of A: `192.0.2.256` is not an IPv4 address
   |
 5 | a A 192.0.2.256
   |     ^
z:6:1: b.example.com. has a CNAME beside other records (RFC 1034 §3.6.2)
   |
 6 | b CNAME c
   | ^
z:7:1: beside this
z:8:2: unknown record type `$INCLUDE`: expected a mnemonic such as A, or TYPE65534
   |
 8 | 	$INCLUDE x
   | 	^"#
    );
}

#[test]
fn check_prints_the_place_in_the_zone_file() {
    let folder = Folder::of("file: z", &[("z", &format!("{HEAD}www A x\n"))]);
    let output = meridian()
        .arg("check")
        .arg("--config")
        .arg(folder.0.path())
        .output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let said = folder.shown(&format!(
        "{said}{}",
        String::from_utf8_lossy(&output.stdout)
    ));
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("z:5:7: this is not the RDATA of A"), "{said}");
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

#[test]
fn a_changed_zone_file_and_a_changed_include_are_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let (zone, included) = (folder.path().join("z"), folder.path().join("sub/i"));
    fs::create_dir(folder.path().join("sub")).unwrap();
    let text = format!("{HEAD}$INCLUDE sub/i\nwww TXT one\n");
    fs::write(&zone, &text).unwrap();
    fs::write(&included, "inner TXT one\n").unwrap();
    let mut edge = Edge::start(&format!(
        "listen: {{ dns: ['127.0.0.1:0'] }}
regions: {{ us-east-1: {{ addresses: [192.0.2.1] }} }}
services: {{ api: {{ hosts: [api.example.com] }} }}
zones: {{ example.com: {{ file: '{}' }} }}
",
        zone.display()
    ));
    let answers = |edge: &Edge, name: &str, text: &str| {
        let question = format!("{name}.example.com TXT +short");
        wait_until(|| edge.kdig(&question).trim() == format!("\"{text}\""))
    };
    assert!(answers(&edge, "www", "one") && answers(&edge, "inner", "one"));
    replace(&zone, &text.replace("www TXT one", "www TXT two"));
    assert!(answers(&edge, "www", "two"));
    replace(&included, "inner TXT two\n");
    assert!(answers(&edge, "inner", "two"));
    replace(&included, "inner TXT \"two\n");
    edge.process.wait_for("sub/i:1:11: a quote is not closed");
    assert!(answers(&edge, "inner", "two"));
    replace(&included, "inner TXT three\n");
    assert!(answers(&edge, "inner", "three"));
}

#[test]
fn files_that_a_refused_configuration_names_first_are_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let zone = folder.path().join("z");
    fs::write(
        &zone,
        format!("{HEAD}www TXT one\n$INCLUDE later\nmore TXT \"\n"),
    )
    .unwrap();
    let yaml = |zones: &str| {
        format!(
            "listen: {{ dns: ['127.0.0.1:0'] }}
regions: {{ us-east-1: {{ addresses: [192.0.2.1] }} }}
services: {{ api: {{ hosts: [api.example.net] }} }}
zones: {{ example.net: {{ nameservers: {{ ns1: [192.0.2.53] }} }}{zones} }}
"
        )
    };
    let mut edge = Edge::start(&yaml(""));
    let named = format!(", example.com: {{ file: '{}' }}", zone.display());
    edge.write(&yaml(&named));
    edge.process.wait_for("reload refused, nothing changed: ");
    replace(&zone, &format!("{HEAD}www TXT one\n$INCLUDE later\n"));
    edge.process.wait_for("z:6:10: ");
    replace(&folder.path().join("later"), "inner TXT two\n");
    edge.process.wait_for("configuration 2 is in force");
    let answer = edge.kdig("inner.example.com TXT +short");
    assert_eq!(answer.trim(), "\"two\"");
}
