//! What an emulated region is called. Pure.
//!
//! A name stands in URLs, in `Meridian-*` headers and in the printed state, so it is held to
//! letters that mean nothing special in any of them.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A region's name: 1 to 63 ASCII letters, digits, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Name(Arc<str>);

/// A text that cannot name a region.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no region name: expected 1 to 63 letters, digits, `-` or `_`")]
pub struct NotAName(String);

/// As long as a DNS label, which a region's name often becomes.
const LENGTH_MAX: usize = 63;

impl Name {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if (1..=LENGTH_MAX).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(text.into()))
        } else {
            Err(NotAName(text.to_owned()))
        }
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, named: bool) {
        assert_eq!(text.parse::<Name>().is_ok(), named, "{text:?}");
    }

    #[test]
    fn holds_what_headers_and_urls_leave_alone() {
        check("us-east-1", true);
        check("a", true);
        check("", false);
        check("a=1", false);
        check("a,b", false);
        check("a/b", false);
        check("..", false);
        check("tōkyō", false);
    }

    #[test]
    fn is_at_most_a_dns_label_long() {
        check(&"x".repeat(63), true);
        check(&"x".repeat(64), false);
    }
}
