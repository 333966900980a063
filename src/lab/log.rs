//! One region's log of its own writes, and how far every peer has taken it. Pure.
//!
//! Sequence numbers begin at 1 and have no gaps. What every peer has acknowledged is forgotten, so
//! the log holds only what replication still needs; its length goes on counting.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::name::Name;

/// How many entries travel to a peer at once.
const BATCH_ENTRIES: usize = 64;
/// Bytes of keys and values after which a batch takes no further entry. JSON writes one byte as at
/// most six, so a batch stays below 8 MiB on the wire.
const BATCH_BYTES: usize = 1024 * 1024;
/// What an entry costs besides its key and value, roughly: numbers, pointers, the queue's slot.
const ENTRY_BYTES: usize = 64;

/// One write, as it travels between regions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) seq: u64,
    /// The writer's Lamport clock at the write.
    pub(super) lamport: u64,
    pub(super) key: Arc<str>,
    /// `None` deletes the key.
    pub(super) value: Option<Arc<str>>,
}

impl Entry {
    pub(super) fn to_json(&self) -> Value {
        json!({ "seq": self.seq, "lamport": self.lamport, "key": &*self.key, "value": self.value.as_deref() })
    }

    pub(super) fn from_json(entry: &Value) -> Option<Self> {
        let value = entry.get("value")?;
        let value = if value.is_null() {
            None
        } else {
            Some(value.as_str()?.into())
        };
        Some(Self {
            seq: entry.get("seq")?.as_u64()?,
            lamport: entry.get("lamport")?.as_u64()?,
            key: entry.get("key")?.as_str()?.into(),
            value,
        })
    }

    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.key.len() + self.value.as_ref().map_or(0, |value| value.len())
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
}

