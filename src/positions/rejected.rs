//! Positions of regions that cannot be read: counted by reason, explained in the log, and ignored.

use std::fmt;

use super::vector::NotAPosition;
use crate::registered::Registered;

static REJECTED: Registered<(Source, Reason), 30> = Registered::new(|(source, reason)| {
    let (source, reason) = (source.as_str(), reason.as_str());
    metrics::counter!("meridian_position_rejected_total", "source" => source, "reason" => reason)
});

/// Where a position came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// Counts a position that is ignored, and says why at the level `debug`: a region that talks nonsense
/// does so with every answer.
pub fn reject(source: Source, region: &str, reason: Reason, why: &dyn fmt::Display) {
    REJECTED.increment(&(source, reason));
    let (source, reason) = (source.as_str(), reason.as_str());
    tracing::debug!(%region, source, reason, "a position is ignored: {why}");
}
