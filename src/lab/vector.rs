//! How much of every region's log a replica has applied, and what a reader asks for. Pure.
//!
//! The written forms are those of `Meridian-Applied` and `Meridian-Require`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

use super::name::Name;
use super::position::{Lineage, NotAVector, Position};

/// How much of every region's log is applied; entries never run backwards.
///
/// Its owner always has an entry, even at 0, so that the header of a replica without writes still
/// says "I report positions, and nothing is applied".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Applied(BTreeMap<Name, Lineage>);

impl Applied {
    pub(super) fn of(owner: Name) -> Self {
        Self(BTreeMap::from([(owner, Lineage::default())]))
    }

    /// How much of that region's log is applied.
    pub(super) fn lineage(&self, region: &str) -> Lineage {
        self.0.get(region).cloned().unwrap_or_default()
    }

    /// Begins an epoch of that region whose fork is applied. Says whether that was news.
    pub(super) fn enter(&mut self, region: &Name, epoch: u64, fork: Position) -> bool {
        let mut lineage = self.lineage(region.as_str());
        let news = lineage.enter(epoch, fork);
        if news {
            self.0.insert(region.clone(), lineage);
        }
        news
    }

    /// Takes note of an applied entry; one that is older than what is known changes nothing.
    pub(super) fn advance(&mut self, region: &Name, position: Position) {
        self.0.entry(region.clone()).or_default().advance(position);
    }

    /// All that `other` has applied is applied here too. Of `owner`'s own writes only those of its
    /// earlier lives: nobody knows better than itself how far it is in this one.
    pub(super) fn merge(&mut self, other: &Self, owner: &Name) {
        for (region, lineage) in &other.0 {
            let own = self.0.entry(region.clone()).or_default();
            if region == owner {
                own.merge_before(own.current().epoch, lineage);
            } else {
                own.merge(lineage);
            }
        }
    }

    /// Whether something is applied here that its writer can pass on no more, and that a peer lacks which
    /// would take it over: see [`merge`](Self::merge).
    pub(super) fn holds_stranded_without(&self, other: &Self, peer: &Name) -> bool {
        let mut lineages = self.0.iter();
        lineages.any(|(region, lineage)| {
            let theirs = other.lineage(region.as_str());
            let before = if region == peer {
                theirs.current().epoch
            } else {
                u64::MAX
            };
            lineage.holds_stranded_without(&theirs, before)
        })
    }

    pub(super) fn satisfies(&self, required: &Required) -> bool {
        let held = |demand: &Demand| {
            let lineage = self.0.get(demand.region.as_str());
            demand.position.seq == 0 || lineage.is_some_and(|held| held.holds(demand.position))
        };
        required.0.iter().all(held)
    }

    pub(super) fn to_json(&self) -> Value {
        let lineages = self.0.iter();
        let lineages = lineages.map(|(region, held)| (region.to_string(), held.to_json()));
        Value::Object(lineages.collect::<Map<_, _>>())
    }

    pub(super) fn from_json(applied: &Value) -> Option<Self> {
        let lineages = applied.as_object()?.iter();
        lineages
            .map(|(region, held)| Some((region.parse().ok()?, Lineage::from_json(held)?)))
            .collect::<Option<_>>()
            .map(Self)
    }
}

/// Each region's last entry in its latest epoch.
impl From<Applied> for BTreeMap<String, u64> {
    fn from(applied: Applied) -> Self {
        let lineages = applied.0.into_iter();
        lineages
            .map(|(region, held)| (region.as_str().to_owned(), held.current().seq))
            .collect()
    }
}

impl fmt::Display for Applied {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (region, lineage)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(out, "{comma}{region}={lineage}")?;
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
    position: Position,
}

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
        if region.is_empty() {
            return Err(refuse());
        }
        Ok(Self {
            region: region.to_owned(),
            position: position.parse().map_err(|_| refuse())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Position {
        text.parse().unwrap()
    }

    fn applied() -> Applied {
        let mut applied = Applied::of("us".parse().unwrap());
        applied.advance(&"us".parse().unwrap(), at("10"));
        applied.advance(&"eu".parse().unwrap(), at("5"));
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
        applied.advance(&"us".parse().unwrap(), at("9"));
        assert_eq!(applied.to_string(), "eu=5,us=10");
    }

    #[test]
    fn a_header_that_came_twice_asks_for_both() {
        let both = "us=10"
            .parse::<Required>()
            .unwrap()
            .and("eu=6".parse().unwrap());
        assert!(!applied().satisfies(&both));
    }

    #[test]
    fn nobody_tells_a_region_how_far_it_is_itself() {
        let (us, eu) = ("us".parse().unwrap(), "eu".parse().unwrap());
        let mut restored = Applied::of(us);
        restored.merge(&applied(), &"us".parse().unwrap());
        assert_eq!(restored.to_string(), "eu=5,us=0");
        restored.enter(&"us".parse().unwrap(), 1, Position::default());
        restored.merge(&applied(), &"us".parse().unwrap());
        assert_eq!(restored.to_string(), "eu=5,us=1:0@0:10");
        restored.merge(&applied(), &eu);
        assert_eq!(restored.to_string(), "eu=5,us=1:0@0:10");
    }

    #[test]
    fn reads_back_from_json() {
        assert_eq!(Applied::from_json(&applied().to_json()), Some(applied()));
    }
}
