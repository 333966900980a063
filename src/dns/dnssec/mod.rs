//! DNSSEC: keys, signatures and denials (RFC 4034, 4035, 6605, 8080, 9077, 9824).
//!
//! Everything that can be is signed when the answer table is compiled, once, and kept for as long
//! as neither data nor key change. What has an owner that only the query knows, names that do not
//! exist and names made by a wildcard, is signed when it is asked for, and remembered.
//!
//! `key` a key and its times · `key_files` BIND's files · `canonical` the bytes that are signed ·
//! `signer` RRSIGs · `memo` those made for queries · `denial` NSEC.

mod canonical;
mod denial;
mod key;
mod key_files;
mod memo;
mod signer;
#[cfg(test)]
mod tests;

pub(super) use denial::{NOTHING, bitmap, nsec};
pub use key::{Key, KeyError, Signs, Times, ZoneKeys};
pub use key_files::{KeyFileError, create_keys, load_keys};
pub(super) use memo::Memo;
pub(super) use signer::{Haste, Signatures, Signer, SigningRun, ToSign, is_of_the_future};
