//! What was issued to a session in the last minute, because answers overtake each other and get lost.
//!
//! Two tabs of one browser share a cookie, and the answer that comes last decides what it holds. So the
//! largest token issued to a session is merged into what the session sends, and no answer during which a
//! write of the session was under way or ended takes anything away from its token.
//!
//! Only writes take room here. When there is no more, the session that has been quiet for the longest goes:
//! its client has what its token says, as if there were no memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::taken_back::{Carriers, TakenBack};
use super::token::Token;
use super::vector::Vector;

/// How long a session is remembered after its last write (the contract).
const REMEMBERED_MS: u64 = 60_000;

/// Locks, so that workers seldom meet; a power of two.
const SHARDS: usize = 64;

/// Sessions of a shard: 131,072 in all.
const MOST_SESSIONS: usize = 2_048;

/// Estimated bytes of a shard: 64 MiB in all.
const MOST_BYTES: usize = 1 << 20;

/// Of a session without its vector: its entry in the map, and its place in the queue.
const BYTES_PER_SESSION: usize = 480;

/// Of an entry beside its region's name.
const BYTES_PER_ENTRY: usize = 80;

/// The memory of an edge.
#[derive(Debug)]
pub struct Sessions {
    shards: Vec<Mutex<Shard>>,
    /// What is asked for no session in particular.
    spare: Mutex<Shard>,
}

#[derive(Debug, Default)]
struct Shard {
    sessions: HashMap<u64, Remembered>,
    /// Every session once, about in the order of their last writes, with when that was.
    queue: VecDeque<(u64, u64)>,
    bytes: usize,
    /// Counts writes that begin or end.
    stamps: u64,
    /// The last write of any session that has been forgotten.
    forgotten_ms: u64,
    taken_back: TakenBack,
}

#[derive(Debug, Default)]
struct Remembered {
    issued: Option<Arc<Token>>,
    /// Lost entries that its client has been told of.
    told: Option<Arc<Vector>>,
    under_way: u32,
    stamp: u64,
    at_ms: u64,
    bytes: usize,
}

/// What was remembered of a session when somebody looked.
#[derive(Clone, Debug, Default)]
pub struct Recalled {
    /// The largest token that it was issued.
    pub issued: Option<Arc<Token>>,
    /// Lost entries that its client has been told of, if any.
    pub told: Option<Arc<Vector>>,
    /// To ask later whether any write has begun or ended since.
    pub glance: Glance,
}

/// A moment in the life of a session.
#[derive(Clone, Copy, Debug, Default)]
pub struct Glance {
    is_writing: bool,
    stamp: u64,
    at_ms: u64,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            spare: Mutex::default(),
        }
    }
}

impl Sessions {
    fn shard(&self, session: u64) -> MutexGuard<'_, Shard> {
        let at = usize::try_from(session % 64).unwrap_or(0);
        let shard = self.shards.get(at).unwrap_or(&self.spare);
        // Every critical section leaves a shard consistent, even if it were to panic.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is remembered of a session.
    pub fn recall(&self, session: u64, now_ms: u64) -> Recalled {
        let shard = self.shard(session);
        let Some(known) = shard.sessions.get(&session) else {
            return Recalled::at(Glance {
                at_ms: now_ms,
                ..Glance::default()
            });
        };
        let recalled = Recalled::at(Glance {
            is_writing: known.under_way > 0,
            stamp: known.stamp,
            at_ms: now_ms,
        });
        if known.is_over(now_ms) {
            return recalled;
        }
        Recalled {
            issued: known.issued.clone(),
            told: known.told.clone(),
            ..recalled
        }
    }

    /// A write of a session begins; [`end_write`](Self::end_write) must follow.
    pub fn begin_write(&self, session: u64, now_ms: u64) {
        self.shard(session).touch(session, now_ms, |known| {
            known.under_way = known.under_way.saturating_add(1);
        });
    }

    /// A write of a session is over, whatever became of it.
    pub fn end_write(&self, session: u64, now_ms: u64) {
        self.shard(session).touch(session, now_ms, |known| {
            known.under_way = known.under_way.saturating_sub(1);
        });
    }

    /// A session is issued a token, or would be if an answer could still carry it.
    pub fn issue(&self, session: u64, token: &Token, now_ms: u64) {
        self.shard(session)
            .touch(session, now_ms, |known| match &mut known.issued {
                Some(issued) => Arc::make_mut(issued).merge(token),
                None => known.issued = Some(Arc::new(token.clone())),
            });
    }

