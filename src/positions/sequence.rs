//! In which order pushes were sent, where their pusher says so.
//!
//! Pushes come late, twice and in any order, and nobody asked for them, so that their arrival tells nothing of when they were sent.
//! A pusher that numbers them says it: of two pushes the one of the greater sequence was sent later. Its instances are told
//! apart by a number that is greater each time it starts, such as the time of its start. Should that be wrong, a later
//! instance counts as an earlier one for as long as a push may be under way: what its pushes lack speaks against their origin
//! all the same, and late pushes are told from new ones no better than without numbers.

use std::fmt;
use std::str::FromStr;

use super::report::DOUBTED_FOR_MS;

/// Where a push stands among those of its region: `INSTANCE:NUMBER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sequence {
    /// Greater each time the pusher starts.
    instance: u64,
    /// Greater with each of its pushes.
    number: u64,
}

/// What is no sequence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no sequence: it must be INSTANCE:NUMBER, two whole numbers below 2^64; INSTANCE is greater each time the pusher \
     starts (milliseconds since 1970 will do), and NUMBER with each push"
)]
pub struct NotASequence(String);

/// The longest text of a sequence that an error repeats; 20 digits, a colon, 20 digits.
const LONGEST: usize = 41;

impl FromStr for Sequence {
    type Err = NotASequence;

    fn from_str(text: &str) -> Result<Self, NotASequence> {
        let number = |digits: &str| {
            let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            is_plain.then(|| digits.parse().ok()).flatten()
        };
        let sequence = || {
            let (instance, count) = text.split_once(':')?;
            Some(Self {
                instance: number(instance)?,
                number: number(count)?,
            })
        };
        sequence().ok_or_else(|| NotASequence(text.chars().take(LONGEST).collect()))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.instance, self.number)
    }
}

/// Where a push stands among those of its origin that came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It was sent after them.
    Next,
    /// It was sent before one of its own instance.
    Overtaken,
    /// It has no number, or is of an instance that says that it began earlier, and another was heard a moment ago.
    Displaced,
    /// It has no number, and neither had others of late.
    Unnumbered,
}

/// The last of an origin's numbered pushes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turns {
    last: Option<(Sequence, u64)>,
    /// Whether what is known of the origin is what that push said, and nobody else has said it since.
    pub(super) is_last_word: bool,
}

impl Turns {
    /// The last number that counts.
    pub(super) fn last(&self, now_ms: u64) -> Option<Sequence> {
        let is_recent = |(_, at_ms): &(Sequence, u64)| now_ms < at_ms + DOUBTED_FOR_MS;
        let last = self.last.filter(is_recent);
        last.map(|(sequence, _)| sequence)
    }

    /// Notes that it was heard.
    pub(super) fn note(&mut self, sequence: Sequence, now_ms: u64) {
        self.last = Some((sequence, now_ms));
    }

    /// Whoever still pushes when nobody else has for as long as a push may be under way, is alive, whatever its number.
    pub(super) fn place(&self, sequence: Option<Sequence>, now_ms: u64) -> Place {
        match (sequence, self.last(now_ms)) {
            (None, None) => Place::Unnumbered,
            (Some(_), None) => Place::Next,
            (Some(sequence), Some(last)) if sequence > last => Place::Next,
            (Some(sequence), Some(last)) if sequence.instance == last.instance => Place::Overtaken,
            (_, Some(_)) => Place::Displaced,
        }
    }
}

#[cfg(test)]
#[path = "sequence_tests.rs"]
mod tests;
