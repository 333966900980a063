//! Address → leaf in few cache lines: a trie of 16 bits a step, whose first step is an array and whose
//! others are sorted lists.
//!
//! Pure. A query's look-up finds nothing of this in the processor's caches, so what counts is how many
//! places of memory it touches: one for a leaf of at most 16 bits, and for most others a second, since a
//! list stands together with its entries.

/// Bits of an address that one step goes by.
const STEP: u8 = 16;

/// Set in an entry that leads on; the other bits are where its list begins.
const LEADS_ON: u32 = 1 << 31;

/// A leaf: its first address with the highest bit first, its length, its value.
pub(super) type Leaf = (u128, u8, u16);

/// Leaves of one family that cover all of it.
#[derive(Debug)]
pub(super) struct Trie {
    /// An entry for each value of the first 16 bits.
    first: Box<[u32]>,
    /// For each list how many entries it has, less one; where each begins, but for the first, which
    /// begins at 0; and the entries, as two halves.
    lists: Vec<u16>,
    leaves: usize,
}

impl Trie {
    /// Builds from leaves in order. Addresses are left-aligned in 128 bits.
    pub(super) fn new(leaves: &[Leaf]) -> Self {
        let mut trie = Self {
            first: vec![0; 1 << STEP].into(),
            lists: Vec::new(),
            leaves: leaves.len(),
        };
        for group in leaves.chunk_by(|a, b| a.1 > STEP && b.1 > STEP && same(a, b, 0)) {
            let Some(leaf) = group.first() else { continue };
            let from = usize::from(step(leaf.0, 0));
            let width = 1 << STEP.saturating_sub(leaf.1);
            let entry = trie.entry(group, 0);
            if let Some(places) = trie.first.get_mut(from..from + width) {
                places.fill(entry);
            }
        }
        trie
    }

    /// The value of an address, and the length of its leaf.
    pub(super) fn get(&self, address: u128) -> Option<(u16, u8)> {
        let mut entry = self.glance(address)?;
        let mut rest = address;
        while entry & LEADS_ON != 0 {
            rest <<= STEP;
            let list = self.lists.get(usize::try_from(entry ^ LEADS_ON).ok()?..)?;
            let (beyond_first, list) = list.split_first()?;
            let (starts, entries) = list.split_at_checked(usize::from(*beyond_first))?;
            let wanted = step(rest, 0);
            let place = starts.partition_point(|start| *start <= wanted);
            let halves = entries.get(2 * place..)?.first_chunk::<2>()?;
            entry = u32::from(halves[0]) << 16 | u32::from(halves[1]);
        }
        let [_, length, high, low] = entry.to_be_bytes();
        Some((u16::from_be_bytes([high, low]), length))
    }

    /// What [`Trie::get`] reads first.
    pub(super) fn glance(&self, address: u128) -> Option<u32> {
        self.first.get(usize::from(step(address, 0))).copied()
    }

    /// What [`Trie::get`] reads next, if the first step leads on.
    pub(super) fn glance_on(&self, address: u128) -> Option<u16> {
        let entry = self.glance(address)?;
        let at = usize::try_from(entry ^ LEADS_ON).ok()?;
        self.lists.get(at).copied()
    }

    /// How many leaves there are.
    pub(super) fn len(&self) -> usize {
        self.leaves
    }

    /// What stands for leaves that agree in the steps up to `depth`: the one leaf that ends there, or
    /// a list.
    fn entry(&mut self, group: &[Leaf], depth: u8) -> u32 {
        match group {
            [(_, length, value)] if *length <= STEP * (depth + 1) => {
                u32::from(*length) << 16 | u32::from(*value)
            }
            _ => {
                let at = self.list(group, depth + 1);
                // Two gigabytes of lists are more than memory has for this.
                u32::try_from(at).unwrap_or(0) | LEADS_ON
            }
        }
    }

    fn list(&mut self, group: &[Leaf], depth: u8) -> usize {
        let ends = STEP * (depth + 1);
        let parts = group.chunk_by(|a, b| a.1 > ends && b.1 > ends && same(a, b, depth));
        let (mut starts, mut entries) = (Vec::new(), Vec::new());
        for part in parts {
            let Some(leaf) = part.first() else { continue };
            starts.push(step(leaf.0, depth));
            let entry = self.entry(part, depth);
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

/// The 16 bits that a step goes by; the step after the last goes by none.
fn step(address: u128, depth: u8) -> u16 {
    let shift = (128 - u32::from(STEP)).checked_sub(u32::from(STEP) * u32::from(depth));
    let bits = shift.map_or(0, |shift| address >> shift & u128::from(u16::MAX));
    u16::try_from(bits).unwrap_or(0)
}

fn same(a: &Leaf, b: &Leaf, depth: u8) -> bool {
    step(a.0, depth) == step(b.0, depth)
}