    /// A session's client is told that these entries are lost: what is issued next has the rest of them.
    pub fn tell_lost(&self, session: u64, lost: &Vector, rest: &Vector, now_ms: u64) {
        self.shard(session).touch(session, now_ms, |known| {
            Arc::make_mut(known.told.get_or_insert_default()).merge(lost);
            if let Some(issued) = &mut known.issued {
                let issued = Arc::make_mut(issued);
                issued.set_back_to(lost, rest);
                issued.lost = false;
            }
        });
    }

    /// What a session was told is remembered for as long as it would be told again, as if it were told now.
    pub fn keep(&self, session: u64, now_ms: u64) {
        let mut shard = self.shard(session);
        let known = shard.sessions.get_mut(&session);
        if let Some(known) = known.filter(|known| !known.is_over(now_ms)) {
            known.at_ms = now_ms;
        }
    }

    /// All that is remembered: sessions with how long ago they last wrote, what they were issued, and what they were told.
    pub(super) fn all(&self, now_ms: u64) -> Vec<(u64, u64, Arc<Token>, Arc<Vector>)> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let known = shard.sessions.iter();
            let known = known.filter(|(_, known)| !known.is_over(now_ms));
            all.extend(known.filter_map(|(session, known)| {
                let ago_ms = now_ms.saturating_sub(known.at_ms);
                let told = known.told.clone().unwrap_or_default();
                Some((*session, ago_ms, known.issued.clone()?, told))
            }));
        }
        all
    }

    /// A session's token is taken back from these carriers.
    pub fn take_back(&self, session: u64, from: Carriers, now_ms: u64) {
        self.shard(session).taken_back.note(session, from, now_ms);
    }

    /// Whether a request that looked at `glance` may be from before its client knew that its token was taken back.
    pub fn is_around_take_back(
        &self,
        session: u64,
        from: Carriers,
        glance: Glance,
        now_ms: u64,
    ) -> bool {
        let shard = self.shard(session);
        let of = (session, from);
        shard.taken_back.is_around(of, glance.at_ms, now_ms)
    }

    /// Takes all that come from now on for such as may have been sent before their client heard that its token was taken back: by
    /// a process before this one.
    pub(super) fn begin_blind(&self, now_ms: u64) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.taken_back.begin_blind(now_ms);
        }
    }

    /// Whether a token may be shrunk in an answer to a request that looked at `glance`: no write of the session
    /// was under way then or is now, and none has ended in between.
    pub fn may_shrink(&self, session: u64, glance: Glance) -> bool {
        let shard = self.shard(session);
        let is_quiet = match shard.sessions.get(&session) {
            Some(known) => known.under_way == 0 && known.stamp == glance.stamp,
            None => true,
        };
        // Who has been forgotten since may have written.
        !glance.is_writing && is_quiet && shard.forgotten_ms < glance.at_ms
    }
}

impl Glance {
    /// When somebody looked.
    pub(super) fn at_ms(self) -> u64 {
        self.at_ms
    }
}

impl Recalled {
    /// Nothing but when somebody looked.
    fn at(glance: Glance) -> Self {
        Self {
            glance,
            ..Self::default()
        }
    }
}

impl Remembered {
    fn is_over(&self, now_ms: u64) -> bool {
        self.under_way == 0 && now_ms.saturating_sub(self.at_ms) > REMEMBERED_MS
    }

    fn weigh(&self) -> usize {
        let issued = self.issued.as_ref();
        let vectors = issued.map(|token| &token.vector).into_iter();
        let told = self.told.as_deref();
        let entries = vectors.chain(told).flat_map(Vector::iter);
        entries.fold(BYTES_PER_SESSION, |bytes, (region, _)| {
            bytes + BYTES_PER_ENTRY + region.len()
        })
    }
}

impl Shard {
    fn touch(&mut self, session: u64, now_ms: u64, change: impl FnOnce(&mut Remembered)) {
        self.stamps += 1;
        let known = self.sessions.entry(session).or_insert_with(|| {
            self.queue.push_back((session, now_ms));
            Remembered::default()
        });
        if known.is_over(now_ms) {
            (known.issued, known.told) = (None, None);
        }
        change(known);
        (known.stamp, known.at_ms) = (self.stamps, now_ms);
        let weight = known.weigh();
        let before = std::mem::replace(&mut known.bytes, weight);
        self.bytes = (self.bytes + known.bytes).saturating_sub(before);
        self.make_room(now_ms);
    }

