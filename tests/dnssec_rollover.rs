//! Keys that roll while the edge runs, as dnssec-keygen and dnssec-settime have them: whoever
//! validates meanwhile, with a cache or without, never finds an answer bogus.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use support::{DnsClient, Edge, Unbound, ask, delegation, query, run, wait_until};

/// What is asked all the while: a record, a steered name, a wildcard's, one that is not there.
const QUESTIONS: [(&str, u16); 4] = [
    ("www.sub.example.com", 1),
    ("api.sub.example.com", 1),
    ("x.wild.sub.example.com", 16),
    ("nobody.sub.example.com", 1),
];

/// A parent whose key stays, and the child whose keys roll. Caches keep keys and DS for 3 s, data
/// for 1 s, so that they often judge new data by keys that they have had for a while.
fn yaml(ds_of_sub: &[String]) -> String {
    format!(
        "listen: {{ dns: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
regions: {{ us-east-1: {{ addresses: [192.0.2.1, 192.0.2.2] }} }}
services: {{ api: {{ hosts: [api.sub.example.com], dns: {{ ttl: 1s }} }} }}
zones:
  example.com:
    ttl: 3s
    nameservers: {{ ns1: [127.0.0.1] }}
    dnssec: {{ keys: keys }}
    records: {{ sub: {{ NS: [ns1.sub], DS: {ds_of_sub:?} }} }}
  sub.example.com:
    ttl: 3s
    nameservers: {{ ns1: [127.0.0.1] }}
    dnssec: {{ keys: keys }}
    records:
      www: {{ A: [192.0.2.3], ttl: 1s }}
      '*.wild': {{ TXT: [wild], ttl: 1s }}
"
    )
}

/// A key pair of the child in the folder.
struct Key {
    folder: PathBuf,
    stem: String,
}

impl Key {
    fn new(folder: &Path, words: &str) -> Self {
        Self::of("ECDSAP256SHA256", folder, words)
    }

    /// Has dnssec-keygen make it.
    fn of(algorithm: &str, folder: &Path, words: &str) -> Self {
        let mut keygen = Command::new("dnssec-keygen");
        keygen.arg("-K").arg(folder).args(["-a", algorithm]);
        keygen.args(words.split(' ')).arg("sub.example.com");
        let stem = String::from_utf8(run(&mut keygen).stdout).unwrap();
        Self {
            folder: folder.to_owned(),
            stem: stem.trim().to_owned(),
        }
    }

    /// Has dnssec-settime change its times.
    fn set(&self, words: &str) {
        let mut settime = Command::new("dnssec-settime");
        settime.arg("-K").arg(&self.folder).args(words.split(' '));
        run(settime.arg(&self.stem));
    }

    fn tag(&self) -> u16 {
        self.stem.rsplit('+').next().unwrap().parse().unwrap()
    }

    /// What its parent should say.
    fn ds(&self) -> String {
        let mut dsfromkey = Command::new("dnssec-dsfromkey");
        dsfromkey.arg("-2").arg(self.folder.join(&self.stem));
        let text = String::from_utf8(run(&mut dsfromkey).stdout).unwrap();
        let (_, ds) = text.trim().split_once(" IN DS ").unwrap();
        ds.to_owned()
    }

    /// The public half as text.
    fn public(&self) -> String {
        let file = self.folder.join(format!("{}.key", self.stem));
        let text = fs::read_to_string(file).unwrap();
        let record = text.lines().find(|line| !line.starts_with(';')).unwrap();
        record.split_whitespace().skip(6).collect()
    }
}

/// A running edge whose child's keys roll, and its validators.
struct Rollover {
    edge: Edge,
    keys: PathBuf,
}

impl Rollover {
    /// Serves with the keys that are there; the parent has the DS of the first.
    fn start(make: impl Fn(&Path) -> Vec<Key>) -> (Self, Vec<Key>) {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        fs::create_dir(&keys).unwrap();
        let made = make(&keys);
        let edge = Edge::start_in(folder, &yaml(&[made[0].ds()]));
        (Self { edge, keys }, made)
    }

    /// Whose signatures an answer has.
    fn signers(&self, words: &str) -> BTreeSet<u16> {
        let answer = self.edge.kdig(&format!("{words} +dnssec +noall +answer"));
        let lines = answer.lines().map(|line| line.split_whitespace());
        lines
            .filter_map(|words| words.skip_while(|word| *word != "RRSIG").nth(7))
            .map(|tag| tag.parse().unwrap())
            .collect()
    }

    fn publishes(&self, key: &Key) -> bool {
        let answer = self.edge.kdig("sub.example.com DNSKEY +noall +answer");
        let squeezed: String = answer.split_whitespace().collect();
        squeezed.contains(&key.public())
    }

