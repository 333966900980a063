//! What an answer to a write gives its client to carry: best first a position that the region committed,
//! then how far it has applied its own log, then a pin to it.

use std::sync::Arc;

use super::vector::{Position, RegionName, Vector};

/// What an answer says of positions, in its head or its trailers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Where this answer's write is.
    pub committed: Option<(RegionName, Position)>,
    /// What the answering replica's readers see.
    pub applied: Option<Arc<Vector>>,
}

/// What became of a write, as far as its answer's status tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing speaks against it: a status under 400.
    Accepted,
    /// It was refused: 4xx.
    Refused,
    /// Nobody knows: 5xx, or no answer to what was sent.
    Unknown,
}

/// What a write adds to its client's token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Minted {
    /// Nothing was written.
    Nothing,
    /// It is at this point of that region's log.
    At(RegionName, Position),
    /// It went to this region, and nobody knows to which point.
    Pin(RegionName),
}

/// Judges an answer to a write that `region` took.
pub fn mint(region: &RegionName, outcome: Outcome, said: &Said) -> Minted {
    let own_applied = said
        .applied
        .as_ref()
        .and_then(|applied| applied.get(region));
    match (&said.committed, outcome, own_applied) {
        (Some((writer, position)), _, _) => Minted::At(writer.clone(), *position),
        (None, Outcome::Accepted, Some(own)) => Minted::At(region.clone(), own),
        (None, Outcome::Accepted, None) | (None, Outcome::Unknown, _) => {
            Minted::Pin(region.clone())
        }
        (None, Outcome::Refused, _) => Minted::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::plan::VersionForm;
    use crate::positions::{parse_position, parse_vector};

    #[track_caller]
    fn check(outcome: Outcome, committed: &str, applied: &str, expected: &str) {
        let form = VersionForm::Integer;
        let position = parse_position(committed, form).ok();
        let said = Said {
            committed: position.map(|position| ("us".into(), position)),
            applied: (!applied.is_empty()).then(|| Arc::new(parse_vector(applied, form).unwrap())),
        };
        let minted = match mint(&"eu".into(), outcome, &said) {
            Minted::Nothing => String::new(),
            Minted::At(writer, position) => format!("{writer}={}", position.show(form)),
            Minted::Pin(region) => format!("pin {region}"),
        };
        assert_eq!(minted, expected);
    }

    #[test]
    fn what_was_committed_counts_whatever_the_status() {
        check(Outcome::Accepted, "5", "eu=9", "us=5");
        check(Outcome::Refused, "5", "", "us=5");
        check(Outcome::Unknown, "5", "", "us=5");
    }

    #[test]
    fn else_what_the_region_has_applied_of_its_own_log() {
        check(Outcome::Accepted, "", "eu=3:9,us=1", "eu=3:9");
        check(Outcome::Accepted, "", "us=1", "pin eu");
        check(Outcome::Accepted, "", "", "pin eu");
    }

    #[test]
    fn an_unknown_outcome_pins_and_a_refusal_gives_nothing() {
        check(Outcome::Unknown, "", "eu=9", "pin eu");
        check(Outcome::Refused, "", "eu=9", "");
    }
}
