//! Address → value and the widest prefix around the address in which everybody has that value.
//!
//! Pure. Built from ranges by cutting them into aligned prefixes and joining siblings that hold
//! the same value, so that leaves are disjoint, cover each family, and cannot be widened. Ranges are cut as they come and
//! leaves are kept as soon as nothing can be joined to them: lists of either would be larger than the map. A leaf's
//! length is thus a true ECS scope (RFC 7871 §7.2.1) and scopes never overlap: IPv6 is cut as if all of
//! IPv4 stood in it, where IPv4-mapped addresses are.

use std::marker::PhantomData;
use std::net::IpAddr;

use super::ranges::{Address, Family, zip};
use super::trie::{Builder, Step, Trie};
use crate::ids::Id;

/// ::ffff:0:0/96, whose addresses are those of IPv4 (RFC 4291 §2.5.5.2): the first, and the first behind.
const MAPPED: u128 = 0xffff << 32;
const BEHIND_MAPPED: u128 = 0x1_0000 << 32;

/// The length of ::ffff:0:0/96.
const MAPPED_BITS: u8 = 96;

/// Both families.
#[derive(Debug)]
pub(super) struct PrefixMap<V> {
    v4: V4Map<V>,
    v6: Leaves,
}

/// All of IPv4.
#[derive(Debug)]
pub(super) struct V4Map<V> {
    leaves: Leaves,
    /// The value of all of it, if it is one leaf: then mapped addresses are found in IPv6, and their leaf may be
    /// wider than all of them.
    all: Option<V>,
}

/// One family.
#[derive(Debug)]
struct Leaves {
    trie: Trie,
    /// By value, the share of the family's addresses.
    shares: Vec<f64>,
}

/// An address that is looked up, in steps that wait for memory one by one.
#[derive(Clone, Copy, Debug)]
pub struct Seek<'m, V> {
    trie: &'m Trie,
    step: Step,
    /// What stands before the address in that of its family.
    mapped_bits: u8,
    value: PhantomData<fn(V)>,
}

impl<V: Id> Seek<'_, V> {
    /// Takes one step more towards the value, for a batch of addresses to wait for memory together.
    #[inline]
    pub fn go_on(&mut self) {
        self.trie.go_on(&mut self.step);
    }

    /// The value, and the length of the widest prefix around the address in which all have it.
    #[inline]
    pub fn find(&self) -> Option<(V, u8)> {
        let (value, length) = self.trie.end(self.step)?;
        Some((V::at(value.into()), self.mapped_bits + length))
    }
}

impl<V: Id + PartialEq> PrefixMap<V> {
    /// Builds from all of IPv4 and the ranges of IPv6.
    pub(super) fn new(v4: V4Map<V>, v6: impl Iterator<Item = (u128, V)>) -> Self {
        let v6 = with_mapped(v6, v4.all);
        Self {
            v6: Leaves::new(v6, |value| value.unwrap_or(V::at(0))),
            v4,
        }
    }

    /// The value of an address and the length of its leaf, in bits of the address's own family. An
    /// IPv4-mapped address has the value of the IPv4 address.
    pub(super) fn get(&self, address: IpAddr) -> Option<(V, u8)> {
        self.seek(address).find()
    }

    /// The address, on the way to its value.
    #[inline]
    pub(super) fn seek(&self, address: IpAddr) -> Seek<'_, V> {
        let (trie, address, mapped_bits) = match address {
            IpAddr::V4(v4) => (&self.v4.leaves.trie, aligned(v4.to_bits()), 0),
            IpAddr::V6(v6) => match v6.to_ipv4_mapped().filter(|_| self.v4.all.is_none()) {
                Some(v4) => (&self.v4.leaves.trie, aligned(v4.to_bits()), MAPPED_BITS),
                None => (&self.v6.trie, aligned(v6.to_bits()), 0),
            },
        };
        Seek {
            trie,
            step: trie.begin(address),
            mapped_bits,
            value: PhantomData,
        }
    }

    /// The shares of all IPv4 and of all IPv6 addresses that have a value.
    pub(super) fn share(&self, value: V) -> [f64; 2] {
        let of = |family: &Leaves| family.shares.get(value.index()).copied().unwrap_or(0.0);
        [of(&self.v4.leaves), of(&self.v6)]
    }

    /// How many leaves there are.
    pub(super) fn len(&self) -> usize {
        self.v4.leaves.trie.len() + self.v6.trie.len()
    }
}

impl<V: Id + PartialEq> V4Map<V> {
    /// Builds from the ranges of IPv4.
    pub(super) fn new(ranges: impl Iterator<Item = (u32, V)>) -> Self {
        let leaves = Leaves::new(ranges, |value| value);
        let is_one = leaves.trie.len() == 1;
        let first = leaves.trie.end(leaves.trie.begin(0));
        let all = first.filter(|_| is_one);
        Self {
            all: all.map(|(value, _)| V::at(value.into())),
            leaves,
        }
    }
}