    /// Forgets who has been quiet for too long, and while there is no room for all, for the longest.
    fn make_room(&mut self, now_ms: u64) {
        while let Some((session, queued_ms)) = self.queue.front().copied() {
            let is_full = self.sessions.len() > MOST_SESSIONS || self.bytes > MOST_BYTES;
            let is_due = now_ms.saturating_sub(queued_ms) > REMEMBERED_MS;
            if !is_full && !is_due {
                return;
            }
            self.queue.pop_front();
            let Some(known) = self.sessions.get(&session) else {
                continue;
            };
            let has_written_since = known.at_ms > queued_ms;
            if !known.is_over(now_ms) && (has_written_since || !is_full) {
                // Its place is behind; of those whose write lasts, at the end.
                let at_ms = if has_written_since {
                    known.at_ms
                } else {
                    now_ms
                };
                self.queue.push_back((session, at_ms));
                continue;
            }
            self.forget(session, now_ms);
        }
    }

    fn forget(&mut self, session: u64, now_ms: u64) {
        let Some(known) = self.sessions.remove(&session) else {
            return;
        };
        self.bytes = self.bytes.saturating_sub(known.bytes);
        let last_ms = if known.under_way > 0 {
            now_ms
        } else {
            known.at_ms
        };
        self.forgotten_ms = self.forgotten_ms.max(last_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::plan::VersionForm;
    use crate::positions::parse_vector;

    fn token(session: u64, vector: &str) -> Token {
        Token {
            session,
            vector: parse_vector(vector, VersionForm::Integer).unwrap(),
            ..Token::default()
        }
    }

    fn recalled(sessions: &Sessions, session: u64, now_ms: u64) -> String {
        let issued = sessions.recall(session, now_ms).issued;
        issued.unwrap_or_default().vector.to_string()
    }

    #[test]
    fn the_largest_vector_issued_is_remembered_for_a_minute() {
        let sessions = Sessions::default();
        sessions.issue(7, &token(7, "us=5"), 1_000);
        sessions.issue(7, &token(7, "us=4,eu=2"), 2_000);
        assert_eq!(recalled(&sessions, 7, 62_000), "eu=2,us=5");
        assert_eq!(recalled(&sessions, 7, 62_001), "");
        assert_eq!(recalled(&sessions, 8, 2_000), "");
        sessions.issue(7, &token(7, "ap=1"), 70_000);
        assert_eq!(recalled(&sessions, 7, 70_000), "ap=1");
    }

    #[test]
    fn a_token_is_not_shrunk_around_a_write() {
        let sessions = Sessions::default();
        let glance = |now_ms| sessions.recall(7, now_ms).glance;
        let before = glance(10);
        assert!(sessions.may_shrink(7, before));
        sessions.begin_write(7, 20);
        assert!(!sessions.may_shrink(7, before), "one has begun");
        let during = glance(30);
        sessions.end_write(7, 40);
        assert!(!sessions.may_shrink(7, before), "one has come and gone");
        assert!(!sessions.may_shrink(7, during), "one has ended");
        assert!(sessions.may_shrink(7, glance(50)));
    }

    #[test]
    fn what_was_forgotten_in_between_may_have_been_a_write() {
        let sessions = Sessions::default();
        let before = sessions.recall(64, 10).glance;
        sessions.begin_write(64, 20);
        sessions.end_write(64, 21);
        // Another session of the same shard, much later: it makes the first one be forgotten.
        sessions.issue(0, &token(0, "us=1"), 100_000);
        assert!(!sessions.shard(64).sessions.contains_key(&64));
        assert!(!sessions.may_shrink(64, before));
        assert!(sessions.may_shrink(64, sessions.recall(64, 100_001).glance));
    }

    #[test]
    fn a_write_that_lasts_longer_than_a_minute_is_still_under_way() {
        let sessions = Sessions::default();
        sessions.begin_write(64, 0);
        sessions.issue(0, &token(0, "us=1"), 200_000);
        assert!(!sessions.may_shrink(64, sessions.recall(64, 200_000).glance));
        sessions.end_write(64, 200_001);
        assert!(sessions.may_shrink(64, sessions.recall(64, 200_002).glance));
    }

    #[test]
    fn of_a_lost_entry_only_the_rest_is_issued_once_it_was_told() {
        let sessions = Sessions::default();
        sessions.issue(7, &token(7, "us=3:5,eu=1"), 0);
        let (lost, rest) = (token(7, "us=3:5").vector, token(7, "us=3:2").vector);
        sessions.tell_lost(7, &lost, &rest, 1);
        assert_eq!(recalled(&sessions, 7, 2), "eu=1,us=3:2");
        let told = sessions.recall(7, 2).told;
        assert_eq!(*told.unwrap(), token(7, "us=3:5").vector);
    }

    #[test]
    fn what_a_session_was_told_is_remembered_while_it_would_be_told_again() {
        let sessions = Sessions::default();
        let lost = token(64, "us=3:5").vector;
        sessions.tell_lost(64, &lost, &Vector::default(), 0);
        let glance = sessions.recall(64, 50_000).glance;
        sessions.keep(64, 50_000);
        assert!(sessions.may_shrink(64, glance), "nobody wrote");
        sessions.issue(0, &token(0, "us=1"), 61_000);
        assert!(sessions.recall(64, 110_000).told.is_some());
        assert!(sessions.recall(64, 110_001).told.is_none());
        sessions.keep(64, 110_001);
        assert!(sessions.recall(64, 110_002).told.is_none(), "it was over");
    }

    #[test]
    fn more_sessions_than_there_is_room_for_push_out_the_oldest() {
        let sessions = Sessions::default();
        let issued = token(0, "us-east-1=5,eu-west-1=7");
        for session in 0..200_000 {
            sessions.issue(session, &issued, session / 100);
        }
        for shard in &sessions.shards {
            let shard = shard.lock().unwrap();
            assert!(shard.sessions.len() <= MOST_SESSIONS && shard.bytes <= MOST_BYTES);
            assert_eq!(shard.queue.len(), shard.sessions.len());
            let weighed: usize = shard.sessions.values().map(Remembered::weigh).sum();
            assert_eq!(shard.bytes, weighed);
        }
        assert_eq!(recalled(&sessions, 0, 10_000), "");
        assert_eq!(
            recalled(&sessions, 199_999, 10_000),
            "eu-west-1=7,us-east-1=5"
        );
    }

    /// KiB of memory that this process holds.
    fn resident_kib() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.unwrap()
    }

    #[test]
    fn a_hundred_thousand_distinct_tokens_a_second_take_bounded_memory() {
        let sessions = Sessions::default();
        let issued = token(0, "us-east-1=5,eu-west-1=7,ap-northeast-1=9");
        let before_kib = resident_kib();
        for number in 0..600_000_u64 {
            let session = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let now_ms = number / 100;
            drop(sessions.recall(session, now_ms));
            sessions.begin_write(session, now_ms);
            sessions.issue(session, &issued, now_ms);
            sessions.end_write(session, now_ms);
        }
        let grown_kib = resident_kib().saturating_sub(before_kib);
        let held: usize = sessions
            .shards
            .iter()
            .map(|shard| shard.lock().unwrap().sessions.len())
            .sum();
        eprintln!("{held} sessions are held in {grown_kib} KiB");
        assert!(held <= SHARDS * MOST_SESSIONS && held > SHARDS * MOST_SESSIONS / 2);
        // The estimate, and as much again for what an allocator keeps beside it.
        assert!(
            grown_kib <= 2 * SHARDS * MOST_BYTES / 1024,
            "{grown_kib} KiB"
        );
    }

    #[test]
    fn reading_with_any_number_of_tokens_remembers_none_of_them() {
        let sessions = Sessions::default();
        for session in 0..100_000 {
            let glance = sessions.recall(session, 1).glance;
            assert!(sessions.may_shrink(session, glance));
        }
        let is_empty = |shard: &Mutex<Shard>| shard.lock().unwrap().sessions.capacity() == 0;
        assert!(sessions.shards.iter().all(is_empty));
    }

    #[test]
    fn one_session_that_writes_without_end_takes_one_place() {
        let sessions = Sessions::default();
        for now_ms in 0..200_000 {
            sessions.begin_write(64, now_ms);
            sessions.end_write(64, now_ms);
        }
        let shard = sessions.shard(64);
        assert_eq!((shard.queue.len(), shard.sessions.len()), (1, 1));
    }
}
