//! How much of every region's log a replica has applied, and what a reader asks for. Pure.
//!
//! The written forms are those of `Meridian-Applied` and `Meridian-Require`. An emulated region
//! never loses its log, so it never leaves epoch 0; a reader that asks for a point in another
//! epoch is never satisfied here.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::name::Name;

/// The last entry applied of every region's log; entries never run backwards.
///
/// Its owner always has an entry, even at 0, so that the header of a replica without writes still
/// says "I report positions, and nothing is applied".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Applied(BTreeMap<Name, u64>);

impl Applied {
    pub(super) fn of(owner: Name) -> Self {
        Self(BTreeMap::from([(owner, 0)]))
    }

    /// The last applied entry of that region's log; 0 means none.
    pub(super) fn seq(&self, region: &str) -> u64 {
        self.0.get(region).copied().unwrap_or(0)
    }

    /// Takes note of an applied entry; one that is older than what is known changes nothing.
    pub(super) fn advance(&mut self, region: &Name, seq: u64) {
        let known = self.0.entry(region.clone()).or_insert(0);
        *known = seq.max(*known);
    }

    pub(super) fn satisfies(&self, required: &Required) -> bool {
        let held = |demand: &Demand| {
            demand.seq == 0 || (demand.epoch == 0 && self.seq(&demand.region) >= demand.seq)
        };
        required.0.iter().all(held)
    }
}

impl From<Applied> for BTreeMap<String, u64> {
    fn from(applied: Applied) -> Self {
        applied
            .0
            .into_iter()
            .map(|(region, seq)| (region.as_str().to_owned(), seq))
            .collect()
    }
}

impl fmt::Display for Applied {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (region, seq)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(out, "{comma}{region}={seq}")?;
        }
        Ok(())
    }
}

/// What a reader must see: `us-east-1=1042,eu-west-1=3:977`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Required(Vec<Demand>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Demand {
    /// Not a [`Name`]: a region that this lab does not have may be asked for, in vain.
    region: String,
    epoch: u64,
    seq: u64,
}

/// A text that is no vector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no position: expected REGION=SEQ or REGION=EPOCH:SEQ")]
pub(super) struct NotAVector(String);

impl Required {
    /// Both must be seen, as with a header that came twice.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }
}

impl FromStr for Required {
    type Err = NotAVector;

    fn from_str(text: &str) -> Result<Self, NotAVector> {
        let entries = text.split(',').map(str::trim);
        let written = entries.filter(|entry| !entry.is_empty());
        written
            .map(Demand::from_str)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl FromStr for Demand {
    type Err = NotAVector;

    fn from_str(text: &str) -> Result<Self, NotAVector> {
        let refuse = || NotAVector(text.to_owned());
        let (region, position) = text.split_once('=').ok_or_else(refuse)?;
        let (epoch, seq) = position.split_once(':').unwrap_or(("0", position));
        if region.is_empty() {
            return Err(refuse());
        }
        Ok(Self {
            region: region.to_owned(),
            epoch: number(epoch).ok_or_else(refuse)?,
            seq: number(seq).ok_or_else(refuse)?,
        })
    }
}

/// Digits only: `u64::from_str` would take a sign too.
fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied() -> Applied {
        let mut applied = Applied::of("us".parse().unwrap());
        applied.advance(&"us".parse().unwrap(), 10);
        applied.advance(&"eu".parse().unwrap(), 5);
        applied
    }

    #[track_caller]
    fn check(required: &str, satisfied: bool) {
        let required = required.parse().unwrap();
        assert_eq!(applied().satisfies(&required), satisfied, "{required:?}");
    }

    #[test]
    fn satisfies_what_it_reaches_and_nothing_past_it() {
        check("", true);
        check("us=10", true);
        check("us=11", false);
        check("us=10, eu=5", true);
        check("us=10,eu=6", false);
        check("ap=0", true);
        check("ap=1", false);
    }

    #[test]
    fn knows_no_epoch_but_its_own() {
        check("us=0:10", true);
        check("us=1:1", false);
    }

    #[test]
    fn refuses_what_is_no_vector() {
        for text in [
            "us",
            "=1",
            "us=",
            "us=-1",
            "us=+1",
            "us=1:",
            "us=1:2:3",
            "us=18446744073709551616",
        ] {
            assert!(text.parse::<Required>().is_err(), "{text}");
        }
    }

    #[test]
    fn is_written_in_the_order_of_names() {
        assert_eq!(applied().to_string(), "eu=5,us=10");
        assert_eq!(Applied::of("us".parse().unwrap()).to_string(), "us=0");
    }

    #[test]
    fn never_runs_backwards() {
        let mut applied = applied();
        applied.advance(&"us".parse().unwrap(), 9);
        assert_eq!(applied.seq("us"), 10);
    }

    #[test]
    fn a_header_that_came_twice_asks_for_both() {
        let both = "us=10"
            .parse::<Required>()
            .unwrap()
            .and("eu=6".parse().unwrap());
        assert!(!applied().satisfies(&both));
    }
}
