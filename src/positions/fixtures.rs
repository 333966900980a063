//! What the tests of this room write short.

use super::{Applied, Report, Reported, Vector, parse_vector};
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
