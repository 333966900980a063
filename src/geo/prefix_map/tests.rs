//! Leaves are as wide as may be, and every address has one.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::super::ranges::Ranges;
use super::*;
use crate::geo::PlaceId;
use crate::prefix::Prefix;

fn map(prefixes: &[(&str, usize)]) -> PrefixMap<PlaceId> {
    let prefixes: Vec<(Prefix, PlaceId)> = prefixes
        .iter()
        .map(|(p, v)| (p.parse().unwrap(), PlaceId::at(*v)))
        .collect();
    built(&Ranges::longest_prefix(&prefixes, PlaceId::NOWHERE))
}

fn built(ranges: &Ranges<PlaceId>) -> PrefixMap<PlaceId> {
    PrefixMap::new(V4Map::new(ranges.v4.iter()), ranges.v6.iter())
}

fn get(map: &PrefixMap<PlaceId>, address: &str) -> (usize, u8) {
    let (value, length) = map.get(address.parse().unwrap()).unwrap();
    (value.index(), length)
}

#[test]
fn a_uniform_family_is_one_leaf_of_length_0() {
    let map = map(&[]);
    assert_eq!(map.len(), 2);
    assert_eq!(get(&map, "255.255.255.255"), (0, 0));
    assert_eq!(get(&map, "ffff::1"), (0, 0));
}

#[test]
fn siblings_of_one_value_are_one_leaf() {
    let map = map(&[("10.0.0.0/9", 1), ("10.128.0.0/9", 1)]);
    assert_eq!(get(&map, "10.200.0.1"), (1, 8));
    assert_eq!(get(&map, "11.0.0.0"), (0, 8));
    assert_eq!(get(&map, "128.0.0.0"), (0, 1));
}

#[test]
fn no_leaf_of_ipv6_covers_clients_who_are_answered_as_ipv4() {
    let map = map(&[("192.0.2.0/24", 1)]);
    assert_eq!(get(&map, "2001:db8::1"), (0, 3));
    assert_eq!(get(&map, "::1"), (0, 81));
    assert_eq!(get(&map, "::ffff:192.0.2.1"), (1, 120));
    assert_eq!(get(&map, "::ffff:198.51.100.1"), (0, 102));
}

#[test]
fn where_all_of_ipv4_is_of_one_value_mapped_clients_are_ipv6_s() {
    let map = map(&[("2001:db8::/32", 1)]);
    assert_eq!(get(&map, "::ffff:192.0.2.1"), (0, 3));
    assert_eq!(get(&map, "::1"), (0, 3));
}

