//! What the tests of this room write short.

use super::{Applied, Pushed, Report, Reported, Vector, parse_vector};
use crate::config::plan::VersionForm;

/// A vector as it is written, in the form of integers.
pub(super) fn vector(text: &str) -> Vector {
    parse_vector(text, VersionForm::Integer).unwrap()
}

/// A report of one origin in `eu`.
pub(super) fn report(
    applied: &Applied,
    origin: &str,
    text: &str,
    asked_at_ms: u64,
    now_ms: u64,
) -> Reported {
    applied.report(Report {
        region: &"eu".into(),
        origin,
        applied: &vector(text),
        asked_at_ms,
        now_ms,
    })
}

/// A push of origin `a` in `eu`; `sequence` is empty if it has none.
pub(super) fn push(applied: &Applied, sequence: &str, text: &str, now_ms: u64) -> Pushed {
    let report = Report {
        region: &"eu".into(),
        origin: "a",
        applied: &vector(text),
        asked_at_ms: now_ms,
        now_ms,
    };
    let sequence = (!sequence.is_empty()).then(|| sequence.parse().unwrap());
    applied.push(report, sequence)
}
