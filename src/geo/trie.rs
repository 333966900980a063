//! Address → leaf in few cache lines: a trie whose first step of 16 bits is an array, whose next are tables of 8 bits
//! where there are many leaves, and whose others are sorted lists of 16 bits.
//!
//! Pure. A query's look-up finds nothing of this in the processor's caches, so what counts is how many
//! places of memory it touches: one for a leaf of at most 16 bits, for most others a second: an entry of a table,
//! or a list, which stands together with its entries.

use std::hint::black_box;

/// Bits of an address that the first step and that of a list go by.
const STEP: u8 = 16;

/// Bits that the step of a table goes by.
const TABLE_STEP: u8 = 8;

/// Entries of a table.
const TABLE: usize = 1 << TABLE_STEP;

/// Leaves that a list holds, rather than a table: they stand in one or two cache lines.
const FEW: usize = 16;

/// Below this many bits all is lists, so that leaves of almost the same address cost no chain of tables.
const LAST_TABLE: u8 = 32;

/// Set in an entry that leads on to a list; the other bits are where it begins.
const TO_LIST: u32 = 1 << 31;

/// Set in an entry that leads on to a table; the lower bits are its number.
const TO_TABLE: u32 = 1 << 30;

/// A place on the way to a leaf.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// The leaf, or what leads on.
    entry: u32,
    /// What is left of the address.
    rest: u128,
}

/// A leaf: its first address with the highest bit first, its length, its value.
pub(super) type Leaf = (u128, u8, u16);

/// Leaves of one family that cover all of it.
#[derive(Debug)]
pub(super) struct Trie {
    /// An entry for each value of the first 16 bits.
    first: Box<[u32]>,
    tables: Vec<[u32; TABLE]>,
    /// For each list how many entries it has, less one; where each begins, but for the first, which
    /// begins at 0; and the entries, as two halves.
    lists: Vec<u16>,
    leaves: usize,
}

impl Trie {
    /// Takes the first step towards the leaf of an address.
    #[inline]
    pub(super) fn begin(&self, address: u128) -> Step {
        // The array has an entry for each value of its bits.
        let entry = self.first.get(top(address, STEP)).copied();
        Step {
            entry: entry.unwrap_or(0),
            rest: address << STEP,
        }
    }

    /// Takes the next step if it is one into a table, and touches a list if it leads to one.
    #[inline]
    pub(super) fn go_on(&self, step: &mut Step) {
        if step.entry & TO_LIST != 0 {
            let at = usize::try_from(step.entry ^ TO_LIST).ok();
            black_box(at.and_then(|at| self.lists.get(at)));
        } else if step.entry & TO_TABLE != 0
            && let Some(table) = self.table(step.entry)
            && let Some(entry) = table.get(top(step.rest, TABLE_STEP))
        {
            *step = Step {
                entry: *entry,
                rest: step.rest << TABLE_STEP,
            };
        }
    }

    /// Takes the steps that are left: the value of the address, and the length of its leaf.
    #[inline]
    pub(super) fn end(&self, step: Step) -> Option<(u16, u8)> {
        let Step {
            mut entry,
            mut rest,
        } = step;
        while entry & (TO_LIST | TO_TABLE) != 0 {
            if entry & TO_LIST == 0 {
                entry = *self.table(entry)?.get(top(rest, TABLE_STEP))?;
                rest <<= TABLE_STEP;
            } else {
                entry = self.search(entry, rest)?;
                rest <<= STEP;
            }
        }
        let [_, length, high, low] = entry.to_be_bytes();
        Some((u16::from_be_bytes([high, low]), length))
    }

    /// The entry of a list that holds the address whose bits are left.
    fn search(&self, entry: u32, rest: u128) -> Option<u32> {
        let list = self.lists.get(usize::try_from(entry ^ TO_LIST).ok()?..)?;
        let (beyond_first, list) = list.split_first()?;
        let (starts, entries) = list.split_at_checked(usize::from(*beyond_first))?;
        let wanted = top(rest, STEP);
        let place = starts.partition_point(|start| usize::from(*start) <= wanted);
        let halves = entries.get(2 * place..)?.first_chunk::<2>()?;
        Some(u32::from(halves[0]) << 16 | u32::from(halves[1]))
    }

    fn table(&self, entry: u32) -> Option<&[u32; TABLE]> {
        self.tables.get(usize::try_from(entry ^ TO_TABLE).ok()?)
    }

