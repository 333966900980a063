//! The token as the cookie and the header carry it, signed.
//!
//! Layout before base64url without padding (RFC 4648 §5), all integers big-endian:
//!
//! ```text
//! 1 version   1 key id   4 expiry, Unix seconds   8 session
//! 1 flags (1: a pin follows, 2: a loss is to be told, 4: the pin has a turn)   [4 pin expiry  1 length  name  [1 turn]]
//! 1 entries   each: 1 length  name  varint epoch  varint seq
//! 16 HMAC-SHA-256 over "token", the domain's name and all of the above, cut to 16 bytes
//! ```

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Pin, Token, TokenError};
use crate::config::plan::MOST_VECTOR_ENTRIES;
use crate::positions::seal::{Keyring, SealError, TAG_LEN};
use crate::positions::vector::{Position, RegionName, Vector};

/// The most bytes of a token as it travels (the contract).
pub(super) const MOST_TOKEN_BYTES: usize = 512;

const VERSION: u8 = 1;
const FLAG_PIN: u8 = 1;
const FLAG_LOST: u8 = 2;
const FLAG_TURN: u8 = 4;

/// What a token is signed for.
const PURPOSE: &[u8] = b"token";

/// A token taken apart, whoever made it.
pub(super) struct Parts {
    /// All but the signature.
    pub(super) body: Vec<u8>,
    pub(super) tag: [u8; TAG_LEN],
    pub(super) key_id: u8,
}

/// Why a text cannot be taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoParts {
    TooLong,
    NotBase64,
    TooShort,
}

impl Parts {
    /// Takes a text apart; nothing of it is to be believed before its signature is verified.
    pub(super) fn of(text: &str) -> Result<Self, NoParts> {
        if text.len() > MOST_TOKEN_BYTES {
            return Err(NoParts::TooLong);
        }
        let mut body = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| NoParts::NotBase64)?;
        let (rest, tag) = body.split_last_chunk().ok_or(NoParts::TooShort)?;
        let (tag, length) = (*tag, rest.len());
        let key_id = *rest.get(1).ok_or(NoParts::TooShort)?;
        body.truncate(length);
        Ok(Self { body, tag, key_id })
    }

    /// Whether a key of the ring signed it for a domain.
    pub(super) fn verify(&self, keyring: &Keyring, domain: &str) -> Result<(), SealError> {
        let message = [PURPOSE, domain.as_bytes(), &self.body];
        keyring.verify(self.key_id, &message, &self.tag)
    }

    /// What it says.
    pub(super) fn token(&self) -> Option<Token> {
        Reader(&self.body).token()
    }
}

impl Token {
    /// Signs for a domain, and gives up what does not fit: `pin` then stands for it, or the pin that it has
    /// already, and as many entries as fit stay, first of regions other than the pin's. How many were given up
    /// comes second; `None` only where not even a pin fits.
    pub fn seal_or_waive(
        self,
        keyring: &Keyring,
        domain: &str,
        pin: Pin,
    ) -> Option<(String, usize)> {
        self.seal_or_waive_within(MOST_TOKEN_BYTES, keyring, domain, pin)
    }

    /// The same, with room for so many bytes.
    pub(crate) fn seal_or_waive_within(
        mut self,
        room: usize,
        keyring: &Keyring,
        domain: &str,
        pin: Pin,
    ) -> Option<(String, usize)> {
        let seal = |token: &Self| {
            token
                .seal(keyring, domain)
                .filter(|text| text.len() <= room)
        };
        if let Some(text) = seal(&self) {
            return Some((text, 0));
        }
        let pinned = self.pin.get_or_insert(pin).region.clone();
        let mut order: Vec<RegionName> = self.vector.iter().map(|(name, _)| name.clone()).collect();
        order.sort_by_key(|name| (*name != pinned, name.len()));
        for (waived, name) in (1..).zip(order) {
            self.vector.retain(|region, _| *region != name);
            if let Some(text) = seal(&self) {
                return Some((text, waived));
            }
        }
        None
    }

    /// Signs for a domain; `None` when it would not fit: over 512 bytes or 16 entries.
    pub fn seal(&self, keyring: &Keyring, domain: &str) -> Option<String> {
        if self.vector.len() > MOST_VECTOR_ENTRIES {
            return None;
        }
        let mut body = vec![VERSION, keyring.signing_id()?];
        body.extend(self.expires.to_be_bytes());
        body.extend(self.session.to_be_bytes());
        body.push(self.flags());
        if let Some(pin) = &self.pin {
            body.extend(pin.until.to_be_bytes());
            put_name(&mut body, &pin.region)?;
            body.extend((pin.turn > 0).then_some(pin.turn));
        }
        body.push(u8::try_from(self.vector.len()).ok()?);
        for (region, position) in self.vector.iter() {
            put_name(&mut body, region)?;
            put_varint(&mut body, position.epoch);
            put_varint(&mut body, position.seq);
        }
        let tag = keyring.sign(&[PURPOSE, domain.as_bytes(), &body])?;
        body.extend(tag);
        let text = URL_SAFE_NO_PAD.encode(body);
        (text.len() <= MOST_TOKEN_BYTES).then_some(text)
    }

    fn flags(&self) -> u8 {
        let turn = self.pin.as_ref().map(|pin| pin.turn);
        [
            (FLAG_PIN, turn.is_some()),
            (FLAG_LOST, self.lost),
            (FLAG_TURN, turn > Some(0)),
        ]
        .into_iter()
        .filter_map(|(flag, is_set)| is_set.then_some(flag))
        .sum()
    }

    /// Reads a token of this domain. `now` is in Unix seconds.
    pub fn open(text: &str, keyring: &Keyring, domain: &str, now: u32) -> Result<Self, TokenError> {
        let parts = Parts::of(text).map_err(|_| SealError::Malformed)?;
        parts.verify(keyring, domain)?;
        let token = parts.token().ok_or(SealError::Malformed)?;
        token.still_valid(now)
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
        let flags = self.byte()?;
        if flags > FLAG_PIN | FLAG_LOST | FLAG_TURN {
            return None;
        }
        let pin = if flags & FLAG_PIN == 0 {
            None
        } else {
            Some(self.pin(flags & FLAG_TURN != 0)?)
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
            lost: flags & FLAG_LOST != 0,
        })
    }

    fn pin(&mut self, has_turn: bool) -> Option<Pin> {
        Some(Pin {
            until: u32::from_be_bytes(self.array()?),
            region: self.name()?,
            turn: if has_turn { self.byte()? } else { 0 },
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
