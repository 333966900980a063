//! What origins have shown to one edge of their regions' logs, and when they first did: worked out apart from the code that is checked,
//! from believed words alone.

use std::collections::{BTreeMap, BTreeSet};

use super::edge::At;
use super::terms::NAMES;
use crate::positions::{Position, RegionName, Vector};

/// How often an edge looks who may be read from, ms.
const REVIEWED_EVERY_MS: u64 = 1_000;

/// How long after it was asked an origin's word is as good as its state, ms: as long as it takes to be asked again, and for the
/// longest way.
const IS_NEWS_FOR_MS: u64 = 1_500;

/// What an edge was shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    /// Of each log the positions that were new to all, in their order, and when.
    first: BTreeMap<RegionName, Vec<(Position, u64)>>,
    /// What is believed of each origin that ever spoke.
    said: BTreeMap<At, Vector>,
    /// When each showed less than before.
    lowered_ms: BTreeMap<At, u64>,
    /// When each was last asked.
    asked_ms: BTreeMap<At, u64>,
    /// Whose log has gone back by its own word: what it is, nobody can tell.
    gone_back: BTreeSet<RegionName>,
    /// Whether some log has begun an epoch, or anybody has shown less than before.
    has_turned: bool,
}

impl Shown {
    /// These are the regions from now on, with so many replicas: what others are and have written counts no more.
    pub(super) fn keep(&mut self, regions: &[&str], replicas: &[usize]) {
        let is_one = |name: &str| regions.contains(&name);
        self.first.retain(|writer, _| is_one(writer));
        self.said
            .retain(|at, _| replicas.get(at.0).is_some_and(|of| at.1 < *of));
        for said in self.said.values_mut() {
            said.retain(|writer, _| is_one(writer));
        }
    }

    /// Takes in what is believed of an origin.
    pub(super) fn hear(&mut self, at: At, said: &Vector, asked_at_ms: Option<u64>, now_ms: u64) {
        if let Some(asked_at_ms) = asked_at_ms {
            let last_ms = self.asked_ms.entry(at).or_default();
            *last_ms = asked_at_ms.max(*last_ms);
        }
        let before = self.said.insert(at, said.clone()).unwrap_or_default();
        let is_less =
            |(writer, was): &(&RegionName, Position)| said.get(writer).is_none_or(|now| now < *was);
        let lowered = before.iter().filter(is_less).map(|(writer, _)| writer);
        for writer in lowered {
            self.has_turned = true;
            self.lowered_ms.insert(at, now_ms);
            if **writer == *NAMES[at.0] {
                self.gone_back.insert(writer.clone());
            }
        }
        for (writer, position) in said.iter() {
            self.has_turned |= position.epoch > 0;
            let first = self.first.entry(writer.clone()).or_default();
            // Of a log that its own region says nothing of, nothing is promised by its positions.
            let is_own = **writer == *NAMES[at.0];
            if is_own && first.last().is_none_or(|(last, _)| *last < position) {
                first.push((position, now_ms));
            }
        }
        self.forget_what_nobody_shows();
    }

    /// What was shown last and is shown by nobody any more is no part of its log.
    fn forget_what_nobody_shows(&mut self) {
        for (writer, first) in &mut self.first {
            let shown = self.said.values().filter_map(|said| said.get(writer));
            let newest = shown.max().unwrap_or_default();
            first.retain(|(position, _)| *position <= newest);
        }
    }

    /// Whether it must have been noticed that an origin lacks what somebody showed so long ago.
    pub(super) fn is_late(&self, at: At, ttl_ms: u64, now_ms: u64) -> bool {
        let Some(said) = self.said.get(&at) else {
            return false;
        };
        let lowered_ms = self.lowered_ms.get(&at).copied().unwrap_or_default();
        let lacks = |writer: &RegionName, position: Position| match said.get(writer) {
            Some(has) => has < position,
            // An origin that says nothing of its own log says nothing of lacking any of it.
            None => **writer != *NAMES[at.0],
        };
        let mut first = self
            .first
            .iter()
            .filter(|(writer, _)| !self.gone_back.contains(*writer));
        first.any(|(writer, first)| {
            first.iter().any(|(position, since_ms)| {
                let is_noticed = now_ms > lowered_ms.max(since_ms + ttl_ms) + REVIEWED_EVERY_MS;
                position.seq > 0 && is_noticed && lacks(writer, *position)
            })
        })
    }

    /// Who shows all that anybody ever showed, where nothing is in doubt: each was asked a moment ago, and no log has turned.
    pub(super) fn who_has_all(&self, now_ms: u64) -> Vec<At> {
        let is_news = |at| {
            let asked_ms = self.asked_ms.get(at);
            asked_ms.is_some_and(|asked_ms| now_ms <= asked_ms + IS_NEWS_FOR_MS)
        };
        if self.has_turned || !self.said.keys().all(is_news) {
            return Vec::new();
        }
        let shown = self.first.iter();
        let shown = shown.filter_map(|(writer, first)| Some((writer, first.last()?.0)));
        // A region that has lost some of its own log since may say less of it than others.
        let said = self.said.values().flat_map(Vector::iter);
        let all: Vec<_> = shown.chain(said).collect();
        let has_all = |said: &Vector| {
            let mut all = all.iter();
            all.all(|(writer, position)| said.get(writer).unwrap_or_default() >= *position)
        };
        let all = self.said.iter().filter(|(_, said)| has_all(said));
        all.map(|(at, _)| *at).collect()
    }
}
