//! What is wrong with a token that counts as absent, for an operator who asks.
//!
//! A request's client is told nothing of it, and no more is known of a text whose signature does not hold than that:
//! what it seems to ask for is not shown.

use super::wire::{MOST_TOKEN_BYTES, NoParts, Parts};
use super::{Token, TokenError};
use crate::positions::seal::Keyring;

/// Why a token counts as absent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Longer than any.
    #[error("it has {0} bytes, and a token has at most {MOST_TOKEN_BYTES}")]
    TooLong(usize),
    /// Not in the form of one.
    #[error("it is not base64url without padding")]
    NotBase64,
    /// No room for a signature.
    #[error("it is too short for a token: a part of it is missing")]
    TooShort,
    /// By none of this edge's keys.
    #[error("it names key {id}, and `keys` has {}", show(known))]
    UnknownKey {
        /// Which it names.
        id: u8,
        /// Which there are.
        known: Vec<u8>,
    },
    /// Of services on another data store.
    #[error("it is of domain `{0}`, which is not the service's")]
    OtherDomain(String),
    /// Altered, or made elsewhere.
    #[error(
        "its signature is not that of key {0}: it was altered, or signed with another secret, or for a domain that is not configured"
    )]
    Signature(u8),
    /// Signed by this edge's keys, and not understood.
    #[error("it is genuine, but of a version that this edge does not read")]
    Version,
    /// Over.
    #[error("it expired {0} s ago")]
    Expired(u32),
}

fn show(ids: &[u8]) -> String {
    let ids: Vec<String> = ids.iter().map(u8::to_string).collect();
    ids.join(", ")
}

impl Token {
    /// Reads a token as [`open`](Self::open) does, and says what is wrong with it. `others` are domains that it may be
    /// of instead.
    pub fn examine<'a>(
        text: &str,
        keyring: &Keyring,
        domain: &str,
        others: impl IntoIterator<Item = &'a str>,
        now: u32,
    ) -> Result<Self, Flaw> {
        let parts = Parts::of(text).map_err(|why| match why {
            NoParts::TooLong => Flaw::TooLong(text.len()),
            NoParts::NotBase64 => Flaw::NotBase64,
            NoParts::TooShort => Flaw::TooShort,
        })?;
        if parts.verify(keyring, domain).is_err() {
            return Err(foreign(&parts, keyring, others));
        }
        let token = parts.token().ok_or(Flaw::Version)?;
        let expires = token.expires;
        token.still_valid(now).map_err(|why| match why {
            TokenError::Expired => Flaw::Expired(now.saturating_sub(expires)),
            TokenError::Seal(_) => Flaw::Version,
        })
    }
}

/// Why a signature does not hold for a domain.
fn foreign<'a>(
    parts: &Parts,
    keyring: &Keyring,
    others: impl IntoIterator<Item = &'a str>,
) -> Flaw {
    let known = keyring.ids();
    if !known.contains(&parts.key_id) {
        let id = parts.key_id;
        return Flaw::UnknownKey { id, known };
    }
    let mut others = others.into_iter();
    let signed_for = others.find(|other| parts.verify(keyring, other).is_ok());
    signed_for.map_or(Flaw::Signature(parts.key_id), |other| {
        Flaw::OtherDomain(other.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::plan::Key;
    use crate::units::Secret;

    fn ring(id: u8) -> Keyring {
        Keyring::new(&[Key {
            id,
            secret: Secret::new(format!("a secret of key {id} that is long enough")),
        }])
    }

    fn token() -> Token {
        Token {
            expires: 2_000,
            ..Token::default()
        }
    }

    #[track_caller]
    fn check(text: &str, now: u32, expected: &str) {
        let examined = Token::examine(text, &ring(1), "orders", ["orders", "carts"], now);
        assert_eq!(examined.unwrap_err().to_string(), expected);
        assert!(Token::open(text, &ring(1), "orders", now).is_err());
    }

    #[test]
    fn an_operator_is_told_what_is_wrong_with_a_token() {
        let of = |id, domain| token().seal(&ring(id), domain).unwrap();
        let genuine = of(1, "orders");
        check(&genuine, 2_012, "it expired 12 s ago");
        check(&of(7, "orders"), 0, "it names key 7, and `keys` has 1");
        let foreign = "it is of domain `carts`, which is not the service's";
        check(&of(1, "carts"), 0, foreign);
        check("no token!", 0, "it is not base64url without padding");
        check(
            "AAAA",
            0,
            "it is too short for a token: a part of it is missing",
        );
        let long = "A".repeat(513);
        check(&long, 0, "it has 513 bytes, and a token has at most 512");
        let altered = format!("{}A", genuine.get(..genuine.len() - 1).unwrap());
        let signature = "its signature is not that of key 1: it was altered, or signed with another secret, or for a \
                         domain that is not configured";
        check(&altered, 0, signature);
        check(&of(1, "gone"), 0, signature);
    }

    #[test]
    fn what_is_signed_and_not_understood_is_told_from_what_is_forged() {
        let body = [9, 1, 0, 0];
        let tag = ring(1).sign(&[b"token", b"orders", &body]).unwrap();
        let text = base64::Engine::encode(
            &base64::engine::general_purpose::URL_SAFE_NO_PAD,
            [&body[..], &tag].concat(),
        );
        check(
            &text,
            0,
            "it is genuine, but of a version that this edge does not read",
        );
    }

    #[test]
    fn a_good_token_has_no_flaw() {
        let text = token().seal(&ring(1), "orders").unwrap();
        let examined = Token::examine(&text, &ring(1), "orders", ["carts"], 0);
        assert_eq!(examined, Ok(token()));
    }
}
