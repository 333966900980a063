//! How many wrong tokens a network may show: some at once, then slowly. One that it shows again is no other guess, so that
//! a page or a script with a token of before locks out nobody.
//!
//! Pure: the time is an argument. Bounded: what is remembered of networks has an end, and the least
//! guilty is forgotten first.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use crate::config::plan::TokenDigest;
use crate::prefix::Prefix;

/// Wrong tokens that a network may show at once: an operator who mistypes is not locked out.
const AT_ONCE: u64 = 20;

/// Then one in so many ms.
const PAUSE_MS: u64 = 3_000;

/// Networks that are remembered.
const MOST_NETWORKS: usize = 1_024;

/// Wrong tokens of a network that are remembered, the last ones.
const MOST_SHOWN: usize = 20;

/// What a network has shown.
#[derive(Debug, Default)]
struct Guesses {
    /// When its failures are forgiven, all at [`PAUSE_MS`].
    forgiven_ms: u64,
    shown: VecDeque<TokenDigest>,
}

/// The wrong tokens of late.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    by_network: HashMap<Prefix, Guesses>,
}

impl Attempts {
    /// How many ms a client must wait before its next token is looked at; `None`: not at all.
    pub(super) fn wait_ms(&self, client: IpAddr, now_ms: u64) -> Option<u64> {
        let forgiven_ms = self.by_network.get(&network(client))?.forgiven_ms;
        let patience_ms = now_ms.saturating_add((AT_ONCE - 1) * PAUSE_MS);
        forgiven_ms
            .checked_sub(patience_ms)
            .filter(|wait_ms| *wait_ms > 0)
    }

    /// A client has shown a wrong token.
    pub(super) fn failed(&mut self, client: IpAddr, token: TokenDigest, now_ms: u64) {
        let network = network(client);
        let mut guesses = self.by_network.remove(&network).unwrap_or_default();
        if self.by_network.len() >= MOST_NETWORKS {
            self.forget(now_ms);
        }
        if !guesses.shown.contains(&token) {
            guesses.forgiven_ms = guesses.forgiven_ms.max(now_ms).saturating_add(PAUSE_MS);
            guesses.shown.truncate(MOST_SHOWN - 1);
            guesses.shown.push_front(token);
        }
        self.by_network.insert(network, guesses);
    }

    /// Makes room for one more network.
    fn forget(&mut self, now_ms: u64) {
        self.by_network
            .retain(|_, guesses| guesses.forgiven_ms > now_ms);
        if self.by_network.len() < MOST_NETWORKS {
            return;
        }
        let least_guilty = self
            .by_network
            .iter()
            .min_by_key(|(_, guesses)| guesses.forgiven_ms)
            .map(|(network, _)| *network);
        if let Some(network) = least_guilty {
            self.by_network.remove(&network);
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

    fn wrong(guess: u64) -> TokenDigest {
        TokenDigest::of(&guess.to_string())
    }

    #[test]
    fn twenty_wrong_tokens_are_looked_at_at_once_and_then_one_in_three_seconds() {
        let mut attempts = Attempts::default();
        let guesser = address("203.0.113.7");
        for guess in 0..AT_ONCE {
            assert_eq!(attempts.wait_ms(guesser, 500), None);
            attempts.failed(guesser, wrong(guess), 500);
        }
        assert_eq!(attempts.wait_ms(guesser, 500), Some(PAUSE_MS));
        assert_eq!(attempts.wait_ms(address("203.0.113.8"), 500), None);
        assert_eq!(attempts.wait_ms(guesser, 499 + PAUSE_MS), Some(1));
        assert_eq!(attempts.wait_ms(guesser, 500 + PAUSE_MS), None);
        attempts.failed(guesser, wrong(AT_ONCE), 500 + PAUSE_MS);
        assert!(attempts.wait_ms(guesser, 500 + PAUSE_MS).is_some());
    }

    #[test]
    fn a_token_of_before_that_is_shown_again_and_again_locks_out_nobody() {
        let mut attempts = Attempts::default();
        let tunnel = address("203.0.113.7");
        for now_ms in 0..1_000 {
            for token in 0..3 {
                attempts.failed(tunnel, wrong(token), now_ms);
                assert_eq!(attempts.wait_ms(tunnel, now_ms), None);
            }
        }
        // What is forgotten of so many is a guess again.
        for guess in 0..2 * AT_ONCE {
            attempts.failed(tunnel, wrong(guess), 1_000_000);
        }
        assert!(attempts.wait_ms(tunnel, 1_000_000).is_some());
        let guesses = attempts.by_network.values().next().unwrap();
        assert_eq!(guesses.shown.len(), MOST_SHOWN);
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_their_tries() {
        let mut attempts = Attempts::default();
        for guess in 0..AT_ONCE {
            attempts.failed(address("2001:db8::1"), wrong(guess), 0);
        }
        assert!(attempts.wait_ms(address("2001:db8::2"), 0).is_some());
        assert_eq!(attempts.wait_ms(address("2001:db8:0:1::2"), 0), None);
    }

    #[test]
    fn a_flood_of_networks_takes_no_more_memory_and_frees_no_guesser() {
        let mut attempts = Attempts::default();
        let guesser = address("203.0.113.7");
        for guess in 0..AT_ONCE {
            attempts.failed(guesser, wrong(guess), 0);
        }
        for last in 0..3 * u32::try_from(MOST_NETWORKS).unwrap() {
            attempts.failed(IpAddr::from(last.to_be_bytes()), wrong(0), 0);
            assert!(attempts.by_network.len() <= MOST_NETWORKS);
        }
        assert!(attempts.wait_ms(guesser, 0).is_some());
    }
}
