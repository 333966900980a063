//! Both address families cut into ranges that each hold one value.
//!
//! Pure. A range reaches to the start of the next; the first starts at the family's first address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::prefix::Prefix;

/// A family's addresses as numbers.
pub(super) trait Address: Copy + Ord {
    /// Bits of an address.
    const BITS: u8;
    /// The first address.
    const FIRST: Self;
    /// The address after, unless this is the last.
    fn next(self) -> Option<Self>;
    /// The number of an address in 128 bits.
    fn wide(self) -> u128;
    /// The address of a number that fits.
    fn from_wide(wide: u128) -> Self;
}

impl Address for u32 {
    const BITS: u8 = 32;
    const FIRST: Self = 0;

    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }

    fn wide(self) -> u128 {
        self.into()
    }

    fn from_wide(wide: u128) -> Self {
        Self::try_from(wide).unwrap_or(Self::MAX)
    }
}

impl Address for u128 {
    const BITS: u8 = 128;
    const FIRST: Self = 0;

    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }

    fn wide(self) -> u128 {
        self
    }

    fn from_wide(wide: u128) -> Self {
        wide
    }
}

/// One family: sorted starts with the value from there on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Family<A, V>(pub(super) Vec<(A, V)>);

impl<A: Address, V: Copy + PartialEq> Family<A, V> {
    /// A family that holds one value.
    pub(super) fn uniform(value: V) -> Self {
        Self(vec![(A::FIRST, value)])
    }

    /// The value of an address.
    pub(super) fn get(&self, address: A) -> Option<V> {
        let after = self.0.partition_point(|(start, _)| *start <= address);
        self.0.get(after.checked_sub(1)?).map(|(_, value)| *value)
    }

    /// The value of all addresses from one to another, if they have one.
    fn get_all(&self, first: A, last: A) -> Option<V> {
        let after = self.0.partition_point(|(start, _)| *start <= first);
        let is_whole = self.0.get(after).is_none_or(|(next, _)| *next > last);
        self.get(first).filter(|_| is_whole)
    }

    /// Appends a range that starts where the last one ends, or changes the last one if that is empty.
    pub(super) fn push(&mut self, start: A, value: V) {
        if self.0.last().is_some_and(|(last, _)| *last == start) {
            self.0.pop();
        }
        if self.0.last().is_none_or(|(_, last)| *last != value) {
            self.0.push((start, value));
        }
    }

    /// Applies values by another function.
    pub(super) fn map<W: Copy + PartialEq>(&self, mut f: impl FnMut(V) -> W) -> Family<A, W> {
        let mut mapped = Family(Vec::with_capacity(self.0.len()));
        for (start, value) in &self.0 {
            mapped.push(*start, f(*value));
        }
        mapped
    }

    /// The ranges in order: where each starts, and its value.
    pub(super) fn iter(&self) -> impl Iterator<Item = (A, V)> {
        self.0.iter().copied()
    }

    /// The value of the longest prefix around each address; `none` where there is no prefix.
    fn longest(prefixes: &[(A, A, u8, V)], none: V) -> Self {
        let mut sorted: Vec<&(A, A, u8, V)> = prefixes.iter().collect();
        sorted.sort_by_key(|(first, _, length, _)| (*first, *length));
        let mut family = Self::uniform(none);
        // Prefixes nest or are apart, so those around the present one form a stack.
        let mut around: Vec<(A, V)> = Vec::new();
        let close = |family: &mut Self, around: &mut Vec<(A, V)>, before: Option<A>| {
            while let Some((last, _)) = around.last().copied() {
                if before.is_some_and(|before| last >= before) {
                    break;
                }
                around.pop();
                if let Some(next) = last.next() {
                    family.push(next, around.last().map_or(none, |(_, value)| *value));
                }
            }
        };
        for (first, last, _, value) in sorted {
            close(&mut family, &mut around, Some(*first));
            family.push(*first, *value);
            around.push((*last, *value));
        }
        close(&mut family, &mut around, None);
        family
    }
}

/// Both families.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ranges<V> {
    pub(super) v4: Family<u32, V>,
    pub(super) v6: Family<u128, V>,
}

