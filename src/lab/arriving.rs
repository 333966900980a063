//! Peers' whole states, gathered from their parts before any of it is merged. Pure.
//!
//! A part that was merged alone would be data that no vector tells of: if its sender lost it then, nobody would
//! know that the others lack it.

use std::collections::BTreeMap;

use super::delta::Change;
use super::link::Part;
use super::name::Name;
use super::vector::Applied;

/// Bytes of one peer's parts; its store takes no writes from 96 MiB on, and gets some beyond that from others.
const BYTES_MAX: usize = 256 << 20;

/// What of each peer's state has come so far.
#[derive(Debug, Default)]
pub(super) struct Arriving(BTreeMap<Name, Gathered>);

#[derive(Debug, Default)]
struct Gathered {
    /// To which incarnation it was sent.
    incarnation: u64,
    /// The number of the part that is to come next.
    next: u64,
    states: Vec<Change>,
    bytes: usize,
}

impl Arriving {
    /// Adds a part. The whole state with its last part; none: something is lacking still, or was missed.
    pub(super) fn gather(&mut self, part: Part) -> Option<(Vec<Change>, Applied)> {
        let gathered = self.0.entry(part.from.clone()).or_default();
        if part.number == 0 {
            *gathered = Gathered {
                incarnation: part.incarnation,
                ..Gathered::default()
            };
        }
        let bytes: usize = part.states.iter().map(Change::bytes).sum();
        gathered.bytes = gathered.bytes.saturating_add(bytes);
        let follows = (gathered.next, gathered.incarnation) == (part.number, part.incarnation);
        if !follows || gathered.bytes > BYTES_MAX {
            self.0.remove(&part.from);
            return None;
        }
        gathered.next += 1;
        gathered.states.extend(part.states);
        let applied = part.applied?;
        let gathered = self.0.remove(&part.from)?;
        Some((gathered.states, applied))
    }
}

#[cfg(test)]
mod tests {
    use super::super::delta::Delta;
    use super::super::orset::OrSet;
    use super::*;

    fn part(number: u64, incarnation: u64, is_last: bool, bytes: usize) -> Part {
        let states = vec![Change {
            key: "x".repeat(bytes).into(),
            delta: Delta::Set(OrSet::default()),
        }];
        let from: Name = "us".parse().unwrap();
        Part {
            number,
            incarnation,
            states,
            applied: is_last.then(|| Applied::of(from.clone())),
            from,
        }
    }

    /// Parts by number, incarnation and whether they are the last; how many states the whole has.
    #[track_caller]
    fn check(parts: &[(u64, u64, bool)], whole: Option<usize>) {
        let mut arriving = Arriving::default();
        let mut last = None;
        for (number, incarnation, is_last) in parts {
            last = arriving.gather(part(*number, *incarnation, *is_last, 1));
        }
        assert_eq!(last.map(|(states, _)| states.len()), whole);
    }

    #[test]
    fn a_state_is_there_with_its_last_part_and_only_if_none_was_missed() {
        check(&[(0, 0, true)], Some(1));
        check(&[(0, 0, false), (1, 0, false)], None);
        check(&[(0, 0, false), (1, 0, false), (2, 0, true)], Some(3));
        check(&[(0, 0, false), (2, 0, true)], None);
        check(&[(1, 0, true)], None);
        check(&[(0, 0, false), (1, 1, true)], None);
        check(&[(0, 0, false), (2, 0, false), (1, 0, true)], None);
    }

    #[test]
    fn a_state_that_begins_anew_is_not_mixed_with_what_came_before() {
        check(&[(0, 0, false), (0, 1, false), (1, 1, true)], Some(2));
    }

    #[test]
    fn a_state_over_its_bound_is_forgotten() {
        let whole = |bytes| {
            let mut arriving = Arriving::default();
            arriving.gather(part(0, 0, false, 0));
            let room = BYTES_MAX - 2 * part(0, 0, true, 0).states[0].bytes();
            arriving.gather(part(1, 0, true, room + bytes)).is_some()
        };
        assert!(whole(0));
        assert!(!whole(1));
    }
}
