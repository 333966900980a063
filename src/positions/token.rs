//! The token: a client's vector, signed, as the cookie and the header carry it.
//!
//! Layout before base64url without padding (RFC 4648 §5), all integers big-endian:
//!
//! ```text
//! 1 version   1 key id   4 expiry, Unix seconds   8 session
//! 1 flags (1: a pin follows)   [4 pin expiry  1 length  name]
//! 1 entries   each: 1 length  name  varint epoch  varint seq
//! 16 HMAC-SHA-256 over "token", the domain's name and all of the above, cut to 16 bytes
//! ```

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::seal::{Keyring, SealError, TAG_LEN};
use super::vector::{MOST_VECTOR_ENTRIES, Position, RegionName, Vector};

/// The most bytes of a token as it travels (the contract).
pub(super) const MOST_TOKEN_BYTES: usize = 512;

const VERSION: u8 = 1;
const FLAG_PIN: u8 = 1;

/// Keeps a client on the region of a write whose position is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Where the write went.
    pub region: RegionName,
    /// Unix seconds.
    pub until: u32,
}

/// What a client must see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Token {
    /// Unix seconds after which it counts as absent.
    pub expires: u32,
    /// Random, the same through a client's chain of tokens.
    pub session: u64,
    /// The client's writes.
    pub vector: Vector,
    /// The newest write of unknown position.
    pub pin: Option<Pin>,
}

/// Why a token counts as absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not one of ours, or altered.
    #[error("the token is not genuine: {0}")]
    Seal(#[from] SealError),
    /// Over.
    #[error("the token has expired")]
    Expired,
}

impl TokenError {
    /// As the metric's label has it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Seal(SealError::Forged) => "forged",
            Self::Seal(SealError::Malformed) => "malformed",
            Self::Expired => "expired",
        }
    }
}

impl Token {
    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.vector.is_empty() && self.pin.is_none()
    }

    /// Takes over what another token of the same client asks for: the larger entries, the newer pin.
    pub fn merge(&mut self, other: &Self) {
        self.vector.merge(&other.vector);
        self.expires = self.expires.max(other.expires);
        let newer = |pin: &Pin| self.pin.as_ref().is_none_or(|own| own.until < pin.until);
        if other.pin.as_ref().is_some_and(newer) {
            self.pin.clone_from(&other.pin);
        }
    }

    /// Signs for a domain; `None` when it would not fit: over 512 bytes or 16 entries.
    pub fn seal(&self, keyring: &Keyring, domain: &str) -> Option<String> {
        if self.vector.len() > MOST_VECTOR_ENTRIES {
            return None;
        }
        let mut body = vec![VERSION, keyring.sign(&[])?.0];
        body.extend(self.expires.to_be_bytes());
        body.extend(self.session.to_be_bytes());
        match &self.pin {
            None => body.push(0),
            Some(pin) => {
                body.push(FLAG_PIN);
                body.extend(pin.until.to_be_bytes());
                put_name(&mut body, &pin.region)?;
            }
        }
        body.push(u8::try_from(self.vector.len()).ok()?);
        for (region, position) in self.vector.iter() {
            put_name(&mut body, region)?;
            put_varint(&mut body, position.epoch);
            put_varint(&mut body, position.seq);
        }
        let (_, tag) = keyring.sign(&[b"token", domain.as_bytes(), &body])?;
        body.extend(tag);
        let text = URL_SAFE_NO_PAD.encode(body);
        (text.len() <= MOST_TOKEN_BYTES).then_some(text)
    }

    /// Reads a token of this domain. `now` is in Unix seconds.
    pub fn open(text: &str, keyring: &Keyring, domain: &str, now: u32) -> Result<Self, TokenError> {
        if text.len() > MOST_TOKEN_BYTES {
            return Err(SealError::Malformed.into());
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| SealError::Malformed)?;
        let (body, tag) = bytes
            .split_last_chunk::<TAG_LEN>()
            .ok_or(SealError::Malformed)?;
        let key_id = *body.get(1).ok_or(SealError::Malformed)?;
        keyring.verify(key_id, &[b"token", domain.as_bytes(), body], tag)?;
        let token = Reader(body).token().ok_or(SealError::Malformed)?;
        if token.expires <= now {
            return Err(TokenError::Expired);
        }
        Ok(token)
    }
}

fn put_name(out: &mut Vec<u8>, name: &str) -> Option<()> {
    out.push(u8::try_from(name.len()).ok()?);
    out.extend_from_slice(name.as_bytes());
    Some(())
}

/// LEB128: seven bits a byte, least significant first.
fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        let low = u8::try_from(value & 0x7f).unwrap_or(0);
        out.push(low | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or(0));
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn token(mut self) -> Option<Token> {
        if self.byte()? != VERSION {
            return None;
        }
        let _key_id = self.byte()?;
        let expires = u32::from_be_bytes(self.array()?);
        let session = u64::from_be_bytes(self.array()?);
        let pin = match self.byte()? {
            0 => None,
            FLAG_PIN => Some(Pin {
                until: u32::from_be_bytes(self.array()?),
                region: self.name()?,
            }),
            _ => return None,
        };
        let entries = usize::from(self.byte()?);
        if entries > MOST_VECTOR_ENTRIES {
            return None;
        }
        let mut vector = Vector::default();
        for _ in 0..entries {
            let region = self.name()?;
            let (epoch, seq) = (self.varint()?, self.varint()?);
            vector.set(&region, Position { epoch, seq });
        }
        self.0.is_empty().then_some(Token {
            expires,
            session,
            vector,
            pin,
        })
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn name(&mut self) -> Option<RegionName> {
        let length = usize::from(self.byte()?);
        let (name, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(name).ok().map(Into::into)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value: u64 = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let low = u64::from(byte & 0x7f);
            if shift == 63 && low > 1 {
                return None;
            }
            value |= low << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::plan::VersionForm;
    use crate::positions::parse_vector;

    fn token(vector: &str) -> Token {
        Token {
            expires: 2_000,
            session: 7,
            vector: parse_vector(vector, VersionForm::Integer).unwrap(),
            pin: None,
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
    fn a_changed_character_anywhere_is_noticed() {
        let ring = Keyring::new(&[]);
        let text = token("us-east-1=1042").seal(&ring, "orders").unwrap();
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(
                Token::open(&changed, &ring, "orders", 0).is_err(),
                "at {at}"
            );
        }
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
        let pinned = |region: &str, until| {
            Some(Pin {
                region: region.into(),
                until,
            })
        };
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

    proptest! {
        #[test]
        fn any_text_is_a_token_or_is_refused(text in "[A-Za-z0-9_-]{0,200}") {
            prop_assert!(Token::open(&text, &Keyring::new(&[]), "orders", 0).is_err());
        }

        #[test]
        fn every_number_survives(epoch: u64, seq: u64, session: u64) {
            let ring = Keyring::new(&[]);
            let mut vector = Vector::default();
            vector.set(&"us-east-1".into(), Position { epoch, seq });
            let token = Token { expires: 1, session, vector, pin: None };
            let text = token.seal(&ring, "orders").unwrap();
            prop_assert_eq!(Token::open(&text, &ring, "orders", 0), Ok(token));
        }
    }
}
