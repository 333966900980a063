//! Keys of signed zones: made once, missed when they are gone, over restarts and upgrades too.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Edge, Process, delegation, meridian, run, wait_until};

fn yaml(algorithm: &str) -> String {
    format!(
        "listen: {{ dns: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
node: {{ state_dir: state }}
regions: {{ near: {{ addresses: [192.0.2.1] }} }}
services: {{ www: {{ hosts: [www.example.com] }} }}
zones:
  example.com:
    nameservers: {{ ns1: [192.0.2.53] }}
    dnssec: {{ algorithm: {algorithm}, keys: keys }}
    records: {{ mail: {{ A: [192.0.2.25] }} }}
"
    )
}

/// A signed zone, and the tag of its key.
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

    fn tag(&self) -> String {
        self.ds.split_whitespace().nth(3).unwrap().to_owned()
    }

    fn keys(&self) -> PathBuf {
        self.edge.folder.path().join("keys")
    }
}

#[test]
fn keys_are_made_once_and_checking_makes_none() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("edge.yaml");
    std::fs::write(&config, yaml("ed25519")).unwrap();
    let mut check = meridian();
    let before = check
        .args(["check", "--ds", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&before.stderr).into_owned();
    assert_eq!(before.status.code(), Some(1));
    assert!(told.contains("no key yet for example.com."), "{told}");
    assert!(!folder.path().join("keys").exists());

    let signed = Signed::start("ed25519");
    let fields: Vec<&str> = signed.ds.split_whitespace().collect();
    assert_eq!(
        (fields[0], fields[1], fields[2], fields[4], fields[5]),
        ("example.com.", "IN", "DS", "15", "2")
    );
    let keys = signed.keys();
    assert_eq!(std::fs::read_dir(&keys).unwrap().count(), 2);
    let (status, _) = signed.edge.admin("POST", "/api/v1/reload", "");
    assert_eq!(status, 200);
    assert_eq!(delegation(signed.edge.folder.path()), signed.ds);
    assert_eq!(std::fs::read_dir(&keys).unwrap().count(), 2);
}

#[test]
fn keys_that_vanish_are_missed_and_no_others_are_made() {
    let mut signed = Signed::start("ed25519");
    let keys = signed.keys();
    let away = signed.edge.folder.path().join("away");
    let tag = signed.tag();
    let config = signed.edge.folder.path().join("edge.yaml");
    let written = std::fs::read_to_string(&config).unwrap();
    let dnskey = |signed: &Signed| signed.edge.kdig("example.com DNSKEY +short");
    let before = dnskey(&signed);
    assert!(signed.edge.process.said().contains("made a DNSSEC key"));

    std::fs::rename(&keys, &away).unwrap();
    let told = format!("the zone was signed with {tag}. Put them back");
    signed.edge.process.wait_for(&told);
    // Neither an empty folder, nor another one, nor a while without signatures makes it another zone.
    std::fs::create_dir(&keys).unwrap();
    let unsigned = written.replace("dnssec: { algorithm: ed25519, keys: keys }", "");
    let moved = written.replace("keys: keys", "keys: other");
    for (text, status) in [
        (&written, 422),
        (&moved, 422),
        (&unsigned, 200),
        (&written, 422),
    ] {
        std::fs::write(&config, text).unwrap();
        let (answered, _) = signed.edge.admin("POST", "/api/v1/reload", "");
        assert_eq!(answered, status, "{text}");
    }
    assert!(!signed.edge.folder.path().join("other").exists());
    assert_eq!(std::fs::read_dir(&keys).unwrap().count(), 0);

    std::fs::remove_dir(&keys).unwrap();
    std::fs::rename(&away, &keys).unwrap();
    assert!(wait_until(|| dnskey(&signed) == before));
}

/// Makes a key of the zone with such a time; the stem of its files' names.
fn keygen(keys: &Path, time: [&str; 2]) -> String {
    let mut keygen = Command::new("dnssec-keygen");
    keygen
        .arg("-K")
        .arg(keys)
        .args(["-q", "-a", "ED25519", "-f", "KSK"]);
    let made = run(keygen.args(time).arg("example.com"));
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_zone_whose_last_key_becomes_inactive_is_told_of_before_and_when_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    std::fs::create_dir(&keys).unwrap();
    keygen(&keys, ["-I", "+6"]);
    let mut edge = Edge::start_in(folder, &yaml("ed25519"));
    edge.process
        .wait_for("no key of example.com. is active from ");
    edge.process.wait_for("example.com. is signed no more");
    assert!(!edge.kdig("mail.example.com A +dnssec").contains("RRSIG"));
}