/// A region's own writes that some peer may still lack.
#[derive(Clone, Debug)]
pub(super) struct Log {
    entries: VecDeque<Logged>,
    /// The last entry that was forgotten.
    forgotten: u64,
    bytes: usize,
    /// The last entry that each peer is known to have applied.
    acknowledged: BTreeMap<Name, u64>,
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
            bytes: 0,
            acknowledged: peers.into_iter().map(|peer| (peer, 0)).collect(),
        }
    }

    /// The sequence number of the last write; 0 when there was none.
    pub(super) fn length(&self) -> u64 {
        self.entries
            .back()
            .map_or(self.forgotten, |last| last.entry.seq)
    }

    /// What is held for peers that have not acknowledged it.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends a write and returns its sequence number.
    pub(super) fn append(
        &mut self,
        key: Arc<str>,
        value: Option<Arc<str>>,
        lamport: u64,
        now: Instant,
    ) -> u64 {
        let seq = self.length() + 1;
        let entry = Entry {
            seq,
            lamport,
            key,
            value,
        };
        self.bytes += entry.bytes();
        self.entries.push_back(Logged {
            entry,
            committed_at: now,
        });
        self.forget();
        seq
    }

    /// What `peer` lacks, none of it earlier than `lag` after its commit.
    pub(super) fn next_for(&self, peer: &str, lag: Duration, now: Instant) -> Next {
        let acknowledged = self.acknowledged.get(peer).copied().unwrap_or(0);
        let known =
            usize::try_from(acknowledged.saturating_sub(self.forgotten)).unwrap_or(usize::MAX);
        let mut lacking = self.entries.iter().skip(known).peekable();
        match lacking.peek() {
            None => Next::Nothing,
            Some(first) if first.committed_at + lag > now => Next::At(first.committed_at + lag),
            Some(_) => Next::Batch(batch(
                lacking.take_while(|logged| logged.committed_at + lag <= now),
            )),
        }
    }

    /// Takes the peer's word for what it has applied of this log.
    pub(super) fn acknowledge(&mut self, peer: &str, seq: u64) {
        let length = self.length();
        if let Some(known) = self.acknowledged.get_mut(peer) {
            *known = seq.min(length).max(*known);
        }
        self.forget();
    }

    fn forget(&mut self) {
        let length = self.length();
        let everywhere = self.acknowledged.values().min().copied().unwrap_or(length);
        while self.forgotten < everywhere
            && let Some(oldest) = self.entries.pop_front()
        {
            self.forgotten = oldest.entry.seq;
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
    use super::*;

    const LAG: Duration = Duration::from_millis(200);

    fn epoch() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn log_of(writes: usize, size: usize, now: Instant) -> Log {
        let mut log = Log::new(["eu", "ap"].map(|peer| peer.parse().unwrap()));
        for _ in 0..writes {
            log.append("key".into(), Some("x".repeat(size).into()), 1, now);
        }
        log
    }

    fn seqs(next: Next) -> Vec<u64> {
        match next {
            Next::Batch(entries) => entries.into_iter().map(|entry| entry.seq).collect(),
            Next::Nothing | Next::At(_) => Vec::new(),
        }
    }

    #[test]
    fn an_entry_leaves_at_its_lag_and_not_before() {
        let now = epoch();
        let log = log_of(1, 1, now);
        let before = now + LAG - Duration::from_nanos(1);
        assert_eq!(log.next_for("eu", LAG, before), Next::At(now + LAG));
        assert_eq!(seqs(log.next_for("eu", LAG, now + LAG)), [1]);
    }

    #[test]
    fn entries_that_are_not_due_wait_behind_those_that_are() {
        let now = epoch();
        let mut log = log_of(2, 1, now);
        log.append("late".into(), None, 2, now + LAG);
        assert_eq!(seqs(log.next_for("eu", LAG, now + LAG)), [1, 2]);
    }

    #[test]
    fn a_peer_is_sent_what_it_has_not_acknowledged() {
        let now = epoch();
        let mut log = log_of(3, 1, now);
        log.acknowledge("eu", 2);
        assert_eq!(seqs(log.next_for("eu", Duration::ZERO, now)), [3]);
        assert_eq!(seqs(log.next_for("ap", Duration::ZERO, now)), [1, 2, 3]);
        log.acknowledge("eu", 3);
        assert_eq!(log.next_for("eu", Duration::ZERO, now), Next::Nothing);
    }

    #[test]
    fn what_everybody_has_is_forgotten_and_the_count_goes_on() {
        let now = epoch();
        let mut log = log_of(3, 1, now);
        log.acknowledge("eu", 3);
        log.acknowledge("ap", 2);
        assert_eq!(log.entries.len(), 1);
        assert_eq!(seqs(log.next_for("ap", Duration::ZERO, now)), [3]);
        log.acknowledge("ap", 3);
        assert_eq!((log.bytes(), log.length()), (0, 3));
        assert_eq!(log.append("key".into(), None, 4, now), 4);
    }

    #[test]
    fn a_log_that_nobody_takes_keeps_nothing() {
        let mut log = Log::new([]);
        assert_eq!(log.append("key".into(), None, 1, epoch()), 1);
        assert_eq!((log.bytes(), log.length()), (0, 1));
    }

    #[test]
    fn an_acknowledgement_from_beyond_the_end_counts_as_the_end() {
        let now = epoch();
        let mut log = log_of(1, 1, now);
        log.acknowledge("eu", u64::MAX);
        log.append("key".into(), None, 2, now);
        assert_eq!(seqs(log.next_for("eu", Duration::ZERO, now)), [2]);
    }

    #[test]
    fn a_batch_is_bounded_in_entries_and_bytes() {
        let now = epoch();
        let many = log_of(BATCH_ENTRIES + 1, 1, now);
        assert_eq!(
            seqs(many.next_for("eu", Duration::ZERO, now)).len(),
            BATCH_ENTRIES
        );
        let large = log_of(3, BATCH_BYTES, now);
        assert_eq!(seqs(large.next_for("eu", Duration::ZERO, now)), [1]);
    }
}
