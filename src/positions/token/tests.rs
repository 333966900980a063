//! Tokens on the wire, merged, and waived.

use proptest::prelude::*;

use super::*;
use crate::config::plan::VersionForm;
use crate::positions::parse_vector;
use crate::positions::seal::Keyring;
use crate::positions::vector::Position;

fn token(vector: &str) -> Token {
    Token {
        expires: 2_000,
        session: 7,
        vector: parse_vector(vector, VersionForm::Integer).unwrap(),
        pin: None,
        lost: false,
    }
}

#[test]
fn a_token_of_two_regions_fits_in_100_bytes() {
    let text = token("us-east-1=1042,eu-west-1=3:977")
        .seal(&Keyring::new(&[]), "orders")
        .unwrap();
    assert!(text.len() < 100, "{} bytes", text.len());
}

#[test]
fn a_token_opens_for_its_own_domain_until_it_expires() {
    let ring = Keyring::new(&[]);
    let mut token = token("us-east-1=1042,eu-west-1=3:977");
    token.pin = Some(Pin {
        region: "eu-west-1".into(),
        until: 1_005,
        turn: 255,
    });
    let text = token.seal(&ring, "orders").unwrap();
    assert_eq!(Token::open(&text, &ring, "orders", 1_999), Ok(token));
    assert_eq!(
        Token::open(&text, &ring, "orders", 2_000),
        Err(TokenError::Expired)
    );
    let forged = Err(TokenError::Seal(SealError::Forged));
    assert_eq!(Token::open(&text, &ring, "carts", 1_000), forged);
    assert_eq!(
        Token::open(&text, &Keyring::new(&[]), "orders", 1_000),
        forged
    );
}

#[test]
fn a_flipped_bit_anywhere_makes_a_token_absent() {
    let ring = Keyring::new(&[]);
    let pin = Some(Pin {
        region: "eu-west-1".into(),
        until: 1_000,
        turn: 1,
    });
    let pinned = Token {
        pin,
        ..token("us-east-1=4:1042")
    };
    for text in [token("").seal(&ring, "d"), pinned.seal(&ring, "d")] {
        let text = text.unwrap().into_bytes();
        for bit in 0..text.len() * 8 {
            let mut flipped = text.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // What is no text is no header and no cookie either.
            if let Ok(flipped) = String::from_utf8(flipped) {
                assert!(Token::open(&flipped, &ring, "d", 0).is_err(), "bit {bit}");
            }
        }
    }
}

#[test]
fn a_token_of_two_regions_is_below_a_hundred_bytes() {
    let text = token("us-east-1=18446744,eu-west-1=3:977000");
    let text = text.seal(&Keyring::new(&[]), "orders").unwrap();
    assert!(text.len() < 100, "{}", text.len());
}

#[test]
fn what_does_not_fit_becomes_a_pin_and_as_much_as_fits_stays() {
    let (ring, pin) = (Keyring::new(&[]), pinned("r3", 9).unwrap());
    let of = |n: u64| {
        let entries: Vec<String> = (0..n).map(|i| format!("r{i}={i}")).collect();
        let mut vector = Vector::default();
        for entry in entries {
            vector.merge(&parse_vector(&entry, VersionForm::Integer).unwrap());
        }
        Token {
            vector,
            ..token("")
        }
    };
    let opened = |token: Token| {
        let (text, waived) = token.seal_or_waive(&ring, "d", pin.clone()).unwrap();
        (Token::open(&text, &ring, "d", 0).unwrap(), waived)
    };
    assert_eq!(opened(of(16)), (of(16), 0));
    let (left, waived) = opened(of(18));
    assert_eq!((left.vector.len(), waived), (16, 2));
    assert_eq!((left.vector.get("r3"), left.pin), (None, pinned("r3", 9)));
    let (kept, _) = opened(Token {
        pin: pinned("r5", 1),
        ..of(17)
    });
    assert_eq!((kept.vector.get("r5"), kept.pin), (None, pinned("r5", 1)));
}

fn pinned(region: &str, until: u32) -> Option<Pin> {
    Some(Pin {
        region: region.into(),
        until,
        turn: 0,
    })
}

#[test]
fn what_does_not_fit_is_not_sealed() {
    let long = (0..16)
        .map(|i| format!("a-region-with-a-very-long-name-{i:02}=18446744073709551615"))
        .collect::<Vec<_>>()
        .join(",");
    assert_eq!(token(&long).seal(&Keyring::new(&[]), "orders"), None);
}

#[test]
fn merging_keeps_the_larger_entries_and_the_newer_pin() {
    let mut one = Token {
        pin: pinned("a", 10),
        ..token("us=5,eu=1")
    };
    one.merge(&Token {
        pin: pinned("b", 11),
        ..token("us=3,eu=2")
    });
    assert_eq!(one.vector.to_string(), "eu=2,us=5");
    assert_eq!(one.pin, pinned("b", 11));
}

fn any_token() -> impl Strategy<Value = Token> {
    let entries = prop::collection::btree_map("[a-c]", (0u64..3, 0u64..4), 0..3);
    let pin = prop::option::of(("[a-c]", 0u32..3));
    (entries, pin, 0u32..3, any::<bool>()).prop_map(|(entries, pin, expires, lost)| {
        let mut vector = Vector::default();
        for (region, (epoch, seq)) in entries {
            vector.set(&region.into(), Position { epoch, seq });
        }
        let pin = pin.and_then(|(region, until)| pinned(&region, until));
        Token {
            expires,
            session: 7,
            vector,
            pin,
            lost,
        }
    })
}

proptest! {
    #[test]
    fn merging_tokens_is_commutative_associative_and_idempotent(
        a in any_token(), b in any_token(), c in any_token()
    ) {
        let merged = |a: &Token, b: &Token| {
            let mut merged = a.clone();
            merged.merge(b);
            merged
        };
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(merged(&a, &a), a);
    }

    #[test]
    fn what_a_token_covers_adds_nothing_to_it(a in any_token(), b in any_token()) {
        let mut both = a.clone();
        both.merge(&b);
        prop_assert!(!a.covers(&b) || both == a);
        prop_assert!(a.covers(&a));
    }

    #[test]
    fn any_text_is_a_token_or_is_refused(text in "[A-Za-z0-9_-]{0,200}") {
        prop_assert!(Token::open(&text, &Keyring::new(&[]), "orders", 0).is_err());
    }

    #[test]
    fn every_number_survives(epoch: u64, seq: u64, session: u64) {
        let ring = Keyring::new(&[]);
        let mut vector = Vector::default();
        vector.set(&"us-east-1".into(), Position { epoch, seq });
        let token = Token { expires: 1, session, vector, pin: None, lost: seq % 2 == 1 };
        let text = token.seal(&ring, "orders").unwrap();
        prop_assert_eq!(Token::open(&text, &ring, "orders", 0), Ok(token));
    }
}
