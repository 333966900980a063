//! Test vectors of the RFCs, roll-overs by date, and files as BIND's tools write them.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hickory_proto::rr::Name;

use super::canonical::{Bytes, append_rrset};
use super::key::{Key, KeyError, Signed, Times, ZoneKeys};
use super::key_files::{create_keys, load_keys};
use super::signer::{Haste, Signer, SigningRun, ToSign};
use crate::config::plan::SigningAlgorithm;

const EXAMPLE_COM: &[u8] = b"\x07example\x03com\x00";

/// RFC 8080 §6.1.
fn rfc_8080_key() -> Key {
    let public = BASE64.decode("l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=");
    let private = BASE64.decode("ODIyNjAzODQ2MjgwODAxMjI2NDUxOTAyMDQxNDIyNjI=");
    let (public, private) = (public.unwrap(), private.unwrap());
    let algorithm = SigningAlgorithm::Ed25519;
    Key::new(algorithm, 257, public, &private, Times::default()).unwrap()
}

#[test]
fn ed25519_signs_as_rfc_8080_has_it() {
    let key = rfc_8080_key();
    assert_eq!(key.tag(), 3613);
    let ds: String = key
        .ds(EXAMPLE_COM)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        ds,
        "0e1d0f023aa5ab37efce57f737fc1627013fee07bdf241bd10f3b1964ab55c78e79a304b"
    );
    let mx = b"\x00\x0a\x04mail\x07example\x03com\x00";
    let set = ToSign {
        owner: EXAMPLE_COM,
        rtype: 15,
        original_ttl: 3600,
    };
    let mut message = Bytes::from_slice(b"\x00\x0f\x0f\x02\x00\x00\x0e\x10");
    for number in [1_440_021_600_u32, 1_438_207_200] {
        message.extend(number.to_be_bytes());
    }
    message.extend(3613_u16.to_be_bytes());
    message.extend_from_slice(EXAMPLE_COM);
    append_rrset(&mut message, set, std::iter::once(&mx[..]));
    assert_eq!(
        BASE64.encode(key.sign(&message).unwrap()),
        "oL9krJun7xfBOIWcGHi7mag5/hdZrKWw15jPGrHpjQeRAvTdszaPD+QLs3fx8A4M3e23mRZ9VrbpMngwcrqNAg=="
    );
}

#[test]
fn halves_of_two_keys_are_refused() {
    for algorithm in SigningAlgorithm::ALL {
        let (one, _) = Key::generate(algorithm, Times::default()).unwrap();
        let (_, other) = Key::generate(algorithm, Times::default()).unwrap();
        let public = one.public().to_vec();
        let mixed = Key::new(algorithm, 257, public.clone(), &other, Times::default());
        assert_eq!(mixed.unwrap_err(), KeyError::Mismatch);
        let flags = Key::new(algorithm, 512, public, &other, Times::default());
        assert_eq!(flags.unwrap_err(), KeyError::Flags(512));
    }
}

fn key(flags: u16, times: Times) -> Key {
    key_of(SigningAlgorithm::Ed25519, flags, times)
}

fn key_of(algorithm: SigningAlgorithm, flags: u16, times: Times) -> Key {
    let (key, private) = Key::generate(algorithm, times).unwrap();
    Key::new(algorithm, flags, key.public().to_vec(), &private, times).unwrap()
}

/// Who is published, signs data, signs keys, and is announced at a time: places among the keys.
#[track_caller]
fn check(keys: &ZoneKeys, now: u32, expected: [&[usize]; 4]) {
    let place = |key: &Key| keys.keys.iter().position(|k| k.tag() == key.tag()).unwrap();
    let found: [Vec<usize>; 4] = [
        keys.published(now).map(place).collect(),
        keys.signing(now, Signed::Data).map(place).collect(),
        keys.signing(now, Signed::Keys).map(place).collect(),
        keys.announced(now).map(place).collect(),
    ];
    assert_eq!(found.each_ref().map(Vec::as_slice), expected, "at {now}");
}

