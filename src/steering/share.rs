//! Shares of clients: who stays where and who goes while a region leaves or comes back little by little.
//!
//! A client has one place among a hundred, by a hash of its network or session, and keeps it. A share is the
//! places below a number, so that a share that grows or shrinks moves each client once and none back and forth.

use std::net::IpAddr;

use super::draw::mix;
use crate::prefix::Prefix;

/// A share of clients in hundredths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Percent(u8);

impl Percent {
    /// Everybody.
    pub const ALL: Self = Self(100);
    /// Nobody.
    pub const NONE: Self = Self(0);

    /// So many hundredths; more than all is all.
    pub fn new(hundredths: u8) -> Self {
        Self(hundredths.min(100))
    }

    /// In hundredths.
    pub fn get(self) -> u8 {
        self.0
    }

    /// The others.
    #[must_use]
    pub fn rest(self) -> Self {
        Self(100 - self.0)
    }
}

/// A client's place among a hundred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Spread(u8);

impl Spread {
    /// The place below which all shares are that do not reach `percent`; `None` beyond the last.
    pub fn at(percent: Percent) -> Option<Self> {
        (percent < Percent::ALL).then_some(Self(percent.0))
    }

    /// Every place there is; each is a hundredth of all clients.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Percent::ALL.0).map(Self)
    }

    /// By a hash.
    pub fn of_hash(hash: u64) -> Self {
        Self(u8::try_from(mix(hash) % 100).unwrap_or(0))
    }

    /// By a client's own address, of IPv6 its /64.
    pub fn of_client(client: IpAddr) -> Self {
        Self::of_prefix(client, 32, 64)
    }

    /// By the network that stands for a client in DNS, and the length that its scope must have at least for
    /// everybody in it to be answered alike (RFC 7871 §7.2.1), in bits of the address's own family. Around an IPv6
    /// client that is too long for IPv4-mapped addresses to be in it, whose networks are those of IPv4.
    pub fn of_network(client: IpAddr) -> (Self, u8) {
        const V4: u8 = 16;
        const V6: u8 = 32;
        const MAPPED_BITS: u8 = 96;
        const MAPPED: u128 = 0xffff << 32;
        let scope = match (client, client.to_canonical()) {
            (IpAddr::V4(_), _) => V4,
            (IpAddr::V6(_), IpAddr::V4(_)) => MAPPED_BITS + V4,
            (IpAddr::V6(client), IpAddr::V6(_)) => {
                let shared = (client.to_bits() ^ MAPPED).leading_zeros();
                u8::try_from(shared + 1).unwrap_or(V6).max(V6)
            }
        };
        (Self::of_prefix(client, V4, V6), scope)
    }

    fn of_prefix(client: IpAddr, v4: u8, v6: u8) -> Self {
        let bits = match client.to_canonical() {
            client @ IpAddr::V4(_) => match Prefix::around(client, v4).address() {
                IpAddr::V4(network) => u64::from(network.to_bits()),
                IpAddr::V6(_) => 0,
            },
            client @ IpAddr::V6(_) => match Prefix::around(client, v6).address() {
                // No prefix here is longer than 64 bits.
                IpAddr::V6(network) => u64::try_from(network.to_bits() >> 64).unwrap_or(0),
                IpAddr::V4(_) => 0,
            },
        };
        // IPv4 networks must not hash as the IPv6 networks of the same number.
        Self::of_hash(mix(bits) ^ u64::from(client.to_canonical().is_ipv4()))
    }

    /// Whether this client is of a share.
    pub fn is_of(self, share: Percent) -> bool {
        self.0 < share.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shares_of_networks_are_of_their_size() {
        let networks =
            (0..20_000_u32).map(|i| IpAddr::from((0x0b00_0000 + (i << 16)).to_be_bytes()));
        let spreads: Vec<Spread> = networks.map(|ip| Spread::of_network(ip).0).collect();
        for percent in [1, 10, 50, 90] {
            let share = Percent::new(percent);
            let of = spreads.iter().filter(|spread| spread.is_of(share)).count();
            let expected = 200 * usize::from(percent);
            assert!(of.abs_diff(expected) < 300, "{percent} %: {of}");
        }
        assert!(spreads.iter().all(|spread| spread.is_of(Percent::ALL)));
        assert!(!spreads.iter().any(|spread| spread.is_of(Percent::NONE)));
    }

    proptest! {
        #[test]
        fn everybody_within_the_scope_has_one_place(bits in any::<u32>(), other in any::<u32>()) {
            let client = IpAddr::from(bits.to_be_bytes());
            let (spread, scope) = Spread::of_network(client);
            let low = u32::MAX >> scope;
            let neighbor = IpAddr::from((bits & !low | other & low).to_be_bytes());
            prop_assert_eq!(Spread::of_network(neighbor), (spread, scope));
        }

        #[test]
        fn everybody_within_the_scope_of_ipv6_has_one_place(
            // Near the IPv4-mapped addresses, too.
            bits in prop_oneof![any::<u128>(), 0_u128..1 << 52],
            other in any::<u128>(),
        ) {
            let client = IpAddr::from(bits.to_be_bytes());
            let (spread, scope) = Spread::of_network(client);
            let low = u128::MAX >> scope;
            let neighbor = IpAddr::from((bits & !low | other & low).to_be_bytes());
            prop_assert_eq!(Spread::of_network(neighbor), (spread, scope));
        }

        #[test]
        fn a_share_that_grows_lets_nobody_go(bits in any::<u32>(), a in 0_u8..=100, b in 0_u8..=100) {
            let (less, more) = (Percent::new(a.min(b)), Percent::new(a.max(b)));
            let spread = Spread::of_client(IpAddr::from(bits.to_be_bytes()));
            prop_assert!(!spread.is_of(less) || spread.is_of(more));
        }
    }
}