#[test]
fn the_last_addresses_of_both_families_have_leaves() {
    let map = map(&[
        ("255.255.255.255/32", 1),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", 2),
    ]);
    assert_eq!(get(&map, "255.255.255.255"), (1, 32));
    assert_eq!(
        get(&map, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        (2, 128)
    );
    assert_eq!(get(&map, "255.255.255.254"), (0, 32));
    assert_eq!(get(&map, "::ffff:255.255.255.255"), (1, 128));
}

fn any_prefixes() -> impl Strategy<Value = Vec<(Prefix, PlaceId)>> {
    let around_v4 = |(a, l)| Prefix::around(Ipv4Addr::from(a).into(), l);
    let around_v6 = |(a, l)| Prefix::around(Ipv6Addr::from(a).into(), l);
    let v4 = (any::<u32>(), 0u8..=32).prop_map(around_v4);
    let v6 = (any::<u128>(), 0u8..=128).prop_map(around_v6);
    // Close together, for the map to have crowded places too.
    let near_v4 = (0x0a01_0200_u32..0x0a01_0400, 20u8..=32).prop_map(around_v4);
    let near_v6 = (0_u128..1 << 9, 100u8..=128)
        .prop_map(move |(a, l)| around_v6((0x2001_0db8 << 96 | a << 90, l - 80)));
    let value = (0_usize..3).prop_map(PlaceId::at);
    let any = prop_oneof![v4, v6, near_v4, near_v6];
    prop::collection::btree_map(any, value, 0..48).prop_map(|m| m.into_iter().collect())
}

proptest! {
    #[test]
    fn a_leaf_is_the_widest_prefix_whose_addresses_agree(prefixes in any_prefixes(), four: u32, six: u128) {
        let ranges = Ranges::longest_prefix(&prefixes, PlaceId::NOWHERE);
        let map = built(&ranges);
        let mut asked: Vec<IpAddr> = vec![Ipv4Addr::from(four).into(), Ipv6Addr::from(six).into()];
        asked.extend(prefixes.iter().flat_map(|(p, _)| [p.address(), p.last()]));
        asked.extend([MAPPED - 1, MAPPED, BEHIND_MAPPED - 1, BEHIND_MAPPED].map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits))));
        let mapped: Vec<IpAddr> = asked.iter().filter_map(mapped).collect();
        asked.extend(mapped);
        let ranges = with_v4_in_v6(ranges);
        let mut leaves = Vec::new();
        for address in asked {
            let (value, length) = map.get(address).unwrap();
            prop_assert_eq!(Some(value), value_in(&ranges, address));
            let leaf = Prefix::around(address, length);
            prop_assert!(uniform(&ranges, leaf, value));
            if length > 0 {
                prop_assert!(!uniform(&ranges, Prefix::around(address, length - 1), value));
            }
            for inside in [leaf.address(), leaf.last()] {
                prop_assert_eq!(map.get(inside), Some((value, length)));
            }
            leaves.push(leaf);
        }
        for (leaf, other) in leaves.iter().flat_map(|leaf| leaves.iter().map(move |other| (leaf, other))) {
            prop_assert!(leaf == other || !leaf.contains(other.address()), "{} and {}", leaf, other);
        }
    }
}

/// The IPv6 address that an IPv4 address is, too.
fn mapped(address: &IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => Some(v4.to_ipv6_mapped().into()),
        IpAddr::V6(_) => None,
    }
}

/// With all of IPv4 at its place in IPv6 too.
fn with_v4_in_v6(ranges: Ranges<PlaceId>) -> Ranges<PlaceId> {
    let starts = ranges.v6.0.iter().copied();
    let before = starts.clone().filter(|(start, _)| *start < MAPPED);
    let within = ranges.v4.0.iter();
    let within = within.map(|(start, value)| (MAPPED + u128::from(*start), *value));
    let behind = (BEHIND_MAPPED, ranges.v6.get(BEHIND_MAPPED).unwrap());
    let after = starts.filter(|(start, _)| *start > BEHIND_MAPPED);
    let mut v6 = Family(Vec::new());
    for (start, value) in before.chain(within).chain([behind]).chain(after) {
        v6.push(start, value);
    }
    Ranges { v4: ranges.v4, v6 }
}

fn value_in(ranges: &Ranges<PlaceId>, address: IpAddr) -> Option<PlaceId> {
    match address {
        IpAddr::V4(v4) => ranges.v4.get(v4.to_bits()),
        IpAddr::V6(v6) => ranges.v6.get(v6.to_bits()),
    }
}

fn uniform(ranges: &Ranges<PlaceId>, prefix: Prefix, value: PlaceId) -> bool {
    let holds = |first: u128, last: u128, family: Vec<(u128, PlaceId)>| {
        let begins = family
            .iter()
            .rev()
            .find(|(start, _)| *start <= first)
            .map(|(_, v)| *v);
        begins == Some(value)
            && family
                .iter()
                .filter(|(s, _)| *s > first && *s <= last)
                .all(|(_, v)| *v == value)
    };
    match (prefix.address(), prefix.last()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => holds(
            a.to_bits().into(),
            b.to_bits().into(),
            ranges
                .v4
                .0
                .iter()
                .map(|(s, v)| (u128::from(*s), *v))
                .collect(),
        ),
        (IpAddr::V6(a), IpAddr::V6(b)) => holds(a.to_bits(), b.to_bits(), ranges.v6.0.clone()),
        _ => false,
    }
}
