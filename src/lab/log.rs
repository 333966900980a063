//! One region's log of its own writes, and how far every peer has taken it. Pure.
//!
//! Positions have no gaps within an epoch. What every peer has acknowledged is forgotten, so the log holds
//! only what replication still needs. A peer whose store was restored from a backup may lack what was forgotten: then it
//! needs the whole state.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::delta::Change;
use super::name::Name;
use super::position::{Lineage, Position};

/// How many entries travel to a peer at once.
const BATCH_ENTRIES: usize = 64;
/// Bytes of keys and values after which a batch takes no further entry. JSON writes one byte as at
/// most six, so a batch stays below 8 MiB on the wire.
const BATCH_BYTES: usize = 1024 * 1024;
/// What an entry costs besides its change, roughly: numbers, pointers, the queue's slot.
const ENTRY_BYTES: usize = 64;

/// One write, as it travels between regions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) position: Position,
    pub(super) change: Change,
}

impl Entry {
    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.change.bytes()
    }
}

/// What is to be sent to a peer next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The peer has everything.
    Nothing,
    /// The next entry may not arrive before then.
    At(Instant),
    /// These, in order.
    Batch(Vec<Entry>),
    /// All that there is: the peer lacks what no log has.
    State,
}

/// How much of the log a peer is known to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// So many entries, forgotten ones included.
    Entries(u64),
    /// It lacks entries that were forgotten.
    TooFew,
}

/// A region's own writes that some peer may still lack.
#[derive(Clone, Debug)]
pub(super) struct Log {
    entries: VecDeque<Logged>,
    /// How many entries were forgotten, and the last of them.
    forgotten: u64,
    last_forgotten: Position,
    last: Position,
    bytes: usize,
    taken: BTreeMap<Name, Taken>,
}

#[derive(Clone, Debug)]
struct Logged {
    entry: Entry,
    committed_at: Instant,
}

impl Log {
    /// An empty log that these peers have yet to take.
    pub(super) fn new(peers: impl IntoIterator<Item = Name>) -> Self {
        Self {
            entries: VecDeque::new(),
            forgotten: 0,
            last_forgotten: Position::default(),
            last: Position::default(),
            bytes: 0,
            taken: peers
                .into_iter()
                .map(|peer| (peer, Taken::Entries(0)))
                .collect(),
        }
    }

    /// The position of the last write; 0 when there was none in this epoch.
    pub(super) fn last(&self) -> Position {
        self.last
    }

    /// What is held for peers that have not acknowledged it.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Goes on in this epoch, from 0.
    pub(super) fn begin(&mut self, epoch: u64) {
        self.last = Position { epoch, seq: 0 };
    }

    /// Appends a write and returns its position.
    pub(super) fn append(&mut self, change: Change, now: Instant) -> Position {
        self.last = self.last.next();
        let entry = Entry {
            position: self.last,
            change,
        };
        self.bytes += entry.bytes();
        self.entries.push_back(Logged {
            entry,
            committed_at: now,
        });
        self.forget();
        self.last
    }

    /// What `peer` lacks, none of it earlier than `lag` after its commit.
    pub(super) fn next_for(&self, peer: &str, lag: Duration, now: Instant) -> Next {
        let taken = match self.taken.get(peer) {
            Some(Taken::Entries(taken)) => *taken,
            Some(Taken::TooFew) => return Next::State,
            None => return Next::Nothing,
        };
        let known = usize::try_from(taken.saturating_sub(self.forgotten)).unwrap_or(usize::MAX);
        let mut lacking = self.entries.iter().skip(known).peekable();
        match lacking.peek() {
            None => Next::Nothing,
            Some(first) if first.committed_at + lag > now => Next::At(first.committed_at + lag),
            Some(_) => Next::Batch(batch(
                lacking.take_while(|logged| logged.committed_at + lag <= now),
            )),
        }
    }

    /// Takes the peer's word for what it has applied of this log, also if that is less than it once was.
    pub(super) fn acknowledge(&mut self, peer: &str, held: &Lineage) {
        let entries = &self.entries;
        let known = entries.partition_point(|logged| held.holds(logged.entry.position));
        let known = u64::try_from(known).unwrap_or(u64::MAX);
        if let Some(taken) = self.taken.get_mut(peer) {
            *taken = if held.holds(self.last_forgotten) {
                Taken::Entries(self.forgotten.saturating_add(known))
            } else {
                Taken::TooFew
            };
        }
        self.forget();
    }

    fn forget(&mut self) {
        let taken = self.taken.values().map(|taken| match taken {
            Taken::Entries(taken) => *taken,
            // It gets the state as it is then, and whatever comes after that from the log.
            Taken::TooFew => 0,
        });
        let everywhere = taken.min().unwrap_or(u64::MAX);
        while self.forgotten < everywhere
            && let Some(oldest) = self.entries.pop_front()
        {
            self.forgotten += 1;
            self.last_forgotten = oldest.entry.position;
            self.bytes -= oldest.entry.bytes();
        }
    }
}

