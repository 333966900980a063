//! Whether the clients of a network still are near this edge, which is what figures of `edge` go by.
//!
//! Pure. They are true of clients that are near: from here on their way is the edge's own. Each connection says anew how long its
//! client's way is. A network has moved away once enough sources say that it is far, and more than say that it is near, for as long as a
//! figure takes to give way.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::settled::LASTING_MS;
use super::{LEAST_GAIN_MS, Network};
use crate::prefix::Prefix;

/// Clients this near to the edge go on from here as the edge does, ms.
pub(super) const NEAR_MS: f64 = 15.0;

/// Clients that need more than this are far, ms. Those between say neither.
const FAR_MS: f64 = NEAR_MS + LEAST_GAIN_MS;

/// How long a source's word counts after its last connection.
const WORD_LASTS_MS: u64 = 600_000;

/// The sources that are told apart.
const MOST_SOURCES: usize = 16;

/// What the clients of a network say of their way to this edge.
#[derive(Clone, Debug, Default)]
pub(super) struct Nearness {
    words: Vec<Word>,
    /// Since when it is far by what they say.
    far_since: Option<u64>,
}

/// What one source has said last.
#[derive(Clone, Copy, Debug)]
struct Word {
    /// The hash of its address.
    source: u64,
    is_near: bool,
    at_ms: u64,
}

impl Nearness {
    /// Takes in what a source's connection says.
    pub(super) fn hear(&mut self, source: u64, ms: f64, now_ms: u64) {
        let is_near = ms <= NEAR_MS;
        if !is_near && ms <= FAR_MS {
            return;
        }
        self.words.retain(|word| word.source != source);
        if self.words.len() >= MOST_SOURCES {
            let oldest = self.words.iter().enumerate();
            let oldest = oldest.min_by_key(|(_, word)| word.at_ms);
            if let Some((at, _)) = oldest {
                self.words.swap_remove(at);
            }
        }
        self.words.push(Word {
            source,
            is_near,
            at_ms: now_ms,
        });
    }

    /// Looks whether it has moved away, by what at least so many sources say on and on.
    pub(super) fn has_moved_away(&mut self, quorum: usize, now_ms: u64) -> bool {
        // The clock may have been set back since.
        self.times().for_each(|at_ms| *at_ms = (*at_ms).min(now_ms));
        self.words
            .retain(|word| now_ms - word.at_ms < WORD_LASTS_MS);
        let near = self.words.iter().filter(|word| word.is_near).count();
        let far = self.words.len() - near;
        if far < quorum.max(1) || far <= near {
            self.far_since = None;
            return false;
        }
        now_ms - *self.far_since.get_or_insert(now_ms) >= LASTING_MS
    }

    /// Whether most are far at present, as was last looked: what those few show that are near is not true of the network.
    pub(super) fn is_far(&self) -> bool {
        self.far_since.is_some()
    }

    /// Whether nobody has said anything lately.
    pub(super) fn is_silent(&self) -> bool {
        self.words.is_empty()
    }

    /// All times in it.
    pub(super) fn times(&mut self) -> impl Iterator<Item = &mut u64> {
        let words = self.words.iter_mut().map(|word| &mut word.at_ms);
        words.chain(&mut self.far_since)
    }
}

/// Networks of which more clients are near this edge than are not. All of theirs go on from here, and none of the others:
/// what a few alone showed would be weighed against what all show.
pub fn mostly_near(ways: &[(IpAddr, f64)]) -> HashSet<Prefix> {
    let mut least: HashMap<IpAddr, f64> = HashMap::new();
    for (client, ms) in ways {
        let of_client = least.entry(*client).or_insert(*ms);
        *of_client = of_client.min(*ms);
    }
    let mut balance: HashMap<Prefix, i64> = HashMap::new();
    for (client, ms) in least {
        let balance = balance.entry(Network::around(client)).or_default();
        *balance += if ms <= NEAR_MS { 1 } else { -1 };
    }
    let near = balance.into_iter().filter(|(_, balance)| *balance > 0);
    near.map(|(network, _)| network).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUORUM: usize = 3;

    /// Whether a network of these ways has moved away after so long, in which each source is heard every five seconds.
    fn moves_away(ways: &[f64], ms: u64) -> bool {
        let mut nearness = Nearness::default();
        for source in 0..3 {
            nearness.hear(source, 3.0, 0);
        }
        let mut moved = false;
        for now_ms in (5_000..=ms).step_by(5_000) {
            for (source, way_ms) in (0..).zip(ways) {
                nearness.hear(source, *way_ms, now_ms);
            }
            moved |= nearness.has_moved_away(QUORUM, now_ms);
        }
        moved
    }

    #[test]
    fn a_network_whose_ways_have_become_long_has_moved_away_once_that_lasts() {
        assert!(!moves_away(&[220.0; 3], LASTING_MS));
        assert!(moves_away(&[220.0; 3], LASTING_MS + 5_000));
        assert!(moves_away(&[220.0; 40], LASTING_MS + 5_000));
    }

    #[test]
    fn a_few_slow_lines_take_no_figure_from_their_neighbours() {
        let long = 10 * LASTING_MS;
        assert!(!moves_away(&[3.0, 220.0, 220.0], long), "two of three");
        assert!(!moves_away(&[3.0, 3.0, 3.0, 220.0, 220.0, 220.0], long));
        assert!(!moves_away(&[16.0; 3], long), "neither near nor far");
    }

    #[test]
    fn what_is_far_for_a_moment_has_not_moved() {
        let mut nearness = Nearness::default();
        let mut say = |ms: f64, now_ms: u64| {
            (0..3).for_each(|source| nearness.hear(source, ms, now_ms));
            nearness.has_moved_away(QUORUM, now_ms)
        };
        assert!(!say(220.0, 0));
        assert!(!say(3.0, LASTING_MS - 1));
        assert!(!say(220.0, LASTING_MS));
        assert!(!say(220.0, 2 * LASTING_MS - 1));
        assert!(say(220.0, 2 * LASTING_MS));
    }

    #[test]
    fn a_network_is_mostly_near_if_more_of_its_clients_are_near_than_are_not() {
        let way = |client: &str, ms| (client.parse().unwrap(), ms);
        let ways = [
            way("192.0.2.1", 4.0),
            way("192.0.2.2", 500.0),
            way("192.0.2.2", 501.0),
            way("192.0.2.2", 500.0),
            way("192.0.2.3", 15.0),
            way("198.51.100.1", 4.0),
            way("198.51.100.2", 16.0),
        ];
        let near: Vec<String> = mostly_near(&ways).iter().map(Prefix::to_string).collect();
        assert_eq!(near, ["192.0.2.0/24"]);
    }

    #[test]
    fn who_has_gone_has_no_word() {
        let mut nearness = Nearness::default();
        (0..3).for_each(|source| nearness.hear(source, 220.0, 0));
        assert!(!nearness.has_moved_away(QUORUM, 0));
        assert!(nearness.has_moved_away(QUORUM, WORD_LASTS_MS - 1));
        assert!(!nearness.has_moved_away(QUORUM, WORD_LASTS_MS));
        assert!(nearness.is_silent());
    }
}