impl<V: Copy + PartialEq> Ranges<V> {
    /// The value of an address; an IPv4-mapped IPv6 address counts as the IPv4 address.
    pub(super) fn get(&self, address: IpAddr) -> Option<V> {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.get(address.into()),
            IpAddr::V6(address) => self.v6.get(address.into()),
        }
    }

    /// The value of all addresses of a prefix, if they have one.
    pub(super) fn get_all(&self, prefix: Prefix) -> Option<V> {
        match (prefix.address(), prefix.last()) {
            (IpAddr::V4(first), IpAddr::V4(last)) => self.v4.get_all(first.into(), last.into()),
            (IpAddr::V6(first), IpAddr::V6(last)) => self.v6.get_all(first.into(), last.into()),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
        }
    }

    /// The value of the longest of these prefixes around each address; `none` where there is none.
    pub(super) fn longest_prefix(prefixes: &[(Prefix, V)], none: V) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (prefix, value) in prefixes {
            match (prefix.address(), prefix.last()) {
                (IpAddr::V4(first), IpAddr::V4(last)) => {
                    v4.push((
                        Ipv4Addr::to_bits(first),
                        Ipv4Addr::to_bits(last),
                        prefix.length(),
                        *value,
                    ));
                }
                (IpAddr::V6(first), IpAddr::V6(last)) => {
                    v6.push((
                        Ipv6Addr::to_bits(first),
                        Ipv6Addr::to_bits(last),
                        prefix.length(),
                        *value,
                    ));
                }
                (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
            }
        }
        Self {
            v4: Family::longest(&v4, none),
            v6: Family::longest(&v6, none),
        }
    }
}

/// Pairs every address's value with the other ranges' value of it, range by range, so that no list of pairs is made.
pub(super) fn zip<A: Address, V: Copy, W: Copy>(
    ours: impl Iterator<Item = (A, V)>,
    theirs: impl Iterator<Item = (A, W)>,
) -> impl Iterator<Item = (A, (V, W))> {
    let (mut ours, mut theirs) = (ours.peekable(), theirs.peekable());
    let mut now: (Option<V>, Option<W>) = (None, None);
    std::iter::from_fn(move || {
        loop {
            let start = match (ours.peek(), theirs.peek()) {
                (Some((a, _)), Some((b, _))) => *a.min(b),
                (Some((a, _)), None) => *a,
                (None, Some((b, _))) => *b,
                (None, None) => return None,
            };
            if let Some((_, value)) = ours.next_if(|(at, _)| *at == start) {
                now.0 = Some(value);
            }
            if let Some((_, value)) = theirs.next_if(|(at, _)| *at == start) {
                now.1 = Some(value);
            }
            if let (Some(ours), Some(theirs)) = now {
                return Some((start, (ours, theirs)));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn the_longest_prefix_decides_and_ends_where_it_ends() {
        let prefixes = [
            (prefix("10.0.0.0/8"), 1),
            (prefix("10.1.0.0/16"), 2),
            (prefix("255.0.0.0/8"), 3),
        ];
        let ranges = Ranges::longest_prefix(&prefixes, 0);
        for (address, expected) in [
            ("9.255.255.255", 0),
            ("10.0.0.0", 1),
            ("10.1.2.3", 2),
            ("10.2.0.0", 1),
            ("11.0.0.0", 0),
            ("255.255.255.255", 3),
        ] {
            assert_eq!(
                ranges.get(address.parse().unwrap()),
                Some(expected),
                "{address}"
            );
        }
    }

    proptest! {
        #[test]
        fn ranges_agree_with_asking_every_prefix(
            prefixes in prop::collection::vec((any::<u32>(), 0u8..=32, 1u8..5), 0..20),
            address: u32,
        ) {
            let mut prefixes: Vec<(Prefix, u8)> = prefixes
                .into_iter()
                .map(|(a, length, value)| (Prefix::around(Ipv4Addr::from(a).into(), length), value))
                .collect();
            prefixes.sort();
            prefixes.dedup_by_key(|(prefix, _)| *prefix);
            let ranges = Ranges::longest_prefix(&prefixes, 0);
            let mut asked: Vec<IpAddr> = vec![Ipv4Addr::from(address).into()];
            asked.extend(prefixes.iter().flat_map(|(p, _)| [p.address(), p.last()]));
            for address in asked {
                let naive = prefixes
                    .iter()
                    .filter(|(p, _)| p.contains(address))
                    .max_by_key(|(p, _)| p.length())
                    .map_or(0, |(_, value)| *value);
                prop_assert_eq!(ranges.get(address), Some(naive));
            }
        }
    }
}