#[test]
fn a_zone_signing_key_is_published_before_it_signs() {
    // RFC 6781 §4.1.1.1, with a key-signing key that stays.
    let old = Times {
        inactive: Some(200),
        delete: Some(300),
        ..Times::default()
    };
    let new = Times {
        publish: Some(100),
        activate: Some(200),
        ..Times::default()
    };
    let keys = ZoneKeys {
        keys: vec![key(257, Times::default()), key(256, old), key(256, new)],
    };
    check(&keys, 99, [&[0, 1], &[1], &[0], &[0]]);
    check(&keys, 100, [&[0, 1, 2], &[1], &[0], &[0]]);
    check(&keys, 200, [&[0, 1, 2], &[2], &[0], &[0]]);
    check(&keys, 300, [&[0, 2], &[2], &[0], &[0]]);
    assert_eq!(keys.next_change(99), Some(100));
    assert_eq!(keys.next_change(300), None);
}

#[test]
fn a_combined_key_is_replaced_after_its_ds() {
    // RFC 6781 §4.1.2, double-DS: the parent has both before the zone changes.
    let old = Times {
        inactive: Some(200),
        delete: Some(300),
        ..Times::default()
    };
    let new = Times {
        publish: Some(200),
        activate: Some(200),
        sync_publish: Some(100),
        ..Times::default()
    };
    let once_new = Times {
        sync_publish: Some(0),
        ..old
    };
    let second = ZoneKeys {
        keys: vec![key(257, once_new), key(257, new)],
    };
    check(&second, 200, [&[0, 1], &[1], &[1], &[0, 1]]);
    check(&second, 300, [&[1], &[1], &[1], &[1]]);
    let keys = ZoneKeys {
        keys: vec![key(257, old), key(257, new)],
    };
    check(&keys, 99, [&[0], &[0], &[0], &[0]]);
    check(&keys, 100, [&[0], &[0], &[0], &[0, 1]]);
    check(&keys, 200, [&[0, 1], &[1], &[1], &[0, 1]]);
    check(&keys, 300, [&[1], &[1], &[1], &[1]]);
    // The parent needs the DS of both from the start.
    assert_eq!(keys.for_parent(0).count(), 2);
    assert_eq!(keys.for_parent(300).count(), 1);
}

#[test]
fn an_algorithm_is_replaced_with_signatures_before_and_after_its_keys() {
    // RFC 6781 §4.1.4, the conservative approach.
    let old = Times {
        sync_delete: Some(300),
        delete: Some(400),
        inactive: Some(500),
        ..Times::default()
    };
    let new = Times {
        activate: Some(100),
        publish: Some(200),
        sync_publish: Some(300),
        ..Times::default()
    };
    let keys = ZoneKeys {
        keys: vec![
            key_of(SigningAlgorithm::EcdsaP256Sha256, 257, old),
            key(257, new),
        ],
    };
    check(&keys, 99, [&[0], &[0], &[0], &[0]]);
    check(&keys, 100, [&[0], &[0, 1], &[0], &[0]]);
    check(&keys, 200, [&[0, 1], &[0, 1], &[0, 1], &[0]]);
    check(&keys, 300, [&[0, 1], &[0, 1], &[0, 1], &[1]]);
    check(&keys, 400, [&[1], &[0, 1], &[1], &[1]]);
    check(&keys, 500, [&[1], &[1], &[1], &[1]]);
}

#[test]
fn a_zone_whose_only_signing_key_is_not_published_is_unsigned() {
    let ahead = Times {
        activate: Some(100),
        publish: Some(200),
        ..Times::default()
    };
    let behind = Times {
        delete: Some(100),
        inactive: Some(200),
        ..Times::default()
    };
    for (times, cases) in [
        (ahead, [(199, false), (200, true)]),
        (behind, [(99, true), (100, false)]),
    ] {
        let keys = ZoneKeys {
            keys: vec![key(257, times)],
        };
        for (now, expected) in cases {
            assert_eq!(keys.is_signing(now), expected, "{times:?} at {now}");
        }
    }
}

