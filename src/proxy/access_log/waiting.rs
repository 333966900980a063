//! Lines that wait to be written, each core's in a buffer of its own: requests of different cores never meet here.
//!
//! The only other who takes a core's lock is the thread that writes. It takes those of all cores, swaps their buffers
//! and lets go, so that what it writes is whatever came before one moment, in the order in which it came.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock;
use crate::per_core::PerCore;

/// Bytes of one core's lines that wait.
const MOST_WAITING: usize = 2 << 20;

/// The lines of all cores.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    cores: PerCore<Mutex<Lines>>,
    is_closed: AtomicBool,
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It waits alone: nobody may know yet that there is something to write.
    First,
    /// It waits with others.
    Another,
    /// The same, and with it half of the room is taken.
    Half,
    /// There is no room, or nothing is written any more.
    Dropped,
}

/// One core's lines, and where each ends.
#[derive(Debug, Default)]
struct Lines {
    text: Vec<u8>,
    ends: Vec<End>,
}

#[derive(Clone, Copy, Debug)]
struct End {
    /// When the line came, on the steady clock.
    at_us: u64,
    end: usize,
}

/// Lines that were taken out to be written. Its buffers are used again.
#[derive(Debug, Default)]
pub(super) struct Batch {
    cores: Vec<Lines>,
    text: Vec<u8>,
    count: usize,
}

impl Waiting {
    /// Appends a line, with its line feed.
    pub(super) fn push(&self, line: &[u8]) -> Pushed {
        let mut lines = locked(self.cores.mine());
        let (before, after) = (lines.text.len(), lines.text.len() + line.len());
        if after > MOST_WAITING || self.is_closed.load(Ordering::SeqCst) {
            return Pushed::Dropped;
        }
        lines.text.extend_from_slice(line);
        let at_us = clock::steady_us();
        lines.ends.push(End { at_us, end: after });
        match before {
            0 => Pushed::First,
            _ if before < MOST_WAITING / 2 && after >= MOST_WAITING / 2 => Pushed::Half,
            _ => Pushed::Another,
        }
    }

    /// Takes no more from now on.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// How many wait.
    pub(super) fn count(&self) -> usize {
        let cores = self.cores.iter();
        cores.map(|core| locked(core).ends.len()).sum()
    }

    /// Takes all that waits in the place of what the batch has.
    pub(super) fn take(&self, batch: &mut Batch) {
        batch.clear();
        let mut cores: Vec<MutexGuard<'_, Lines>> = self.cores.iter().map(locked).collect();
        batch.cores.resize_with(cores.len(), Lines::default);
        for (lines, taken) in cores.iter_mut().zip(&mut batch.cores) {
            std::mem::swap(&mut **lines, taken);
        }
        drop(cores);
        batch.put_in_order();
    }
}

fn locked(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    // Each critical section leaves them whole, even if it were to panic.
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Batch {
    /// The lines, one after the other.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        u64::try_from(self.count).unwrap_or(u64::MAX)
    }

    fn clear(&mut self) {
        for lines in &mut self.cores {
            lines.text.clear();
            lines.ends.clear();
        }
        self.text.clear();
        self.count = 0;
    }

    fn put_in_order(&mut self) {
        let mut all: Vec<(u64, &[u8])> = self.cores.iter().flat_map(Lines::each).collect();
        // The sort is stable and knows runs: a core's lines are in order already.
        all.sort_by_key(|(at_us, _)| *at_us);
        self.count = all.len();
        for (_, line) in all {
            self.text.extend_from_slice(line);
        }
    }
}

impl Lines {
    fn each(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let begins = std::iter::once(0).chain(self.ends.iter().map(|line| line.end));
        let lines = begins.zip(&self.ends);
        lines.map(|(begin, line)| {
            let text = self.text.get(begin..line.end);
            (line.at_us, text.unwrap_or_default())
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::per_core::serve_on;

    fn waiting() -> Waiting {
        Waiting {
            cores: PerCore::of(4),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Appends a line on a thread that serves on this core.
    fn push_on(waiting: &Waiting, core: usize, line: &[u8]) -> Pushed {
        std::thread::scope(|scope| {
            let pushing = scope.spawn(|| {
                serve_on(core);
                waiting.push(line)
            });
            pushing.join().unwrap()
        })
    }

    /// Were there one lock for all, this test would not end.
    #[test]
    fn a_line_waits_for_no_other_core() {
        let waiting = waiting();
        push_on(&waiting, 0, b"one\n");
        let held: Vec<_> = waiting.cores.iter().map(locked).collect();
        assert_eq!(push_on(&waiting, 1, b"two\n"), Pushed::First);
        drop(held);
        assert_eq!(waiting.count(), 2);
    }

    #[test]
    fn a_core_s_room_is_its_own() {
        let waiting = waiting();
        let half = vec![b'x'; MOST_WAITING / 2];
        assert_eq!(push_on(&waiting, 0, b"\n"), Pushed::First);
        assert_eq!(push_on(&waiting, 0, &half), Pushed::Half);
        assert_eq!(push_on(&waiting, 0, &half), Pushed::Dropped);
        assert_eq!(push_on(&waiting, 0, &half[1..]), Pushed::Another);
        assert_eq!(push_on(&waiting, 1, &half), Pushed::First);
        waiting.take(&mut Batch::default());
        assert_eq!(push_on(&waiting, 0, &half), Pushed::First);
    }

    #[test]
    fn what_is_closed_gives_what_it_has_and_takes_no_more() {
        let (waiting, mut batch) = (waiting(), Batch::default());
        waiting.push(b"one\n");
        waiting.close();
        assert_eq!(waiting.push(b"two\n"), Pushed::Dropped);
        waiting.take(&mut batch);
        assert_eq!((batch.text(), batch.count()), (&b"one\n"[..], 1));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn every_line_is_taken_once_and_a_core_s_in_their_order(
            pushes in prop::collection::vec((0_usize..4, any::<bool>()), 1..40),
        ) {
            let (waiting, mut batch, mut all) = (waiting(), Batch::default(), Vec::new());
            let (mut of_core, mut taken) = (vec![Vec::new(); 4], 0);
            for (number, (core, takes)) in pushes.into_iter().enumerate() {
                let line = format!("{core} {number}");
                push_on(&waiting, core, format!("{line}\n").as_bytes());
                of_core[core].push(line);
                if takes {
                    waiting.take(&mut batch);
                    taken += batch.count();
                    all.extend_from_slice(batch.text());
                }
            }
            waiting.take(&mut batch);
            all.extend_from_slice(batch.text());
            let lines: Vec<String> = String::from_utf8(all).unwrap().lines().map(str::to_owned).collect();
            prop_assert_eq!(taken + batch.count(), lines.len() as u64);
            for (core, expected) in of_core.iter().enumerate() {
                let of_this: Vec<&String> = lines.iter().filter(|line| line.starts_with(&core.to_string())).collect();
                prop_assert!(of_this.into_iter().eq(expected));
            }
        }
    }

    #[test]
    fn lines_of_several_cores_are_in_the_order_in_which_they_came() {
        let line = |at_us, end| End { at_us, end };
        let mut batch = Batch {
            cores: vec![
                Lines {
                    text: b"one\nfour\n".to_vec(),
                    ends: vec![line(1, 4), line(4, 9)],
                },
                Lines {
                    text: b"two\nthree\n".to_vec(),
                    ends: vec![line(2, 4), line(3, 10)],
                },
            ],
            ..Batch::default()
        };
        batch.put_in_order();
        assert_eq!(batch.text(), b"one\ntwo\nthree\nfour\n");
    }
}