    /// How many leaves there are.
    pub(super) fn len(&self) -> usize {
        self.leaves
    }

    /// Sets the entries for each value of so many bits behind as many that all of the leaves have in common.
    fn fill(&mut self, entries: &mut [u32], leaves: &[Leaf], (known, bits): (u8, u8)) {
        let ends = known + bits;
        for part in parts(leaves, known, bits) {
            let Some(leaf) = part.first() else { continue };
            let from = top(behind(leaf.0, known), bits);
            let width = 1 << ends.saturating_sub(leaf.1);
            let entry = self.entry(part, ends);
            if let Some(places) = entries.get_mut(from..from + width) {
                places.fill(entry);
            }
        }
    }

    /// What stands for leaves that have so many bits in common: the one leaf that ends there, a table or a list.
    fn entry(&mut self, leaves: &[Leaf], known: u8) -> u32 {
        match leaves {
            [(_, length, value)] if *length <= known => {
                u32::from(*length) << 16 | u32::from(*value)
            }
            // Two gigabytes of lists, and a terabyte of tables, are more than memory has for this.
            _ if known < LAST_TABLE && leaves.len() > FEW => {
                let mut table = [0; TABLE];
                self.fill(&mut table, leaves, (known, TABLE_STEP));
                self.tables.push(table);
                u32::try_from(self.tables.len() - 1).unwrap_or(0) | TO_TABLE
            }
            _ => {
                let at = self.list(leaves, known);
                u32::try_from(at).unwrap_or(0) | TO_LIST
            }
        }
    }

    fn list(&mut self, leaves: &[Leaf], known: u8) -> usize {
        let (mut starts, mut entries) = (Vec::new(), Vec::new());
        for part in parts(leaves, known, STEP) {
            let Some(leaf) = part.first() else { continue };
            let start = top(behind(leaf.0, known), STEP);
            starts.push(u16::try_from(start).unwrap_or(u16::MAX));
            let entry = self.entry(part, known.saturating_add(STEP));
            let [a, b, c, d] = entry.to_be_bytes();
            entries.extend([u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]);
        }
        let at = self.lists.len();
        let beyond_first = starts.len().saturating_sub(1);
        self.lists
            .push(u16::try_from(beyond_first).unwrap_or(u16::MAX));
        self.lists.extend(starts.into_iter().skip(1));
        self.lists.append(&mut entries);
        at
    }
}

/// A trie while its leaves come, in order; their addresses are left-aligned in 128 bits.
pub(super) struct Builder {
    trie: Trie,
    first: Vec<u32>,
    /// The leaves of one entry of the first step: so many are held, and no more.
    part: Vec<Leaf>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            trie: Trie {
                first: Box::default(),
                tables: Vec::new(),
                lists: Vec::new(),
                leaves: 0,
            },
            first: vec![0; 1 << STEP],
            part: Vec::new(),
        }
    }

    /// Takes the next leaf.
    pub(super) fn add(&mut self, leaf: Leaf) {
        let part = self.part.first().map(|first| top(first.0, STEP));
        if part.is_some_and(|part| part != top(leaf.0, STEP)) {
            self.close();
        }
        self.part.push(leaf);
        self.trie.leaves += 1;
    }

    fn close(&mut self) {
        self.trie.fill(&mut self.first, &self.part, (0, STEP));
        self.part.clear();
    }

    /// The trie of all that came.
    pub(super) fn build(mut self) -> Trie {
        self.close();
        self.trie.tables.shrink_to_fit();
        self.trie.lists.shrink_to_fit();
        self.trie.first = self.first.into();
        self.trie
    }
}

/// The leaves that one entry stands for, of those that have so many bits in common.
fn parts(leaves: &[Leaf], known: u8, bits: u8) -> impl Iterator<Item = &[Leaf]> {
    let ends = known.saturating_add(bits);
    let value = move |leaf: &Leaf| top(behind(leaf.0, known), bits);
    leaves.chunk_by(move |a, b| a.1 > ends && b.1 > ends && value(a) == value(b))
}

/// What is left of an address behind its first bits.
fn behind(address: u128, bits: u8) -> u128 {
    address.checked_shl(bits.into()).unwrap_or(0)
}

/// The value of the first bits, of which there are at most 16.
fn top(address: u128, bits: u8) -> usize {
    usize::try_from(address >> (128 - u32::from(bits))).unwrap_or(0)
}
