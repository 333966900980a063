//! The token: a client's vector, signed, as the cookie and the header carry it.
//!
//! Layout before base64url without padding (RFC 4648 §5), all integers big-endian:
//!
//! ```text
//! 1 version   1 key id   4 expiry, Unix seconds   8 session
//! 1 flags (1: a pin follows, 2: a loss is to be told)   [4 pin expiry  1 length  name]
//! 1 entries   each: 1 length  name  varint epoch  varint seq
//! 16 HMAC-SHA-256 over "token", the domain's name and all of the above, cut to 16 bytes
//! ```

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::applied::Applied;
use super::seal::{Keyring, SealError, TAG_LEN};
use super::vector::{Entry, MOST_VECTOR_ENTRIES, Position, RegionName, Vector};

/// The most bytes of a token as it travels (the contract).
pub(super) const MOST_TOKEN_BYTES: usize = 512;

const VERSION: u8 = 1;
const FLAG_PIN: u8 = 1;
const FLAG_LOST: u8 = 2;

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
    /// An entry gave way to one of a newer epoch that does not include it, and its client has not been told.
    pub lost: bool,
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
        self.vector.is_empty() && self.pin.is_none() && !self.lost
    }

    /// Takes over what another token of the same client asks for: the larger entries, the newer pin.
    pub fn merge(&mut self, other: &Self) {
        self.vector.merge(&other.vector);
        self.expires = self.expires.max(other.expires);
        self.lost |= other.lost;
        if other
            .pin
            .as_ref()
            .is_some_and(|pin| self.is_older_than(pin))
        {
            self.pin.clone_from(&other.pin);
        }
    }

    fn is_older_than(&self, pin: &Pin) -> bool {
        let order = |pin: &Pin| (pin.until, pin.region.clone());
        self.pin.as_ref().is_none_or(|own| order(own) < order(pin))
    }

    /// Whether merging another would change nothing, and none of its entries is of an earlier epoch.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let has = |(region, entry): (&RegionName, Entry)| {
            let own = self.vector.entry(region);
            own.is_some_and(|own| {
                own == entry
                    || own.position.epoch == entry.position.epoch && own.position > entry.position
            })
        };
        other.expires <= self.expires
            && (self.lost || !other.lost)
            && other
                .pin
                .as_ref()
                .is_none_or(|pin| !self.is_older_than(pin))
            && other.vector.entries().all(has)
    }

    /// Sets the entries that are lost back to what is left of them.
    pub(super) fn set_back(&mut self, lost: &Vector, applied: &Applied) {
        if !lost.is_empty() {
            self.set_back_to(lost, &applied.rest(lost));
        }
    }

    /// Sets the entries that are lost back to the `rest` of them.
    pub(super) fn set_back_to(&mut self, lost: &Vector, rest: &Vector) {
        for (region, lost) in lost.iter() {
            let own = self.vector.get(region);
            let is_lost = own.is_some_and(|own| own.epoch == lost.epoch && own.seq <= lost.seq);
            if let Some(rest) = rest.get(region).filter(|_| is_lost) {
                self.vector.set(region, rest);
            }
        }
    }

    /// Asks for lost entries again, as long as the client was not told of them.
    pub(super) fn bring_back(&mut self, lost: &Vector, rest: &Vector) {
        for (region, lost) in lost.iter() {
            let own = self.vector.get(region);
            if own.is_none_or(|own| Some(own) == rest.get(region)) {
                self.vector.set(region, lost);
            } else {
                self.lost = true;
            }
        }
    }

    /// The newer pin is the one that ends later, also when both were set within one second.
    pub(super) fn supersede_pin(&mut self, before: Option<&Pin>) {
        if let (Some(pin), Some(before)) = (&mut self.pin, before)
            && pin.region != before.region
        {
            pin.until = pin.until.max(before.until.saturating_add(1));
        }
    }

    /// Signs for a domain, and gives up what does not fit: `pin` then stands for it, or the pin that it has
    /// already, and as many entries as fit stay, first of regions other than the pin's. How many were given up
    /// comes second; `None` only where not even a pin fits.
    pub fn seal_or_waive(
        mut self,
        keyring: &Keyring,
        domain: &str,
        pin: Pin,
    ) -> Option<(String, usize)> {
        if let Some(text) = self.seal(keyring, domain) {
            return Some((text, 0));
        }
        let pinned = self.pin.get_or_insert(pin).region.clone();
        let mut order: Vec<RegionName> = self.vector.iter().map(|(name, _)| name.clone()).collect();
        order.sort_by_key(|name| (*name != pinned, name.len()));
        for (waived, name) in (1..).zip(order) {
            self.vector.retain(|region, _| *region != name);
            if let Some(text) = self.seal(keyring, domain) {
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
        let mut body = vec![VERSION, keyring.sign(&[])?.0];
        body.extend(self.expires.to_be_bytes());
        body.extend(self.session.to_be_bytes());
        let flags = self.pin.as_ref().map_or(0, |_| FLAG_PIN);
        body.push(flags | if self.lost { FLAG_LOST } else { 0 });
        if let Some(pin) = &self.pin {
            body.extend(pin.until.to_be_bytes());
            put_name(&mut body, &pin.region)?;
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
        token.still_valid(now)
    }

    /// The token, unless it has expired.
    pub fn still_valid(self, now: u32) -> Result<Self, TokenError> {
        if self.expires <= now {
            return Err(TokenError::Expired);
        }
        Ok(self)
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
        if flags > FLAG_PIN | FLAG_LOST {
            return None;
        }
        let pin = if flags & FLAG_PIN == 0 {
            None
        } else {
            Some(Pin {
                until: u32::from_be_bytes(self.array()?),
                region: self.name()?,
            })
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
}