impl Leaves {
    fn new<A: Address, T: Copy + PartialEq, V: Id>(
        ranges: impl Iterator<Item = (A, T)>,
        value: impl Fn(T) -> V,
    ) -> Self {
        let (mut trie, mut shares) = (Builder::new(), Vec::new());
        join(ranges, |(start, length, held)| {
            let value = u16::try_from(value(held).index()).unwrap_or(0);
            add_share(&mut shares, value.into(), length);
            trie.add((aligned(start), length, value));
        });
        Self {
            trie: trie.build(),
            shares,
        }
    }
}

/// IPv6 with all of IPv4 in it where that is one value, and else with a place in it that is like no other, so that
/// no leaf covers clients who are answered as IPv4.
fn with_mapped<V: Id + PartialEq>(
    v6: impl Iterator<Item = (u128, V)>,
    all_of_v4: Option<V>,
) -> impl Iterator<Item = (u128, Option<V>)> {
    let mut is_mapped = Family::uniform(false);
    is_mapped.push(MAPPED, true);
    is_mapped.push(BEHIND_MAPPED, false);
    zip(v6, is_mapped.0.into_iter()).map(move |(start, (value, is_mapped))| {
        let value = if is_mapped { all_of_v4 } else { Some(value) };
        (start, value)
    })
}

/// Adds a leaf of so many bits to what its value has of all addresses.
fn add_share(shares: &mut Vec<f64>, value: usize, length: u8) {
    if shares.len() <= value {
        shares.resize(value + 1, 0.0);
    }
    if let Some(share) = shares.get_mut(value) {
        *share += 0.5_f64.powi(i32::from(length));
    }
}

/// The address with its first bit as the highest of 128.
fn aligned<A: Address>(address: A) -> u128 {
    address.wide() << (128 - u32::from(A::BITS))
}

/// A leaf while it is built: its first address, its length, its value.
type Leaf<A, V> = (A, u8, V);

/// Cuts ranges into aligned prefixes, joins each with its sibling while both hold one value, and gives them out in order.
fn join<A: Address, V: Copy + PartialEq>(
    ranges: impl Iterator<Item = (A, V)>,
    mut out: impl FnMut(Leaf<A, V>),
) {
    let mut open = Vec::new();
    let mut ranges = ranges.peekable();
    while let Some((start, value)) = ranges.next() {
        while ranges.next_if(|(_, next)| *next == value).is_some() {}
        let next = ranges.peek().map(|(start, _)| start.wide());
        cut(start, next, |start, length| {
            push(&mut open, (start, length, value), &mut out);
        });
    }
    open.into_iter().for_each(out);
}

/// Cuts a range that reaches to the next one, or to the family's end, into aligned prefixes.
fn cut<A: Address>(start: A, next: Option<u128>, mut out: impl FnMut(A, u8)) {
    let mut at = start.wide();
    loop {
        let length = widest::<A>(at, next);
        out(A::from_wide(at), length);
        let size = A::BITS - length;
        let Some(after) = 1_u128
            .checked_shl(size.into())
            .and_then(|size| at.checked_add(size))
        else {
            return; // The whole of IPv6, or its end.
        };
        at = after;
        if next.map_or_else(
            || u32::from(A::BITS) < 128 && at >> A::BITS != 0,
            |next| at >= next,
        ) {
            return;
        }
    }
}

/// The length of the widest aligned prefix that starts at `at` and ends before `next`.
fn widest<A: Address>(at: u128, next: Option<u128>) -> u8 {
    let alignment = if at == 0 {
        u32::from(A::BITS)
    } else {
        at.trailing_zeros()
    };
    let room = match next {
        Some(next) => (next - at).ilog2(),
        // To the end of the family: as far as alignment goes.
        None => u32::from(A::BITS),
    };
    let size = alignment.min(room).min(A::BITS.into());
    A::BITS - u8::try_from(size).unwrap_or(0)
}

/// Joins a leaf with those before it, and gives out those to which nothing more can be joined.
fn push<A: Address, V: Copy + PartialEq>(
    open: &mut Vec<Leaf<A, V>>,
    leaf: Leaf<A, V>,
    out: &mut impl FnMut(Leaf<A, V>),
) {
    let mut leaf = leaf;
    while let Some((start, length, value)) = open.last().copied() {
        let siblings = length == leaf.1
            && value == leaf.2
            && length > 0
            && start.wide() ^ leaf.0.wide() == 1_u128 << (A::BITS - length)
            && start < leaf.0;
        if !siblings {
            break;
        }
        open.pop();
        leaf = (start, length - 1, value);
    }
    if !open.last().is_some_and(|last| may_grow(last, &leaf)) {
        open.drain(..).for_each(&mut *out);
    }
    open.push(leaf);
}

/// Whether a leaf is a first half whose second half has begun, with the same value: what comes may complete that. If not,
/// nothing before the leaf can grow either, since that would have to begin with the leaf.
fn may_grow<A: Address, V: PartialEq>(leaf: &Leaf<A, V>, next: &Leaf<A, V>) -> bool {
    let (start, length, value) = leaf;
    let is_first_half = *length > 0 && start.wide() >> (A::BITS - length) & 1 == 0;
    is_first_half && *length < next.1 && *value == next.2
}

#[cfg(test)]
mod tests;
