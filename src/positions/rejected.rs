//! Positions of regions that cannot be read: counted by region, source and reason, explained in the log, and ignored.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{LazyLock, Mutex, PoisonError};

use super::vector::NotAPosition;
use crate::clock;
use crate::registered::Registered;

/// More kinds than that are looked up each time.
static REJECTED: Registered<(Box<str>, Source, Reason), 64> = Registered::new(
    |(region, source, reason)| {
        let (region, source, reason) = (region.to_string(), source.as_str(), reason.as_str());
        metrics::counter!("meridian_position_rejected_total", "region" => region, "source" => source, "reason" => reason)
    },
);

static TOLD: LazyLock<Mutex<Told>> = LazyLock::new(Mutex::default);

/// How often the log says that a region's positions of one source are ignored: a region that talks nonsense does so
/// with every answer.
const SAID_EVERY_MS: u64 = 60_000;

/// Regions and sources that are told apart in the log; all others are told of as one.
const MOST_TOLD: usize = 1_024;

/// Characters of an explanation: what a region sent may be long.
const MOST_EXPLAINED: usize = 300;

/// Where a position came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// `Meridian-Committed` of an answer.
    Committed,
    /// `Meridian-Applied` of an answer.
    Answer,
    /// `Meridian-Applied` of a health check, regular or on demand.
    Check,
    /// `Meridian-Applied` of a long poll.
    Follow,
    /// A push to the admin API.
    Push,
}

/// Why a position counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Not in the form of its domain.
    Malformed,
    /// A vector names a region twice.
    Twice,
    /// A vector has too many entries.
    TooMany,
    /// There is no such region.
    UnknownRegion,
    /// Nobody asked for it, and it may be of before the region ran backwards.
    Doubtful,
    /// It was sent before another push that came before it.
    Late,
}

impl Source {
    fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Answer => "answer",
            Self::Check => "check",
            Self::Follow => "follow",
            Self::Push => "push",
        }
    }
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Twice => "twice",
            Self::TooMany => "too_many",
            Self::UnknownRegion => "unknown_region",
            Self::Doubtful => "doubtful",
            Self::Late => "late",
        }
    }
}

impl From<&NotAPosition> for Reason {
    fn from(error: &NotAPosition) -> Self {
        match error {
            NotAPosition::Integer(_)
            | NotAPosition::PgLsn(_)
            | NotAPosition::Fork(_)
            | NotAPosition::Entry(_) => Self::Malformed,
            NotAPosition::Twice(_) => Self::Twice,
            NotAPosition::TooMany => Self::TooMany,
        }
    }
}

/// What the log has said of whom.
#[derive(Debug, Default)]
struct Told(BTreeMap<(Box<str>, Source), Silence>);

/// Since when the log says nothing of somebody, and of how many positions.
#[derive(Clone, Copy, Debug, Default)]
struct Silence {
    since_ms: u64,
    unsaid: u64,
}

impl Told {
    /// Whether the log may say one more, and of how many it said nothing since the last.
    fn may_say(&mut self, region: &str, source: Source, now_ms: u64) -> Option<u64> {
        let mut who = (region.into(), source);
        if self.0.len() >= MOST_TOLD && !self.0.contains_key(&who) {
            who = (Box::default(), source);
        }
        let Some(silence) = self.0.get_mut(&who) else {
            let since_ms = now_ms;
            self.0.insert(
                who,
                Silence {
                    since_ms,
                    unsaid: 0,
                },
            );
            return Some(0);
        };
        if now_ms.saturating_sub(silence.since_ms) < SAID_EVERY_MS {
            silence.unsaid = silence.unsaid.saturating_add(1);
            return None;
        }
        silence.since_ms = now_ms;
        Some(std::mem::take(&mut silence.unsaid))
    }
}

/// Counts a position that is ignored, and says why: at the level `warn` once a minute for each region and source, else
/// at `debug`.
pub fn reject(source: Source, region: &str, reason: Reason, why: &dyn fmt::Display) {
    REJECTED.increment(&(region.into(), source, reason));
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    let unsaid = told.may_say(region, source, clock::steady_ms());
    drop(told);
    let (source, reason, why) = (source.as_str(), reason.as_str(), printable(why));
    match unsaid {
        Some(unsaid) => {
            tracing::warn!(%region, source, reason, unsaid, "a position is ignored: {why}");
        }
        None => tracing::debug!(%region, source, reason, "a position is ignored: {why}"),
    }
}

/// Part of what a region sent stands in it.
fn printable(why: &dyn fmt::Display) -> String {
    let why = why.to_string();
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    why.chars().map(shown).take(MOST_EXPLAINED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_that_talks_nonsense_is_told_of_once_a_minute_for_each_source() {
        let mut told = Told::default();
        let mut say = |region, source, now_ms| told.may_say(region, source, now_ms);
        assert_eq!(say("us", Source::Answer, 0), Some(0));
        assert_eq!(say("us", Source::Answer, 1), None);
        assert_eq!(say("us", Source::Answer, 59_999), None);
        assert_eq!(say("us", Source::Check, 5), Some(0), "another source");
        assert_eq!(say("eu", Source::Answer, 5), Some(0), "another region");
        assert_eq!(say("us", Source::Answer, 60_000), Some(2));
        assert_eq!(say("us", Source::Answer, 60_001), None);
    }

    #[test]
    fn regions_beyond_those_that_are_told_apart_are_told_of_as_one() {
        let mut told = Told::default();
        for number in 0..MOST_TOLD {
            let region = number.to_string();
            assert_eq!(told.may_say(&region, Source::Push, 0), Some(0));
        }
        assert_eq!(told.may_say("one more", Source::Push, 0), Some(0));
        assert_eq!(told.may_say("another", Source::Push, 0), None);
        assert_eq!(told.0.len(), MOST_TOLD + 1);
    }

    #[test]
    fn what_a_region_sent_is_cut_and_writes_no_line_of_its_own() {
        assert_eq!(printable(&"a\nb"), "a\u{fffd}b");
        assert_eq!(printable(&"x".repeat(301)).len(), MOST_EXPLAINED);
    }
}