/// With the one kind gone nothing leads from the parent's DS to what the other signs.
#[test]
fn a_zone_whose_key_signing_key_becomes_inactive_beside_another_is_told_of_before_and_when_it_does()
{
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    std::fs::create_dir(&keys).unwrap();
    let stem = keygen(&keys, ["-I", "+29d"]);
    let mut zsk = Command::new("dnssec-keygen");
    let zsk = zsk.arg("-K").arg(&keys).args(["-q", "-a", "ED25519"]);
    run(zsk.arg("example.com"));
    let mut edge = Edge::start_in(folder, &yaml("ed25519"));
    edge.process
        .wait_for("no key-signing key of example.com. is active from ");
    let set = |times: &[&str]| {
        let mut settime = Command::new("dnssec-settime");
        run(settime.arg("-K").arg(&keys).args(times).arg(&stem));
    };
    set(&["-I", "now"]);
    edge.process
        .wait_for("the keys of example.com. are signed by no key-signing key");
    let config = edge.folder.path().join("edge.yaml");
    let check = |more: &[&str]| {
        let mut check = meridian();
        let check = check.arg("check").args(more).arg("--config").arg(&config);
        let output = check.output().unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let told = check(&[]);
    assert!(
        told.contains("no key-signing key of example.com. is active by its times"),
        "{told}"
    );
    set(&["-I", "none"]);
    edge.process.wait_for("example.com. is signed now");
    set(&["-I", "-2d", "-D", "-1d"]);
    let told = check(&["--ds"]);
    assert!(
        told.contains("example.com. has no key-signing key, or only deleted ones"),
        "{told}"
    );
}

#[test]
fn a_reload_says_which_keys_are_others() {
    let mut signed = Signed::start("ed25519");
    let keys = signed.keys();
    let stem = keygen(&keys, ["-A", "+1y"]);
    let tag: u16 = stem.rsplit('+').next().unwrap().parse().unwrap();
    let process = &mut signed.edge.process;
    process.wait_for(&format!("keys of example.com.: {tag} is new"));
    let mut settime = Command::new("dnssec-settime");
    run(settime.arg("-K").arg(&keys).args(["-A", "+2y"]).arg(&stem));
    process.wait_for(&format!("keys of example.com.: {tag} has other times"));
    for extension in ["key", "private"] {
        std::fs::remove_file(keys.join(format!("{stem}.{extension}"))).unwrap();
    }
    process.wait_for(&format!("keys of example.com.: {tag} is gone"));
}

#[test]
fn an_edge_that_starts_without_the_keys_of_a_zone_that_it_has_signed_says_so_and_makes_none() {
    let mut signed = Signed::start("ed25519");
    let (keys, tag) = (signed.keys(), signed.tag());
    let folder = signed.edge.folder.path().to_owned();
    let away = folder.join("away");
    let refused = format!("and the zone was signed with {tag}. Put them back");
    std::fs::rename(&keys, &away).unwrap();
    signed.edge.process.wait_for(&refused);
    // The running one goes on.
    let mut upgrade = Process::serving(&folder, &["--upgrade"]);
    assert_eq!(upgrade.wait(), 1);
    assert!(upgrade.said().contains(&refused), "{}", upgrade.said());
    assert!(
        signed
            .edge
            .kdig("example.com DNSKEY +short")
            .contains("257 3 15")
    );

    signed.edge.process.signal("KILL");
    signed.edge.process.wait();
    let mut restart = Process::serving(&folder, &[]);
    assert_eq!(restart.wait(), 1);
    assert!(restart.said().contains(&refused), "{}", restart.said());
    assert!(!keys.exists());
    std::fs::rename(&away, &keys).unwrap();
    let mut restart = Process::serving(&folder, &[]);
    restart.wait_for(" ready");
    assert_eq!(delegation(&folder), signed.ds);
}

#[test]
fn the_loss_of_the_one_key_that_signs_is_refused_and_the_zone_stays_signed() {
    let mut signed = Signed::start("ed25519");
    let (keys, tag) = (signed.keys(), signed.tag());
    let next = keygen(&keys, ["-A", "+1y"]);
    let next: u16 = next.rsplit('+').next().unwrap().parse().unwrap();
    let process = &mut signed.edge.process;
    process.wait_for(&format!("keys of example.com.: {next} is new"));
    let files = || {
        std::fs::read_dir(&keys)
            .unwrap()
            .map(|file| file.unwrap().path())
    };
    let of_the_signer =
        |file: &PathBuf| file.display().to_string().contains(&format!("+{tag:0>5}."));
    let away = signed.edge.folder.path().join("away");
    std::fs::create_dir(&away).unwrap();
    let gone: Vec<PathBuf> = files().filter(of_the_signer).collect();
    assert_eq!(gone.len(), 2);
    for file in &gone {
        std::fs::rename(file, away.join(file.file_name().unwrap())).unwrap();
    }
    process.wait_for(&format!(
        "{tag} of example.com., which signs the zone, is gone from "
    ));
    let answer = signed.edge.kdig("mail.example.com A +dnssec");
    assert!(answer.contains("RRSIG"), "{answer}");
    let mut upgrade = Process::serving(signed.edge.folder.path(), &["--upgrade"]);
    assert_eq!(upgrade.wait(), 1);
    assert!(
        upgrade
            .said()
            .contains("which signs the zone, is gone from ")
    );
    for file in &gone {
        std::fs::rename(away.join(file.file_name().unwrap()), file).unwrap();
    }
    assert!(wait_until(|| signed
        .edge
        .admin("POST", "/api/v1/reload", "")
        .0
        == 200));
}

#[test]
fn a_reload_that_leaves_a_zone_without_a_key_that_signs_is_told_as_time_is() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    std::fs::create_dir(&keys).unwrap();
    let stem = keygen(&keys, ["-I", "+29d"]);
    let mut edge = Edge::start_in(folder, &yaml("ed25519"));
    assert!(
        edge.process
            .said()
            .contains("no key of example.com. is active from ")
    );
    let set = |time: &str| {
        let mut settime = Command::new("dnssec-settime");
        run(settime.arg("-K").arg(&keys).args(["-I", time]).arg(&stem));
    };
    set("now");
    edge.process.wait_for("example.com. is signed no more");
    set("+31d");
    edge.process.wait_for("example.com. is signed now");
    let config = edge.folder.path().join("edge.yaml");
    let checked = run(meridian().args(["check", "--config"]).arg(&config));
    let told = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(
        !told.contains("is active from"),
        "over 30 days are no news: {told}"
    );
}