    #[track_caller]
    fn wait(&self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        assert!(
            wait_until(|| condition(self)),
            "{what}\n{}",
            self.edge.process.said()
        );
    }

    /// The parent takes over what the child announces (RFC 7344 §6).
    fn parent_polls(&self, expected: &[&Key]) {
        let expected: BTreeSet<u16> = expected.iter().map(|key| key.tag()).collect();
        let said = |rtype: &str| -> Vec<String> {
            let text = self.edge.kdig(&format!("sub.example.com {rtype} +short"));
            text.lines().map(str::to_owned).collect()
        };
        let tag = |ds: &String| ds.split(' ').next().unwrap().parse::<u16>().unwrap();
        let tags = |rtype: &str| said(rtype).iter().map(tag).collect::<BTreeSet<u16>>();
        self.wait("never announced", |_| tags("CDS") == expected);
        self.edge.write(&yaml(&said("CDS")));
        self.wait("never in the parent", |_| tags("DS") == expected);
    }
}

/// Asks again and again on a thread of its own, and keeps what was not validated.
struct Validator {
    asked: Arc<AtomicUsize>,
    bogus: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Validator {
    /// `judge` says what is wrong with an answer, if anything is.
    fn start(judge: impl Fn(&str, u16) -> Result<(), String> + Send + 'static) -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let bogus = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let shared = (asked.clone(), bogus.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let (asked, bogus, stop) = shared;
            while !stop.load(Ordering::Relaxed) {
                for (name, qtype) in QUESTIONS {
                    if let Err(why) = judge(name, qtype) {
                        bogus.lock().unwrap().push(format!("{name} {qtype}: {why}"));
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                std::thread::park_timeout(Duration::from_millis(50));
            }
        });
        Self {
            asked,
            bogus,
            stop,
            thread: Some(thread),
        }
    }

    /// One with a cache: unbound, which knows the parent's DS.
    fn unbound(edge: &Edge, ds: &str) -> Self {
        // RFC 6840 §5.11 does not ask it of validators to want every algorithm; some do.
        let lines = format!(
            "module-config: 'validator iterator'\n  harden-algo-downgrade: yes\n  trust-anchor: '{ds}'"
        );
        let unbound = Unbound::start(edge.address("dns"), &lines);
        let client = DnsClient::of(unbound.address);
        Self::start(move |name, qtype| {
            let _running = &unbound;
            let mut asks = query(name, qtype, &[]);
            asks[3] |= 0x20; // AD: tell whether it is authentic, RFC 6840 §5.7.
            let reply = client.ask(asks).0.metadata;
            if reply.authentic_data {
                Ok(())
            } else {
                Err(reply.response_code.to_string())
            }
        })
    }

    /// One without: delv, which fetches all it needs for every question.
    fn delv(edge: &Edge, ds: &str) -> Self {
        let fields: Vec<&str> = ds.split_whitespace().collect();
        let [_, _, _, tag, algorithm, kind, digest] = fields[..] else {
            panic!("{ds:?}")
        };
        let anchor = edge.folder.path().join("anchor");
        let text = format!(
            "trust-anchors {{ example.com. static-ds {tag} {algorithm} {kind} \"{digest}\"; }};"
        );
        fs::write(&anchor, text).unwrap();
        let server = edge.address("dns");
        Self::start(move |name, qtype| {
            let words = format!(
                "-a {} +root=example.com -t TYPE{qtype} {name}",
                anchor.display()
            );
            let answer = ask("delv", server, &words);
            if answer.contains("fully validated") {
                Ok(())
            } else {
                Err(answer)
            }
        })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    #[track_caller]
    fn check(&self) {
        let bogus = self.bogus.lock().unwrap().clone();
        assert!(
            bogus.is_empty(),
            "{} of {}: {}",
            bogus.len(),
            self.asked(),
            bogus[0]
        );
    }
}

impl Drop for Validator {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Rolls while validators ask; asks on for a while when it is over.
#[track_caller]
fn check(rollover: &Rollover, roll: impl FnOnce()) {
    let told = delegation(rollover.edge.folder.path());
    let ds = told.lines().find(|line| line.starts_with("example.com."));
    let ds = ds.unwrap();
    let validators = [
        Validator::unbound(&rollover.edge, ds),
        Validator::delv(&rollover.edge, ds),
    ];
    roll();
    for validator in &validators {
        let before = validator.asked();
        rollover.wait("the validator stands still", |_| {
            validator.asked() > before + 2 * QUESTIONS.len()
        });
        validator.check();
    }
}

#[test]
fn a_zone_signing_key_rolls_by_pre_publication() {
    let make = |keys: &Path| vec![Key::new(keys, "-f KSK"), Key::new(keys, "-P now")];
    let (rollover, made) = Rollover::start(make);
    let [key_signing, old] = &made[..] else {
        panic!("two keys")
    };
    let www = "www.sub.example.com A";
    assert_eq!(rollover.signers(www), [old.tag()].into());
    check(&rollover, || {
        let new = Key::new(&rollover.keys, "-P now -A +1d");
        rollover.wait("never published", |r| r.publishes(&new));
        assert_eq!(rollover.signers(www), [old.tag()].into(), "not yet");
        // By then caches have the new key, and later none of the old signatures.
        new.set("-A +5");
        old.set("-I +5 -D +9");
        rollover.wait("never signs", |r| r.signers(www) == [new.tag()].into());
        assert!(rollover.publishes(old), "its signatures are in caches");
        rollover.wait("never gone", |r| !r.publishes(old));
        let of_keys = rollover.signers("sub.example.com DNSKEY");
        assert_eq!(of_keys, [key_signing.tag()].into());
    });
}

#[test]
fn a_key_signing_key_rolls_by_double_ds() {
    let make = |keys: &Path| vec![Key::new(keys, "-f KSK"), Key::new(keys, "-P now")];
    let (rollover, made) = Rollover::start(make);
    let [old, zone_signing] = &made[..] else {
        panic!("two keys")
    };
    check(&rollover, || {
        let new = Key::new(&rollover.keys, "-f KSK -P +1d -A +1d -P sync now");
        rollover.parent_polls(&[old, &new]);
        assert!(!rollover.publishes(&new), "not yet");
        // By then caches have the new DS, and later none of the old signatures.
        new.set("-P +5 -A +5");
        old.set("-I +5 -D +9 -D sync +9");
        let dnskey = "sub.example.com DNSKEY";
        rollover.wait("never signs", |r| r.signers(dnskey) == [new.tag()].into());
        rollover.wait("never gone", |r| !r.publishes(old));
        rollover.parent_polls(&[&new]);
        let of_data = rollover.signers("www.sub.example.com A");
        assert_eq!(of_data, [zone_signing.tag()].into());
    });
}

#[test]
fn a_combined_key_rolls_by_pre_publication_and_double_ds() {
    let make = |keys: &Path| vec![Key::new(keys, "-f KSK")];
    let (rollover, made) = Rollover::start(make);
    let old = &made[0];
    check(&rollover, || {
        let new = Key::new(&rollover.keys, "-f KSK -P now -A +1d -P sync now");
        rollover.parent_polls(&[old, &new]);
        assert!(
            rollover.publishes(&new),
            "it signs data that caches will judge"
        );
        // By then caches have the new key and its DS, and later none of the old signatures.
        new.set("-A +5");
        old.set("-I +5 -D +9 -D sync +9");
        for signed in ["sub.example.com DNSKEY", "www.sub.example.com A"] {
            rollover.wait("never signs", |r| r.signers(signed) == [new.tag()].into());
        }
        assert!(rollover.publishes(old), "its signatures are in caches");
        rollover.wait("never gone", |r| !r.publishes(old));
        rollover.parent_polls(&[&new]);
    });
}

#[test]
fn an_algorithm_rolls_with_signatures_before_and_after_its_keys() {
    let make = |keys: &Path| vec![Key::new(keys, "-f KSK")];
    let (rollover, made) = Rollover::start(make);
    let old = &made[0];
    let (www, dnskey) = ("www.sub.example.com A", "sub.example.com DNSKEY");
    check(&rollover, || {
        let ahead = "-f KSK -A now -P +1d -P sync +1d";
        let new = Key::of("ED25519", &rollover.keys, ahead);
        let both: BTreeSet<u16> = [old.tag(), new.tag()].into();
        rollover.wait("never signs", |r| r.signers(www) == both);
        assert!(!rollover.publishes(&new), "caches have data without it");
        assert_eq!(rollover.signers(dnskey), [old.tag()].into());
        // By then caches have no data without its signatures.
        new.set("-P +5");
        rollover.wait("never published", |r| r.publishes(&new));
        assert_eq!(rollover.signers(dnskey), both);
        // By then they know it.
        new.set("-P sync +5");
        old.set("-D sync +5");
        rollover.parent_polls(&[&new]);
        // By then they have no DS of the old one; then no DNSKEY set with it.
        old.set("-D +5 -I +10");
        rollover.wait("never gone", |r| !r.publishes(old));
        assert_eq!(rollover.signers(www), both, "caches have its key");
        assert_eq!(rollover.signers(dnskey), [new.tag()].into());
        rollover.wait("never silent", |r| r.signers(www) == [new.tag()].into());
    });
}
