//! How often a network may show a wrong token: some at once, then slowly.
//!
//! Pure: the time is an argument. Bounded: what is remembered of networks has an end, and the least
//! guilty is forgotten first.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::prefix::Prefix;

/// Wrong tokens that a network may show at once: an operator who mistypes is not locked out.
const AT_ONCE: u64 = 20;

/// Then one in so many ms.
const PAUSE_MS: u64 = 3_000;

/// Networks that are remembered.
const MOST_NETWORKS: usize = 1_024;

/// The wrong tokens of late.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// When each network's failures are forgiven, all at [`PAUSE_MS`].
    forgiven_ms: HashMap<Prefix, u64>,
}

impl Attempts {
    /// How many ms a client must wait before its next token is looked at; `None`: not at all.
    pub(super) fn wait_ms(&self, client: IpAddr, now_ms: u64) -> Option<u64> {
        let forgiven_ms = self.forgiven_ms.get(&network(client))?;
        let patience_ms = now_ms.saturating_add((AT_ONCE - 1) * PAUSE_MS);
        forgiven_ms
            .checked_sub(patience_ms)
            .filter(|wait_ms| *wait_ms > 0)
    }

    /// A client has shown a wrong token.
    pub(super) fn failed(&mut self, client: IpAddr, now_ms: u64) {
        let network = network(client);
        let before_ms = self.forgiven_ms.remove(&network).unwrap_or(now_ms);
        if self.forgiven_ms.len() >= MOST_NETWORKS {
            self.forget(now_ms);
        }
        let forgiven_ms = before_ms.max(now_ms).saturating_add(PAUSE_MS);
        self.forgiven_ms.insert(network, forgiven_ms);
    }

    /// Makes room for one more network.
    fn forget(&mut self, now_ms: u64) {
        self.forgiven_ms
            .retain(|_, forgiven_ms| *forgiven_ms > now_ms);
        if self.forgiven_ms.len() < MOST_NETWORKS {
            return;
        }
        let least_guilty = self
            .forgiven_ms
            .iter()
            .min_by_key(|(_, forgiven_ms)| **forgiven_ms)
            .map(|(network, _)| *network);
        if let Some(network) = least_guilty {
            self.forgiven_ms.remove(&network);
        }
    }
}

/// Whoever has an address of IPv6 has its /64.
pub(super) fn network(client: IpAddr) -> Prefix {
    match client.to_canonical() {
        client @ IpAddr::V4(_) => Prefix::around(client, 32),
        client @ IpAddr::V6(_) => Prefix::around(client, 64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn twenty_wrong_tokens_are_looked_at_at_once_and_then_one_in_three_seconds() {
        let mut attempts = Attempts::default();
        let guesser = address("203.0.113.7");
        for _ in 0..AT_ONCE {
            assert_eq!(attempts.wait_ms(guesser, 500), None);
            attempts.failed(guesser, 500);
        }
        assert_eq!(attempts.wait_ms(guesser, 500), Some(PAUSE_MS));
        assert_eq!(attempts.wait_ms(address("203.0.113.8"), 500), None);
        assert_eq!(attempts.wait_ms(guesser, 499 + PAUSE_MS), Some(1));
        assert_eq!(attempts.wait_ms(guesser, 500 + PAUSE_MS), None);
        attempts.failed(guesser, 500 + PAUSE_MS);
        assert!(attempts.wait_ms(guesser, 500 + PAUSE_MS).is_some());
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_their_tries() {
        let mut attempts = Attempts::default();
        for _ in 0..AT_ONCE {
            attempts.failed(address("2001:db8::1"), 0);
        }
        assert!(attempts.wait_ms(address("2001:db8::2"), 0).is_some());
        assert_eq!(attempts.wait_ms(address("2001:db8:0:1::2"), 0), None);
    }

    #[test]
    fn a_flood_of_networks_takes_no_more_memory_and_frees_no_guesser() {
        let mut attempts = Attempts::default();
        let guesser = address("203.0.113.7");
        for _ in 0..AT_ONCE {
            attempts.failed(guesser, 0);
        }
        for last in 0..3 * u32::try_from(MOST_NETWORKS).unwrap() {
            attempts.failed(IpAddr::from(last.to_be_bytes()), 0);
            assert!(attempts.forgiven_ms.len() <= MOST_NETWORKS);
        }
        assert!(attempts.wait_ms(guesser, 0).is_some());
    }
}
