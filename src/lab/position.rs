//! A point in one region's log, and how much of a region's log is held, over all lives of its store. Pure.
//!
//! A store that is restored from a backup begins a new epoch, at a fork: what was written after that
//! point of the old epoch is not part of the new one. Whoever had applied it still holds it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

/// `SEQ` in epoch 0, `EPOCH:SEQ` in later ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) epoch: u64,
    pub(super) seq: u64,
}

/// A text that is no vector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no position: expected REGION=SEQ or REGION=EPOCH:SEQ")]
pub(super) struct NotAVector(pub(super) String);

impl Position {
    /// The one after it in the same epoch.
    pub(super) fn next(self) -> Self {
        Self {
            seq: self.seq.saturating_add(1),
            ..self
        }
    }

    pub(super) fn to_json(self) -> Value {
        json!([self.epoch, self.seq])
    }

    pub(super) fn from_json(position: &Value) -> Option<Self> {
        let [epoch, seq] = position.as_array()?.as_slice() else {
            return None;
        };
        Some(Self {
            epoch: epoch.as_u64()?,
            seq: seq.as_u64()?,
        })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.epoch {
            0 => write!(out, "{}", self.seq),
            epoch => write!(out, "{epoch}:{}", self.seq),
        }
    }
}

impl FromStr for Position {
    type Err = NotAVector;

