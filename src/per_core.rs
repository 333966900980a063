//! What every core writes to in memory of its own, and whoever reads puts together.
//!
//! A thread that serves says which core's it is, others are given one in turn. Threads of one core share what they
//! write to and lose nothing by it, since all is atomic. Nothing here takes a lock to add to a count.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};

/// Cores beyond so many share: what is kept for each costs memory.
const MOST_CORES: usize = 256;

thread_local! {
    static CORE: Cell<Option<usize>> = const { Cell::new(None) };
    /// The column of that core: found once, because finding it takes as long as counting.
    static COLUMN: Cell<Option<&'static Column>> = const { Cell::new(None) };
}

/// From now on this thread writes to what is this core's.
pub fn serve_on(core: usize) {
    CORE.set(Some(core));
    COLUMN.set(None);
}

fn core() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    CORE.get().unwrap_or_else(|| {
        let core = NEXT.fetch_add(1, Ordering::Relaxed);
        CORE.set(Some(core));
        core
    })
}

/// For how many cores there is something of its own.
fn cores() -> usize {
    static CORES: LazyLock<usize> = LazyLock::new(|| {
        let cores = std::thread::available_parallelism();
        cores.map_or(1, NonZeroUsize::get).min(MOST_CORES)
    });
    *CORES
}

/// A `T` for each core, made when the core first asks for it.
#[derive(Debug)]
pub struct PerCore<T> {
    first: OnceLock<Box<T>>,
    others: Box<[OnceLock<Box<T>>]>,
}

impl<T> Default for PerCore<T> {
    fn default() -> Self {
        Self::of(cores())
    }
}

impl<T> PerCore<T> {
    /// For so many cores; those beyond share.
    pub(crate) fn of(cores: usize) -> Self {
        Self {
            first: OnceLock::new(),
            others: (1..cores).map(|_| OnceLock::new()).collect(),
        }
    }

    /// For how many cores there is one.
    fn count(&self) -> usize {
        self.others.len() + 1
    }

    /// Those that have been made.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let all = std::iter::once(&self.first).chain(&self.others);
        all.filter_map(OnceLock::get).map(|made| &**made)
    }
}

impl<T: Default> PerCore<T> {
    /// This core's.
    pub fn mine(&self) -> &T {
        let core = match core() {
            core if core < self.count() => core,
            core => core % self.count(),
        };
        let other = core.checked_sub(1).and_then(|at| self.others.get(at));
        other.unwrap_or(&self.first).get_or_init(Box::default)
    }
}

/// Counts in the first block of a column; each further block has twice as many.
const FIRST_BLOCK: usize = 256;

/// Blocks of a column: room for 4 thousand million counts.
const BLOCKS: usize = 24;

/// Counts of one core; a cache line is nobody else's.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line([AtomicU64; 8]);

/// One core's part of every count, in blocks that are made when something of them is first counted.
#[derive(Debug)]
struct Column([OnceLock<Box<[Line]>>; BLOCKS]);

impl Default for Column {
    fn default() -> Self {
        Self([const { OnceLock::new() }; BLOCKS])
    }
}

/// All counts of the process.
#[derive(Debug, Default)]
struct Board {
    columns: PerCore<Column>,
    places: Mutex<Places>,
}

/// Which places are nobody's.
#[derive(Debug, Default)]
struct Places {
    given: usize,
    returned: Vec<Place>,
}

static BOARD: LazyLock<Board> = LazyLock::new(Board::default);

fn my_column() -> &'static Column {
    COLUMN.get().unwrap_or_else(|| {
        let column = BOARD.columns.mine();
        COLUMN.set(Some(column));
        column
    })
}

/// Where a count stands in every column.
#[derive(Clone, Copy, Debug)]
struct Place {
    block: usize,
    line: usize,
    at: usize,
}

impl Place {
    fn numbered(number: usize) -> Self {
        // Blocks before this one hold FIRST_BLOCK × (2^block − 1).
        let block = (number / FIRST_BLOCK + 1).ilog2();
        let before = FIRST_BLOCK * ((1 << block) - 1);
        let rest = number - before;
        Self {
            block: usize::try_from(block).unwrap_or(BLOCKS),
            line: rest / 8,
            at: rest % 8,
        }
    }

    /// What a core has counted here; none: nothing yet.
    fn seen(self, column: &Column) -> Option<&AtomicU64> {
        column
            .0
            .get(self.block)?
            .get()?
            .get(self.line)?
            .0
            .get(self.at)
    }

