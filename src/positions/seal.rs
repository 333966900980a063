//! The key ring: what signs tokens and seals cookies, and what tells a genuine one.
//!
//! Every use has a key of its own, derived from the operator's secret by HKDF-SHA-256 (RFC 5869),
//! so that a token can never pass for a cookie. The first key signs; all verify.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::{constant_time, hmac, rand};

use crate::config::plan::Key;
use crate::units::Secret;

/// Bytes of a signature: HMAC-SHA-256 cut to half, the least that RFC 2104 §5 allows.
pub(super) const TAG_LEN: usize = 16;

/// Why a sealed text was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// No key of the ring made it.
    #[error("it was not made by this edge's keys")]
    Forged,
    /// Not even the shape of one.
    #[error("it is malformed")]
    Malformed,
}

/// Keys derived from one secret.
struct Derived {
    id: u8,
    signing: hmac::Key,
    sealing: LessSafeKey,
}

/// The keys of this edge, newest first.
pub struct Keyring {
    keys: Vec<Derived>,
    number: u64,
}

/// How many rings there were.
static RINGS: AtomicU64 = AtomicU64::new(0);

/// A key that nobody else has.
pub fn random_key() -> Key {
    let mut secret = [0_u8; 32];
    // The system's generator fails only before it is seeded, at boot.
    let _ = rand::fill(&mut secret);
    let digits: Vec<String> = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    Key {
        id: 0,
        secret: Secret::new(digits.concat()),
    }
}

impl Keyring {
    /// Derives the ring; without any key, from a random secret that dies with the process.
    pub fn new(keys: &[Key]) -> Self {
        let spare = [random_key()];
        let keys = if keys.is_empty() { &spare } else { keys };
        let derived = |key: &Key| Derived::new(key.id, key.secret.expose().as_bytes());
        Self {
            keys: keys.iter().filter_map(derived).collect(),
            number: RINGS.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// The ids of its keys.
    pub fn ids(&self) -> Vec<u8> {
        self.keys.iter().map(|key| key.id).collect()
    }

    /// The id of the key that signs.
    pub fn signing_id(&self) -> Option<u8> {
        self.keys.first().map(|key| key.id)
    }

    /// Tells this ring from every other of the process: what one has opened another may not.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Signs `message` with that key.
    pub fn sign(&self, message: &[&[u8]]) -> Option<[u8; TAG_LEN]> {
        self.keys.first()?.tag(message)
    }

    /// Whether the key of this id signed `message`; in constant time.
    pub fn verify(&self, id: u8, message: &[&[u8]], tag: &[u8]) -> Result<(), SealError> {
        self.keys
            .iter()
            .filter(|key| key.id == id)
            .filter_map(|key| key.tag(message))
            .any(|expected| constant_time::verify_slices_are_equal(&expected, tag).is_ok())
            .then_some(())
            .ok_or(SealError::Forged)
    }

    /// Encrypts `plain` so that only the ring can read it, bound to `context`.
    /// Layout: key id, nonce, ciphertext with its tag.
    pub fn seal(&self, context: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        let key = self.keys.first()?;
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        key.sealing
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context),
                &mut sealed,
            )
            .ok()?;
        Some([&[key.id], nonce.as_slice(), &sealed].concat())
    }

    /// Decrypts what [`Keyring::seal`] made for the same context.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (id, rest) = sealed.split_first().ok_or(SealError::Malformed)?;
        let (nonce, sealed) = rest
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(SealError::Malformed)?;
        self.keys
            .iter()
            .filter(|key| key.id == *id)
            .find_map(|key| {
                let mut buffer = sealed.to_vec();
                let nonce = Nonce::assume_unique_for_key(*nonce);
                let plain = key
                    .sealing
                    .open_in_place(nonce, Aad::from(context), &mut buffer)
                    .ok()?;
                Some(plain.to_vec())
            })
            .ok_or(SealError::Forged)
    }
}

impl Derived {
    fn new(id: u8, secret: &[u8]) -> Option<Self> {
        let root = Salt::new(HKDF_SHA256, b"meridian").extract(secret);
        let derive = |purpose: &'static [u8]| {
            let mut key = [0; 32];
            root.expand(&[purpose], HKDF_SHA256)
                .ok()?
                .fill(&mut key)
                .ok()?;
            Some(key)
        };
        Some(Self {
            id,
            signing: hmac::Key::new(hmac::HMAC_SHA256, &derive(b"token")?),
            sealing: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &derive(b"cookie")?).ok()?),
        })
    }

    fn tag(&self, message: &[&[u8]]) -> Option<[u8; TAG_LEN]> {
        let mut context = hmac::Context::with_key(&self.signing);
        for part in message {
            context.update(part);
        }
        context.sign().as_ref().first_chunk().copied()
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keyring{:?}", self.ids())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: u8, secret: &str) -> Key {
        Key {
            id,
            secret: Secret::new(secret.to_owned()),
        }
    }

    #[test]
    fn what_is_sealed_opens_for_the_same_context_only() {
        let ring = Keyring::new(&[]);
        let sealed = ring.seal(b"api", b"us-east-1").unwrap();
        assert_eq!(ring.open(b"api", &sealed).unwrap(), b"us-east-1");
        assert_eq!(ring.open(b"web", &sealed), Err(SealError::Forged));
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed() {
        let ring = Keyring::new(&[]);
        let sealed = ring.seal(b"api", b"us-east-1").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                ring.open(b"api", &flipped),
                Err(SealError::Forged),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn a_rotated_ring_still_reads_what_the_old_key_made() {
        let old = Keyring::new(&[key(1, "the first secret")]);
        let new = Keyring::new(&[key(2, "the second secret"), key(1, "the first secret")]);
        let (id, tag) = (old.signing_id().unwrap(), old.sign(&[b"x"]).unwrap());
        assert_eq!(new.verify(id, &[b"x"], &tag), Ok(()));
        assert_eq!(new.signing_id(), Some(2));
        let sealed = old.seal(b"", b"y").unwrap();
        assert_eq!(new.open(b"", &sealed).unwrap(), b"y");
    }

    #[test]
    fn truncated_input_is_malformed() {
        let ring = Keyring::new(&[]);
        assert_eq!(ring.open(b"", b""), Err(SealError::Malformed));
        assert_eq!(ring.open(b"", &[0; 12]), Err(SealError::Malformed));
    }
}
