//! Who pushes for regions, and whether it numbers what it sends.
//!
//! Draws chance of its own, so that a run whose pushes are numbered is otherwise the run that it was without.

use std::collections::BTreeMap;

use super::random::Random;
use crate::positions::Sequence;

#[derive(Clone, Copy, Debug, Default)]
struct Pusher {
    is_numbered: bool,
    instance: u64,
    number: u64,
    went_back: bool,
}

/// Those of all regions.
#[derive(Clone, Debug)]
pub(super) struct Pushers {
    random: Random,
    by_region: BTreeMap<usize, Pusher>,
}

impl Pushers {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(!seed),
            by_region: BTreeMap::new(),
        }
    }

    /// The number of a region's next push. Its pusher may have begun anew since the last, seldom by a clock that
    /// went back.
    pub(super) fn next(&mut self, region: usize) -> Option<Sequence> {
        let random = &mut self.random;
        let numbered = random.chance(60);
        let begin = || Pusher {
            is_numbered: numbered,
            instance: 1_000,
            ..Pusher::default()
        };
        let pusher = self.by_region.entry(region).or_insert_with(begin);
        if random.chance(10) {
            pusher.number = 0;
            let goes_back = random.chance(10);
            pusher.went_back |= goes_back;
            pusher.instance = if goes_back {
                pusher.instance - 3
            } else {
                pusher.instance + 1
            };
        }
        pusher.number += 1;
        let written = format!("{}:{}", pusher.instance, pusher.number);
        pusher.is_numbered.then(|| written.parse().unwrap())
    }

    /// Whether the order of a region's pushes can be told.
    pub(super) fn are_in_order(&self, region: usize) -> bool {
        let pusher = self.by_region.get(&region);
        pusher.is_some_and(|pusher| pusher.is_numbered && !pusher.went_back)
    }
}