/// As many as travel together, and at least one.
fn batch<'a>(lacking: impl Iterator<Item = &'a Logged>) -> Vec<Entry> {
    let mut bytes = 0;
    lacking
        .take(BATCH_ENTRIES)
        .take_while(|logged| {
            let fits = bytes < BATCH_BYTES;
            bytes += logged.entry.bytes();
            fits
        })
        .map(|logged| logged.entry.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::delta::Delta;
    use super::super::orset::OrSet;
    use super::*;

    const LAG: Duration = Duration::from_millis(200);

    fn epoch() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn change(key: &str) -> Change {
        Change {
            key: key.into(),
            delta: Delta::Set(OrSet::default()),
        }
    }

    fn log_of(writes: usize, size: usize, now: Instant) -> Log {
        let mut log = Log::new(["eu", "ap"].map(|peer| peer.parse().unwrap()));
        for _ in 0..writes {
            log.append(change(&"x".repeat(size)), now);
        }
        log
    }

    fn up_to(text: &str) -> Lineage {
        let mut lineage = Lineage::default();
        lineage.advance(text.parse().unwrap());
        lineage
    }

    fn positions(next: Next) -> Vec<String> {
        match next {
            Next::Batch(entries) => {
                let entries = entries.into_iter();
                entries.map(|entry| entry.position.to_string()).collect()
            }
            Next::Nothing | Next::At(_) | Next::State => Vec::new(),
        }
    }

    #[test]
    fn an_entry_leaves_at_its_lag_and_not_before() {
        let now = epoch();
        let log = log_of(1, 1, now);
        let before = now + LAG - Duration::from_nanos(1);
        assert_eq!(log.next_for("eu", LAG, before), Next::At(now + LAG));
        assert_eq!(positions(log.next_for("eu", LAG, now + LAG)), ["1"]);
    }

    #[test]
    fn entries_that_are_not_due_wait_behind_those_that_are() {
        let now = epoch();
        let mut log = log_of(2, 1, now);
        log.append(change("late"), now + LAG);
        assert_eq!(positions(log.next_for("eu", LAG, now + LAG)), ["1", "2"]);
    }

    #[test]
    fn a_peer_is_sent_what_it_has_not_acknowledged() {
        let now = epoch();
        let mut log = log_of(3, 1, now);
        log.acknowledge("eu", &up_to("2"));
        assert_eq!(positions(log.next_for("eu", Duration::ZERO, now)), ["3"]);
        assert_eq!(positions(log.next_for("ap", Duration::ZERO, now)).len(), 3);
        log.acknowledge("eu", &up_to("3"));
        assert_eq!(log.next_for("eu", Duration::ZERO, now), Next::Nothing);
    }

    #[test]
    fn what_everybody_has_is_forgotten_and_the_count_goes_on() {
        let now = epoch();
        let mut log = log_of(3, 1, now);
        log.acknowledge("eu", &up_to("3"));
        log.acknowledge("ap", &up_to("2"));
        assert_eq!(log.entries.len(), 1);
        assert_eq!(positions(log.next_for("ap", Duration::ZERO, now)), ["3"]);
        log.acknowledge("ap", &up_to("3"));
        assert_eq!((log.bytes(), log.last().seq), (0, 3));
        assert_eq!(log.append(change("key"), now).seq, 4);
    }

    #[test]
    fn a_log_that_nobody_takes_keeps_nothing() {
        let mut log = Log::new([]);
        assert_eq!(log.append(change("key"), epoch()).seq, 1);
        assert_eq!((log.bytes(), log.last().seq), (0, 1));
    }

    #[test]
    fn an_acknowledgement_from_beyond_the_end_counts_as_the_end() {
        let now = epoch();
        let mut log = log_of(1, 1, now);
        log.acknowledge("eu", &up_to("18446744073709551615"));
        log.acknowledge("eu", &up_to("1"));
        log.append(change("key"), now);
        assert_eq!(positions(log.next_for("eu", Duration::ZERO, now)), ["2"]);
    }

    #[test]
    fn a_peer_that_ran_backwards_is_sent_again_what_the_log_has_or_else_the_state() {
        let now = epoch();
        let mut log = log_of(4, 1, now);
        log.acknowledge("eu", &up_to("4"));
        log.acknowledge("eu", &up_to("2"));
        assert_eq!(
            positions(log.next_for("eu", Duration::ZERO, now)),
            ["3", "4"]
        );
        log.acknowledge("ap", &up_to("2"));
        log.acknowledge("eu", &up_to("1"));
        assert_eq!(log.next_for("eu", Duration::ZERO, now), Next::State);
        log.acknowledge("ap", &up_to("4"));
        assert_eq!(log.entries.len(), 2, "kept until the state has arrived");
        log.acknowledge("eu", &up_to("3"));
        assert_eq!(positions(log.next_for("eu", Duration::ZERO, now)), ["4"]);
    }

    #[test]
    fn a_new_epoch_follows_on_the_old_one() {
        let now = epoch();
        let mut log = log_of(2, 1, now);
        log.begin(1);
        log.append(change("key"), now);
        let all = log.next_for("eu", Duration::ZERO, now);
        assert_eq!(positions(all), ["1", "2", "1:1"]);
        let mut held = up_to("9");
        held.enter(1, Position { epoch: 0, seq: 2 });
        log.acknowledge("eu", &held);
        assert_eq!(positions(log.next_for("eu", Duration::ZERO, now)), ["1:1"]);
    }

    #[test]
    fn a_batch_is_bounded_in_entries_and_bytes() {
        let now = epoch();
        let many = log_of(BATCH_ENTRIES + 1, 1, now);
        assert_eq!(
            positions(many.next_for("eu", Duration::ZERO, now)).len(),
            BATCH_ENTRIES
        );
        let large = log_of(3, BATCH_BYTES, now);
        assert_eq!(positions(large.next_for("eu", Duration::ZERO, now)), ["1"]);
    }
}