    fn from_str(text: &str) -> Result<Self, NotAVector> {
        let refuse = || NotAVector(text.to_owned());
        let (epoch, seq) = text.split_once(':').unwrap_or(("0", text));
        Ok(Self {
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

/// How much of one region's log is held: of every epoch, all up to some point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lineage {
    /// Epoch → the last entry held. Epoch 0 is always there.
    held: BTreeMap<u64, u64>,
    /// Epoch → where it forked off an older one. All but epoch 0.
    forks: BTreeMap<u64, Position>,
}

impl Default for Lineage {
    fn default() -> Self {
        Self {
            held: BTreeMap::from([(0, 0)]),
            forks: BTreeMap::new(),
        }
    }
}

impl Lineage {
    /// The last entry held of the latest epoch.
    pub(super) fn current(&self) -> Position {
        let latest = self.held.last_key_value();
        latest.map_or_else(Position::default, |(epoch, seq)| Position {
            epoch: *epoch,
            seq: *seq,
        })
    }

    fn seq(&self, epoch: u64) -> u64 {
        self.held.get(&epoch).copied().unwrap_or(0)
    }

    pub(super) fn holds(&self, position: Position) -> bool {
        self.seq(position.epoch) >= position.seq
    }

    /// Begins an epoch whose fork is held. Says whether that was news.
    pub(super) fn enter(&mut self, epoch: u64, fork: Position) -> bool {
        // Of an epoch that was not entered nothing is held, not even its beginning.
        let holds_fork = self.held.contains_key(&fork.epoch) && self.holds(fork);
        if epoch == 0 || self.held.contains_key(&epoch) || !holds_fork {
            return false;
        }
        self.held.insert(epoch, 0);
        self.forks.insert(epoch, fork);
        true
    }

    /// Whether this is the next entry of an epoch that was entered.
    pub(super) fn is_next(&self, position: Position) -> bool {
        let held = self.held.get(&position.epoch);
        held.is_some_and(|held| held.checked_add(1) == Some(position.seq))
    }

    /// Takes note of an entry; one that is held already changes nothing.
    pub(super) fn advance(&mut self, position: Position) {
        let held = self.held.entry(position.epoch).or_insert(0);
        *held = position.seq.max(*held);
    }

    /// Both are held, as after taking over another replica's state.
    pub(super) fn merge(&mut self, other: &Self) {
        self.merge_before(u64::MAX, other);
    }

    /// The same of epochs before this one.
    pub(super) fn merge_before(&mut self, epoch: u64, other: &Self) {
        for (epoch, seq) in other.held.range(..epoch) {
            self.advance(Position {
                epoch: *epoch,
                seq: *seq,
            });
        }
        let forks = other.forks.range(..epoch);
        self.forks
            .extend(forks.map(|(epoch, fork)| (*epoch, *fork)));
    }

    pub(super) fn forks(&self) -> impl Iterator<Item = (u64, Position)> {
        self.forks.iter().map(|(epoch, fork)| (*epoch, *fork))
    }

    /// Whether it holds, of epochs before this one, what its writer can pass on no more, since it lies past a fork,
    /// and `other` lacks it.
    pub(super) fn holds_stranded_without(&self, other: &Self, before: u64) -> bool {
        let live = self.live();
        let is_stranded = |epoch: u64, seq: u64| seq > live.get(&epoch).copied().unwrap_or(0);
        let mut held = self.held.range(..before);
        held.any(|(epoch, seq)| is_stranded(*epoch, *seq) && other.seq(*epoch) < *seq)
    }

    /// The epochs that the latest one comes from, each up to where it was left.
    fn live(&self) -> BTreeMap<u64, u64> {
        let latest = self.current().epoch;
        let mut live = BTreeMap::from([(latest, u64::MAX)]);
        let mut epoch = latest;
        while let Some(fork) = self.forks.get(&epoch).filter(|fork| fork.epoch < epoch) {
            live.insert(fork.epoch, fork.seq);
            epoch = fork.epoch;
        }
        live
    }

    pub(super) fn to_json(&self) -> Value {
        let held: Vec<_> = self
            .held
            .iter()
            .map(|(epoch, seq)| json!([epoch, seq]))
            .collect();
        json!({ "held": held, "forks": forks_to_json(self.forks()) })
    }

    pub(super) fn from_json(lineage: &Value) -> Option<Self> {
        let held = lineage
            .get("held")?
            .as_array()?
            .iter()
            .map(Position::from_json);
        let held = held.map(|held| held.map(|held| (held.epoch, held.seq)));
        let mut read = Self {
            held: held.collect::<Option<_>>()?,
            forks: forks_from_json(lineage.get("forks")?)?
                .into_iter()
                .collect(),
        };
        read.held.entry(0).or_insert(0);
        Some(read)
    }
}

/// As `Meridian-Applied` has it: `4:12@3:977` says that all up to 977 of epoch 3 is held too.
impl fmt::Display for Lineage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.current();
        write!(out, "{current}")?;
        match self.forks.get(&current.epoch) {
            Some(Position { epoch, seq }) => write!(out, "@{epoch}:{}", self.seq(*epoch).max(*seq)),
            None => Ok(()),
        }
    }
}

pub(super) fn forks_to_json(forks: impl Iterator<Item = (u64, Position)>) -> Value {
    forks
        .map(|(epoch, fork)| json!([epoch, fork.to_json()]))
        .collect()
}

pub(super) fn forks_from_json(forks: &Value) -> Option<Vec<(u64, Position)>> {
    let fork = |fork: &Value| match fork.as_array()?.as_slice() {
        [epoch, fork] => Some((epoch.as_u64()?, Position::from_json(fork)?)),
        _ => None,
    };
    forks.as_array()?.iter().map(fork).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Position {
        text.parse().unwrap()
    }

    fn held(positions: &[&str]) -> Lineage {
        let mut lineage = Lineage::default();
        positions.iter().for_each(|text| lineage.advance(at(text)));
        lineage
    }

    #[test]
    fn is_written_with_its_epoch_from_the_second_on() {
        for text in ["7", "1:7"] {
            assert_eq!(at(text).to_string(), text);
        }
        assert_eq!(at("0:7").to_string(), "7");
        for wrong in ["", "1:", ":1", "+1", "1:2:3", "18446744073709551616"] {
            assert!(wrong.parse::<Position>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_epoch_is_entered_once_all_up_to_its_fork_is_held() {
        let mut lineage = held(&["4"]);
        assert!(!lineage.enter(1, at("5")));
        assert!(!lineage.is_next(at("1:1")));
        lineage.advance(at("5"));
        assert!(lineage.enter(1, at("5")));
        assert!(!lineage.enter(1, at("5")), "no news");
        assert!(lineage.is_next(at("1:1")));
        assert!(!lineage.is_next(at("1:2")));
        assert_eq!(lineage.to_string(), "1:0@0:5");
        let mut behind = held(&["4"]);
        assert!(!behind.enter(2, at("1:0")), "epoch 1 began at 5");
    }

    #[test]
    fn tells_how_much_of_the_epoch_before_it_has() {
        let mut lineage = held(&["10"]);
        lineage.enter(1, at("5"));
        lineage.advance(at("1:3"));
        assert_eq!(lineage.to_string(), "1:3@0:10");
        assert!(lineage.holds(at("10")) && !lineage.holds(at("11")));
        assert!(lineage.holds(at("1:3")) && !lineage.holds(at("2:1")));
    }

    #[track_caller]
    fn check_stranded(held: &Lineage, by: &Lineage, stranded: bool) {
        assert_eq!(
            held.holds_stranded_without(by, u64::MAX),
            stranded,
            "{held:?} {by:?}"
        );
    }

    #[test]
    fn what_lies_past_a_fork_is_stranded_with_those_who_hold_it() {
        let mut lineage = held(&["10"]);
        check_stranded(&lineage, &held(&["4"]), false);
        lineage.enter(1, at("5"));
        check_stranded(&lineage, &held(&["4"]), true);
        check_stranded(&lineage, &held(&["9"]), true);
        check_stranded(&lineage, &held(&["10"]), false);
        let mut up_to_the_fork = held(&["5"]);
        up_to_the_fork.enter(1, at("5"));
        check_stranded(&up_to_the_fork, &held(&["4"]), false);
        // Epoch 2 came from epoch 0 too, so all of epoch 1 is stranded.
        let mut twice = up_to_the_fork.clone();
        twice.advance(at("1:1"));
        twice.enter(2, at("5"));
        check_stranded(&twice, &up_to_the_fork, true);
    }

    #[test]
    fn reads_back_from_json() {
        let mut lineage = held(&["10"]);
        lineage.enter(1, at("5"));
        assert_eq!(Lineage::from_json(&lineage.to_json()), Some(lineage));
        assert_eq!(
            Lineage::from_json(&json!({ "held": [[0]], "forks": [] })),
            None
        );
    }
}