#[test]
fn a_key_without_its_times_counts_always_and_none_means_unsigned() {
    let keys = ZoneKeys {
        keys: vec![key(257, Times::default())],
    };
    check(&keys, 0, [&[0], &[0], &[0], &[0]]);
    assert!(!ZoneKeys::default().is_signing(0));
    assert!(Signer::new(EXAMPLE_COM, Arc::new(ZoneKeys::default()), 0).is_none());
}

const DAY: u32 = 86_400;

#[test]
fn a_signature_is_kept_until_it_is_due_and_then_replaced() {
    let algorithm = SigningAlgorithm::EcdsaP256Sha256;
    let (key, _) = Key::generate(algorithm, Times::default()).unwrap();
    let keys = Arc::new(ZoneKeys { keys: vec![key] });
    let signer = |now| Signer::new(EXAMPLE_COM, keys.clone(), now).unwrap();
    let set = ToSign {
        owner: EXAMPLE_COM,
        rtype: 1,
        original_ttl: 60,
    };
    let begin = 1_000_000;

    let mut first = SigningRun::new(None, Haste::AtOnce);
    let made = signer(begin).sign(&mut first, set, &[&[192, 0, 2, 1]]);
    let (signatures, renew_at) = first.finish();
    assert_eq!((made.len(), renew_at), (1, begin + 7 * DAY));

    let again = |now, ttl| {
        let mut run = SigningRun::new(Some(&signatures), Haste::AtOnce);
        let set = ToSign {
            original_ttl: ttl,
            ..set
        };
        signer(now).sign(&mut run, set, &[&[192, 0, 2, 1]])
    };
    assert_eq!(again(begin + 5 * DAY, 60), made);
    // Whatever is due within a day goes with what is due.
    assert_ne!(again(begin + 6 * DAY, 60), made);
    assert_ne!(again(begin, 61), made);
}

#[test]
fn signing_rests_after_256_rrsets_and_ends_when_it_is_told_to() {
    let (key, _) = Key::generate(SigningAlgorithm::Ed25519, Times::default()).unwrap();
    let keys = Arc::new(ZoneKeys { keys: vec![key] });
    let signer = Signer::new(EXAMPLE_COM, keys, 1_000_000).unwrap();
    let rests = AtomicU32::new(0);
    let goes_on_twice = || rests.fetch_add(1, Ordering::Relaxed) < 2;
    let mut run = SigningRun::new(None, Haste::Beside(&goes_on_twice));
    let mut sign = |number: u32| {
        let set = ToSign {
            owner: EXAMPLE_COM,
            rtype: 1,
            original_ttl: 60,
        };
        let made = signer.sign(&mut run, set, &[&number.to_be_bytes()]);
        (made.len(), rests.load(Ordering::Relaxed))
    };
    let signed: Vec<(usize, u32)> = (0..514).map(&mut sign).collect();
    // It begins with a rest.
    assert_eq!((signed[0], signed[255]), ((1, 1), (1, 1)));
    assert_eq!((signed[256], signed[511]), ((1, 2), (1, 2)));
    assert_eq!((signed[512], signed[513]), ((0, 3), (0, 3)));
    assert!(run.is_given_up());
}

#[test]
fn keys_are_read_as_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let made = create_keys(
        &path,
        &zone("example.com."),
        SigningAlgorithm::EcdsaP256Sha256,
        1000,
    )
    .unwrap();
    let read = load_keys(&path, &zone("example.com.")).unwrap();
    assert_eq!(read.keys.len(), 1);
    assert_eq!(read.keys[0].dnskey(), made.keys[0].dnskey());
    assert_eq!(read.keys[0].times, made.keys[0].times);
    let private = std::fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap());
    let mut private = private.filter(|entry| entry.path().extension().unwrap() == "private");
    let mode = private
        .next()
        .unwrap()
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600, "readable by its owner alone");
    // Keys of other zones are nobody's business here.
    assert_eq!(load_keys(&path, &zone("ample.com.")).unwrap().keys.len(), 0);
}