#[test]
fn the_loss_of_the_key_that_the_parent_knows_is_refused_though_another_signs_the_data() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    std::fs::create_dir(&keys).unwrap();
    let key_signing = keygen(&keys, ["-A", "now"]);
    let mut keygen = Command::new("dnssec-keygen");
    keygen
        .arg("-K")
        .arg(&keys)
        .args(["-q", "-a", "ED25519", "example.com"]);
    run(&mut keygen);
    let mut edge = Edge::start_in(folder, &yaml("ed25519"));
    for extension in ["key", "private"] {
        std::fs::remove_file(keys.join(format!("{key_signing}.{extension}"))).unwrap();
    }
    edge.process.wait_for("which signs the zone, is gone from ");
    assert!(edge.kdig("example.com DNSKEY +short").contains("257 3 15"));
}

#[test]
fn what_other_edges_have_signed_is_theirs_and_a_damaged_memory_makes_no_keys() {
    let signed = Signed::start("ed25519");
    let folder = signed.edge.folder.path();
    let other = folder.join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("signed"), "other.example. 123\n").unwrap();
    signed
        .edge
        .write(&yaml("ed25519").replace("state_dir: state", "state_dir: other"));
    assert!(wait_until(|| signed
        .edge
        .process
        .said()
        .contains("restart to change them")));
    let theirs = std::fs::read_to_string(other.join("signed")).unwrap();
    assert_eq!(theirs, "other.example. 123\n");

    std::fs::write(other.join("signed"), "example.com. many\n").unwrap();
    let config = yaml("ed25519")
        .replace("state_dir: state", "state_dir: other")
        .replace("keys: keys", "keys: none");
    let second = folder.join("second");
    std::fs::create_dir(&second).unwrap();
    let config = config.replace("other", &other.display().to_string());
    std::fs::write(second.join("edge.yaml"), config).unwrap();
    let mut refused = Process::serving(&second, &[]);
    assert_eq!(refused.wait(), 1);
    let told = "line 1: a zone and the tags of its keys are expected, so that it is not known";
    assert!(refused.said().contains(told), "{}", refused.said());
    assert!(!second.join("none").exists());
}

