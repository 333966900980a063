//! What is kept of an admin's token: a digest, as long as that of any other.
//!
//! Two of them can be compared in constant time and in no other way, so that how long an answer takes tells nothing
//! of a token's content or length.

use std::fmt;

use aws_lc_rs::{constant_time, digest};

use crate::units::Secret;

/// The digest of a token. Comparing two takes the same time wherever they differ.
#[derive(Clone, Copy)]
pub struct TokenDigest(digest::Digest);

impl TokenDigest {
    /// Of what somebody shows.
    pub fn of(token: &str) -> Self {
        Self(digest::digest(&digest::SHA256, token.as_bytes()))
    }
}

impl From<&Secret> for TokenDigest {
    fn from(secret: &Secret) -> Self {
        Self::of(secret.expose())
    }
}

impl PartialEq for TokenDigest {
    fn eq(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(self.0.as_ref(), other.0.as_ref()).is_ok()
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tokens_of_any_length_have_digests_of_one_and_are_told_apart(
            one in ".{0,200}", other in ".{0,200}",
        ) {
            let digests = [&one, &other].map(|token| TokenDigest::of(token));
            prop_assert_eq!(digests.map(|digest| digest.0.as_ref().len()), [32, 32]);
            prop_assert_eq!(digests[0] == digests[1], one == other);
        }
    }

    #[test]
    fn a_digest_is_not_shown() {
        let shown = format!("{:?}", TokenDigest::of("correct-horse"));
        assert_eq!(shown, "TokenDigest(…)");
    }
}
