//! Whose tokens were taken back of late.
//!
//! A client that has none any more writes as a new session, and nobody knows that it is the same client. So an answer that
//! was under way when its session's token was taken back must not take back anything itself: what the client holds by then
//! may be the new session's. Nor must one to a request that the client sent before it heard of that. Each carrier counts for
//! itself: who holds a token in one still writes with it when it is gone from the other.

use std::collections::{HashMap, VecDeque};

/// How long requests may come that a client sent before it got an answer.
const ON_THE_WAY_MS: u64 = 2_000;

/// A request that takes longer to be answered takes nothing back.
const LONGEST_MS: u64 = 60_000;

/// Of a shard, of which there are 64: 262,144 in all, with some 100 bytes each in the map and the queue, which grow by doubling.
const MOST: usize = 4_096;

/// In what a request carries its tokens, and is given them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carriers {
    /// The cookie.
    pub cookie: bool,
    /// `Meridian-Token`.
    pub header: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Carrier {
    Cookie,
    Header,
}

impl Carriers {
    fn each(self) -> impl Iterator<Item = Carrier> {
        let cookie = self.cookie.then_some(Carrier::Cookie);
        let header = self.header.then_some(Carrier::Header);
        cookie.into_iter().chain(header)
    }
}

type Key = (u64, Carrier);

/// Sessions whose tokens were taken back, and from where.
#[derive(Debug, Default)]
pub(super) struct TakenBack {
    at_ms: HashMap<Key, u64>,
    /// In the order of time.
    queue: VecDeque<(Key, u64)>,
    /// Requests from before this may be around what there was no room for.
    blind_until_ms: u64,
}

impl TakenBack {
    /// A session's token is taken back.
    pub(super) fn note(&mut self, session: u64, from: Carriers, now_ms: u64) {
        for carrier in from.each() {
            self.at_ms.insert((session, carrier), now_ms);
            self.queue.push_back(((session, carrier), now_ms));
        }
        while let Some((key, at_ms)) = self.queue.front().copied() {
            let is_over = now_ms.saturating_sub(at_ms) > LONGEST_MS + ON_THE_WAY_MS;
            let is_full = self.queue.len() > MOST;
            if !is_over && !is_full {
                return;
            }
            self.queue.pop_front();
            if self.at_ms.get(&key) == Some(&at_ms) {
                self.at_ms.remove(&key);
            }
            if !is_over {
                self.blind_until_ms = self.blind_until_ms.max(at_ms + ON_THE_WAY_MS);
            }
        }
    }

    /// Requests that come from now on may be from before somebody was told that its token was taken back.
    pub(super) fn begin_blind(&mut self, now_ms: u64) {
        self.blind_until_ms = now_ms + ON_THE_WAY_MS;
    }

    /// Whether a request that came at `began_ms` may be from before its client knew that its token was taken back.
    pub(super) fn is_around(
        &self,
        (session, from): (u64, Carriers),
        began_ms: u64,
        now_ms: u64,
    ) -> bool {
        let mut taken_ms = from
            .each()
            .filter_map(|carrier| self.at_ms.get(&(session, carrier)));
        now_ms.saturating_sub(began_ms) > LONGEST_MS
            || began_ms < self.blind_until_ms
            || taken_ms.any(|at_ms| began_ms < at_ms + ON_THE_WAY_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOKIE: Carriers = Carriers {
        cookie: true,
        header: false,
    };

    const HEADER: Carriers = Carriers {
        cookie: false,
        header: true,
    };

    const BOTH: Carriers = Carriers {
        cookie: true,
        header: true,
    };

    #[test]
    fn requests_that_were_under_way_or_on_the_way_are_around_it_and_others_are_not() {
        let mut taken = TakenBack::default();
        taken.note(7, COOKIE, 100_000);
        for (of, began_ms, expected) in [
            ((7, COOKIE), 99_000, true),
            ((7, BOTH), 99_000, true),
            ((7, HEADER), 99_000, false),
            ((7, COOKIE), 100_000 + ON_THE_WAY_MS - 1, true),
            ((7, COOKIE), 100_000 + ON_THE_WAY_MS, false),
            ((8, COOKIE), 99_000, false),
        ] {
            assert_eq!(taken.is_around(of, began_ms, 120_000), expected, "{of:?}");
        }
    }

    #[test]
    fn whoever_takes_longer_than_is_remembered_is_taken_to_be_around_one() {
        let taken = TakenBack::default();
        assert!(!taken.is_around((7, COOKIE), 100, 100 + LONGEST_MS));
        assert!(taken.is_around((7, COOKIE), 100, 101 + LONGEST_MS));
    }

    #[test]
    fn what_there_is_no_room_for_is_taken_to_be_of_everybody() {
        let mut taken = TakenBack::default();
        for session in 0..10_000 {
            taken.note(session, BOTH, 1_000);
        }
        assert!(taken.queue.len() <= MOST && taken.at_ms.len() <= MOST);
        let until_ms = 1_000 + ON_THE_WAY_MS;
        assert!(taken.is_around((u64::MAX, COOKIE), until_ms - 1, 20_000));
        assert!(!taken.is_around((u64::MAX, COOKIE), until_ms, 20_000));
    }

    #[test]
    fn a_session_whose_token_is_taken_back_again_and_again_is_remembered_from_the_last_time() {
        let mut taken = TakenBack::default();
        for at_ms in (0..1_000_000).step_by(20_000) {
            taken.note(7, COOKIE, at_ms);
        }
        assert!(taken.is_around((7, COOKIE), 980_000, 990_000));
        assert!(taken.queue.len() < 10 && taken.at_ms.len() == 1);
    }
}