    fn cell(self, column: &Column) -> Option<&AtomicU64> {
        let lines = || (0..FIRST_BLOCK << self.block >> 3).map(|_| Line::default());
        let block = column.0.get(self.block)?.get_or_init(|| lines().collect());
        block.get(self.line)?.0.get(self.at)
    }
}

impl Board {
    fn places(&self) -> MutexGuard<'_, Places> {
        // Each critical section leaves it whole, even if it were to panic.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Place {
        let mut places = self.places();
        let returned = places.returned.pop();
        returned.unwrap_or_else(|| {
            let number = places.given;
            places.given += 1;
            Place::numbered(number)
        })
    }
}

/// A number that threads add to and whoever reads sums up; it wraps around. Eight bytes a core.
#[derive(Debug)]
pub struct Count(Place);

impl Default for Count {
    fn default() -> Self {
        Self(BOARD.take())
    }
}

impl Count {
    /// Adds to this core's part.
    pub fn add(&self, number: u64) {
        if let Some(cell) = self.0.cell(my_column()) {
            cell.fetch_add(number, Ordering::Relaxed);
        }
    }

    /// What all cores have added.
    pub fn total(&self) -> u64 {
        let load = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        let parts = self.cells().map(load);
        parts.fold(0, u64::wrapping_add)
    }

    fn cells(&self) -> impl Iterator<Item = &AtomicU64> {
        let columns = BOARD.columns.iter();
        columns.filter_map(|column| self.0.seen(column))
    }
}

impl Drop for Count {
    /// Nobody adds any more: the next who is given the place begins at 0.
    fn drop(&mut self) {
        for cell in self.cells() {
            cell.store(0, Ordering::Relaxed);
        }
        BOARD.places().returned.push(self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// Runs on a thread of its own that serves on this core.
    fn on<R: Send>(core: usize, work: impl FnOnce() -> R + Send) -> R {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                serve_on(core);
                work()
            });
            thread.join().unwrap()
        })
    }

    #[test]
    fn every_core_has_its_own_and_threads_of_one_core_share_it() {
        let parts = PerCore::<AtomicU64>::of(4);
        let place = |core| on(core, || std::ptr::from_ref(parts.mine()).addr());
        let places: HashSet<usize> = (0..4).map(place).collect();
        assert_eq!(places.len(), 4);
        assert_eq!(parts.iter().count(), 4);
        assert_eq!(place(5), place(1), "a core too many shares");
    }

    #[test]
    fn what_cores_count_is_a_cache_line_apart() {
        let (columns, place) = (PerCore::<Column>::of(4), Place::numbered(3));
        let mut lines: Vec<usize> = (0..4)
            .map(|core| {
                let cell = |column| std::ptr::from_ref(place.cell(column).unwrap()).addr();
                on(core, || cell(columns.mine()) / 64)
            })
            .collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), 4, "no line has counts of two cores");
    }

    #[test]
    fn nothing_is_lost_whoever_counts_at_once() {
        let count = Count::default();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let count = &count;
                scope.spawn(move || {
                    serve_on(thread % 3);
                    (0..10_000).for_each(|_| count.add(1));
                });
            }
        });
        assert_eq!(count.total(), 80_000);
    }

    #[test]
    fn counting_waits_for_nobody_who_makes_or_returns_counts() {
        let (count, other) = (Count::default(), Count::default());
        let held = BOARD.places();
        let total = on(0, || {
            count.add(2);
            count.total()
        });
        assert_eq!(total, 2);
        drop(held);
        drop(other);
    }

    #[test]
    fn whoever_is_given_a_place_begins_at_nothing() {
        // Tests that run beside this one take places too.
        for _ in 0..1_000 {
            let count = Count::default();
            assert_eq!(count.total(), 0);
            count.add(7);
        }
    }

    proptest! {
        #[test]
        fn no_two_numbers_have_one_place(number in 0_usize..1_000_000) {
            let place = |number| {
                let Place { block, line, at } = Place::numbered(number);
                (block, line, at)
            };
            let (here, next) = (place(number), place(number + 1));
            prop_assert!(here < next);
            prop_assert!(here.0 < BLOCKS && here.1 < (FIRST_BLOCK << here.0) / 8 && here.2 < 8);
        }
    }
}