fn zone(name: &str) -> Name {
    Name::from_ascii(name).unwrap()
}

#[test]
fn the_keys_of_a_zone_of_rfc_2317_have_names_that_files_can_have() {
    let folder = tempfile::tempdir().unwrap();
    let labels: [&[u8]; 6] = [b"0/25_-", b"2", b"0", b"192", b"in-addr", b"arpa"];
    let zone = Name::from_labels(labels).unwrap();
    let made = create_keys(folder.path(), &zone, SigningAlgorithm::Ed25519, 1_000).unwrap();
    let name = format!(
        "K0%2F25_-.2.0.192.in-addr.arpa.+015+{:05}.key",
        made.keys[0].tag()
    );
    assert!(folder.path().join(name).exists());
    assert_eq!(load_keys(folder.path(), &zone).unwrap().keys.len(), 1);
}

#[test]
fn a_zone_whose_name_is_too_long_for_a_file_is_refused_before_a_key_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let of = |last: usize| {
        let labels = [63, 63, 63, last].map(|length| "a".repeat(length) + ".");
        zone(&labels.concat())
    };
    let longest = of(39);
    create_keys(folder.path(), &longest, SigningAlgorithm::Ed25519, 0).unwrap();
    assert_eq!(load_keys(folder.path(), &longest).unwrap().keys.len(), 1);
    let [refused] = &load_keys(folder.path(), &of(40)).unwrap_err()[..] else {
        panic!("one problem is expected");
    };
    let said = "takes 233 bytes of the names of its key files, and 232 are possible";
    assert!(refused.to_string().ends_with(said), "{refused}");
}

/// For the text of a file that is not there.
const ABSENT: &str = "absent";

#[track_caller]
fn check_refused(public: &str, private: &str, says: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = |extension: &str| {
        folder
            .path()
            .join(format!("Kexample.com.+015+03613.{extension}"))
    };
    for (extension, text) in [("key", public), ("private", private)] {
        if text != ABSENT {
            std::fs::write(file(extension), text).unwrap();
        }
    }
    let errors = load_keys(folder.path(), &zone("example.com.")).unwrap_err();
    let told: String = errors.iter().map(ToString::to_string).collect();
    assert!(told.contains(says), "{told}");
}

#[test]
fn a_key_file_that_is_wrong_is_named_and_says_what_would_be_right() {
    let public =
        "example.com. 3600 IN DNSKEY 257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=\n";
    let private = "Private-key-format: v1.2\nAlgorithm: 15 (ED25519)\nPrivateKey: ODIyNjAzODQ2MjgwODAxMjI2NDUxOTAyMDQxNDIyNjI=\n";
    check_refused("", private, "a DNSKEY record of example.com. is expected");
    check_refused(
        "example.org. IN DNSKEY 257 3 15 AA==",
        private,
        "of example.com.",
    );
    check_refused(
        "example.com. IN DNSKEY 257 3 8 AA==",
        private,
        "13 (ECDSAP256SHA256) or 15",
    );
    check_refused(
        "example.com. IN DNSKEY 257 3",
        private,
        "`DNSKEY FLAGS 3 ALGORITHM BASE64`",
    );
    check_refused(public, ABSENT, "the private half of the key is missing");
    // Whether it ever signed the zone nobody can tell, so none is made in its place.
    check_refused(ABSENT, private, "the public half of the key is missing");
    check_refused(public, "Algorithm: 13\n", "`Algorithm: 15` is expected");
    check_refused(public, "Algorithm: 15\n", "`PrivateKey:` with base64");
    check_refused(
        public,
        "Algorithm: 15\nPrivateKey: AAAA\n",
        "does not fit the public one",
    );
    let timed = format!("{private}Activate: tomorrow\n");
    check_refused(public, &timed, "`Activate: tomorrow`: a time such as");
}