#[test]
fn a_reload_that_takes_dnssec_from_a_zone_is_told_and_so_is_one_that_gives_it_back() {
    let mut edge = Signed::start("ed25519").edge;
    let yaml = yaml("ed25519");
    let lines = yaml.lines().filter(|line| !line.contains("dnssec:"));
    edge.write(&lines.map(|line| format!("{line}\n")).collect::<String>());
    let process = &mut edge.process;
    process.wait_for("zone example.com. changed: it is signed no more");
    process.wait_for("example.com. is signed no more: it has no dnssec any more");
    edge.write(&yaml);
    let changes = || edge.admin("GET", "/api/v1/status", "").1["config"]["changes"].clone();
    let told = serde_json::json!(["zone example.com. changed: it is signed"]);
    assert!(wait_until(|| changes() == told), "{}", changes());
}

#[test]
fn who_checks_a_configuration_that_takes_dnssec_from_a_zone_is_warned() {
    let signed = Signed::start("ed25519");
    let tag = signed.tag();
    let file = signed.edge.folder.path().join("edge.yaml");
    let check = || {
        let output = run(meridian().args(["check", "--config"]).arg(&file));
        String::from_utf8(output.stderr).unwrap()
    };
    let warning = format!(
        "warning: example.com. has no `dnssec`, and this edge has signed it, with {tag}: as long as"
    );
    assert!(!check().contains(&warning), "it is signed still");
    let yaml = yaml("ed25519");
    let lines = yaml.lines().filter(|line| !line.contains("dnssec:"));
    let unsigned: String = lines.map(|line| format!("{line}\n")).collect();
    std::fs::write(&file, unsigned).unwrap();
    assert!(check().contains(&warning), "{}", check());
}

#[test]
fn a_ds_of_another_key_in_the_zone_above_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let (keys, file) = (folder.path().join("keys"), folder.path().join("edge.yaml"));
    std::fs::create_dir(&keys).unwrap();
    keygen(&keys, ["-A", "now"]);
    let check = |ds: &str| {
        let above = format!(
            "  com: {{ nameservers: {{ ns1: [192.0.2.53] }}, dnssec: {{ keys: keys }}, records: {{ example: {{ NS: ns1.example.com., DS: '{ds}' }} }} }}\n"
        );
        std::fs::write(&file, yaml("ed25519") + &above).unwrap();
        let mut check = meridian();
        // It has no key of `com.` to print a DS of.
        let output = check.args(["check", "--ds", "--config"]).arg(&file);
        let output = output.output().unwrap();
        let said = |bytes| String::from_utf8(bytes).unwrap();
        (said(output.stdout), said(output.stderr))
    };
    let other = format!("1 15 2 {}", "AB".repeat(32));
    let (printed, told) = check(&other);
    let own = printed.lines().find_map(|line| line.split_once(" DS "));
    let (_, own) = own.unwrap();
    let tag = own.split(' ').next().unwrap();
    let warning = format!(
        "warning: example.com. is signed with {tag}, and the zone above has no DS record of that, but of 1: "
    );
    assert!(told.contains(&warning), "{told}");
    assert!(!check(own).1.contains("has no DS record of that"));
    // A digest that is not SHA-256 is taken at its number.
    let digest = own.rsplit_once(' ').unwrap().1;
    let longer = own.replace(" 2 ", " 4 ").replace(digest, &"AB".repeat(48));
    assert!(!check(&longer).1.contains("has no DS record of that"));
}
