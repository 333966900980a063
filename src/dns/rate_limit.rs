//! Response rate limiting over UDP: no network gets more than its share, so that nobody can send a
//! flood of answers to a victim by writing its address on queries.
//!
//! A network is an IPv4 /24 or an IPv6 /56. Its state is one word of a table of fixed size that all
//! threads share: when what it was sent will have been paid for (GCRA, the leaky bucket as a
//! meter). Nothing is locked and nothing is allocated. A network has two slots to choose from, by a
//! hash that nobody else can compute. It takes one that is its own, or one that is idle: the word of
//! an idle slot says nothing, so that nothing is lost. When both are busy with other networks, it
//! shares the first, always that one, and the two have one rate between them. Time enters as a parameter.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use siphasher::sip::SipHasher13;

use super::random_key;
use crate::config::plan::RateLimit;
use crate::prefix::Prefix;

/// Networks that are told apart at a time: 1 MiB. Memory is bounded, and a flood from more networks
/// than these is no longer one that a victim sees.
const SLOTS: usize = 1 << 16;

/// How often a word that others change is tried again. Whoever fails so often is in a flood.
const TRIES: usize = 16;

const SECOND_US: u64 = 1_000_000;

/// A word has 16 bits of the network's hash above 48 bits of microseconds: almost nine years of them.
const TIME_BITS: u32 = 48;
const TIME: u64 = (1 << TIME_BITS) - 1;

/// How a response is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As it is.
    Whole,
    /// Over the limit: so short that it floods nobody, for an honest client to ask otherwise.
    Reminder,
    /// Over the limit: not at all.
    Silent,
}

/// The limit in force, ready for use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate<'a> {
    /// What one response costs. Rounded up, so that no network gets more than it may.
    interval_us: u64,
    /// How far ahead of the clock a network may be: a second's worth of responses, but for the next.
    tolerance_us: u64,
    slip: u32,
    exempt: &'a [Prefix],
}

impl<'a> Rate<'a> {
    pub(super) fn of(limit: &'a RateLimit) -> Self {
        let interval_us = SECOND_US.div_ceil(u64::from(limit.responses_per_second).max(1));
        Self {
            interval_us,
            tolerance_us: SECOND_US.saturating_sub(interval_us),
            slip: limit.slip,
            exempt: &limit.exempt,
        }
    }
}

/// What every network was sent lately.
#[derive(Debug)]
pub struct RateLimiter {
    slots: Box<[Slot]>,
    hasher: SipHasher13,
}

/// A network's state, or that of several.
#[derive(Debug, Default)]
struct Slot {
    word: AtomicU64,
    /// Responses over the limit, to find every so-many-th of them.
    over: AtomicU32,
}

/// Where a network's state may be.
#[derive(Clone, Copy, Debug)]
struct Place {
    first: usize,
    second: usize,
    tag: u64,
}

/// A slot, with the word that it held.
#[derive(Clone, Copy, Debug)]
struct Held<'a> {
    slot: &'a Slot,
    word: u64,
}

impl Held<'_> {
    fn tag(&self) -> u64 {
        self.word >> TIME_BITS
    }

    /// When everything will have been paid for.
    fn due_us(&self) -> u64 {
        self.word & TIME
    }
}

impl RateLimiter {
    /// An empty table. Its hash is keyed at random, so that nobody can aim at another's slots.
    #[expect(clippy::new_without_default, reason = "two of them are not alike")]
    pub fn new() -> Self {
        Self::with(SLOTS, &random_key())
    }

    fn with(slots: usize, key: &[u8; 16]) -> Self {
        Self {
            slots: (0..slots).map(|_| Slot::default()).collect(),
            hasher: SipHasher13::new_with_key(key),
        }
    }

    /// How the next response to `peer` is sent. `now_us` is of a clock that never jumps.
    pub(super) fn pace(&self, rate: &Rate<'_>, peer: IpAddr, now_us: u64) -> Pace {
        if rate.exempt.iter().any(|network| network.contains(peer)) {
            return Pace::Whole;
        }
        let place = self.place(peer);
        for _ in 0..TRIES {
            let Some(held) = self.choose(place, now_us) else {
                return Pace::Whole;
            };
            let Some(next) = charge(held, place.tag, rate, now_us) else {
                return held.slot.over_limit(rate.slip);
            };
            let order = Ordering::Relaxed; // A word says everything by itself.
            let swapped = held
                .slot
                .word
                .compare_exchange_weak(held.word, next, order, order);
            if swapped.is_ok() {
                return Pace::Whole;
            }
        }
        Pace::Silent
    }

    fn place(&self, peer: IpAddr) -> Place {
        let hash = self.hasher.hash(&network(peer));
        let [a, b, c, d, e, f, g, h] = hash.to_le_bytes();
        let slot = |bytes| {
            let number = usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(0);
            number.checked_rem(self.slots.len()).unwrap_or(0)
        };
        Place {
            first: slot([a, b, c, 0]),
            second: slot([d, e, f, 0]),
            tag: u64::from(u16::from_le_bytes([g, h])),
        }
    }

    /// The network's own slot, else an idle one, else the first: a network that took the freer one each time would use up both.
    fn choose(&self, place: Place, now_us: u64) -> Option<Held<'_>> {
        let look = |at: usize| {
            let slot = self.slots.get(at)?;
            let word = slot.word.load(Ordering::Relaxed);
            Some(Held { slot, word })
        };
        let (first, second) = (look(place.first)?, look(place.second)?);
        let both = [first, second];
        let find = |wanted: &dyn Fn(&Held<'_>) -> bool| both.into_iter().find(wanted);
        find(&|held| held.tag() == place.tag)
            .or_else(|| find(&|held| held.due_us() <= now_us))
            .or(Some(first))
    }
}

impl Slot {
    fn over_limit(&self, slip: u32) -> Pace {
        let before = self.over.fetch_add(1, Ordering::Relaxed);
        match before.wrapping_add(1).checked_rem(slip) {
            Some(0) => Pace::Reminder,
            Some(_) | None => Pace::Silent,
        }
    }
}

/// The word of a slot that has paid for one more response; `None` if it may not.
fn charge(held: Held<'_>, tag: u64, rate: &Rate<'_>, now_us: u64) -> Option<u64> {
    let due_us = held.due_us().max(now_us);
    if due_us - now_us > rate.tolerance_us {
        return None;
    }
    let is_idle = held.due_us() <= now_us;
    let tag = if is_idle { tag } else { held.tag() };
    Some(tag << TIME_BITS | (due_us + rate.interval_us) & TIME)
}

/// The /24 or the /56 around an address, and which of both it is.
fn network(peer: IpAddr) -> [u8; 8] {
    match peer {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            [4, a, b, c, 0, 0, 0, 0]
        }
        IpAddr::V6(address) => {
            let [a, b, c, d, e, f, g, ..] = address.octets();
            [6, a, b, c, d, e, f, g]
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limit(responses_per_second: u32, slip: u32) -> RateLimit {
        RateLimit {
            responses_per_second,
            slip,
            exempt: vec!["127.0.0.0/8".parse().unwrap()],
        }
    }

    fn table(slots: usize) -> RateLimiter {
        RateLimiter::with(slots, &[7; 16])
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many of `count` responses at one moment are sent whole.
    fn whole(table: &RateLimiter, limit: &RateLimit, peer: &str, count: usize, now: u64) -> usize {
        let rate = Rate::of(limit);
        let paces = (0..count).map(|_| table.pace(&rate, ip(peer), now));
        paces.filter(|pace| *pace == Pace::Whole).count()
    }

    #[test]
    fn a_second_s_worth_may_come_at_once_and_no_more() {
        let (table, limit) = (table(SLOTS), limit(200, 2));
        assert_eq!(whole(&table, &limit, "192.0.2.1", 1000, 0), 200);
        // 5 ms pay for one.
        assert_eq!(whole(&table, &limit, "192.0.2.1", 10, 4_999), 0);
        assert_eq!(whole(&table, &limit, "192.0.2.1", 10, 5_000), 1);
        assert_eq!(whole(&table, &limit, "192.0.2.1", 1000, 10_000_000), 200);
    }

    #[test]
    fn a_network_is_a_24_or_a_56() {
        let (table, limit) = (table(SLOTS), limit(10, 2));
        assert_eq!(whole(&table, &limit, "192.0.2.1", 20, 0), 10);
        assert_eq!(whole(&table, &limit, "192.0.2.255", 20, 0), 0);
        assert_eq!(whole(&table, &limit, "192.0.3.1", 20, 0), 10);
        assert_eq!(whole(&table, &limit, "2001:db8:0:100::1", 20, 0), 10);
        assert_eq!(whole(&table, &limit, "2001:db8:0:1ff::1", 20, 0), 0);
        assert_eq!(whole(&table, &limit, "2001:db8:0:200::1", 20, 0), 10);
    }

    #[test]
    fn exempt_networks_are_never_limited() {
        let (table, limit) = (table(SLOTS), limit(1, 2));
        assert_eq!(whole(&table, &limit, "127.1.2.3", 1000, 0), 1000);
    }

    #[track_caller]
    fn check_slip(slip: u32, expected: &str) {
        let (table, limit) = (table(SLOTS), limit(1, slip));
        let paces = (0..7).map(|_| table.pace(&Rate::of(&limit), ip("192.0.2.1"), 0));
        let shown = paces.map(|pace| match pace {
            Pace::Whole => 'W',
            Pace::Reminder => 'R',
            Pace::Silent => '-',
        });
        assert_eq!(shown.collect::<String>(), expected);
    }

    #[test]
    fn every_so_many_th_over_the_limit_is_a_reminder() {
        check_slip(0, "W------");
        check_slip(1, "WRRRRRR");
        check_slip(2, "W-R-R-R");
        check_slip(3, "W--R--R");
    }

    #[test]
    fn a_new_limit_is_in_force_at_once() {
        let table = table(SLOTS);
        assert_eq!(whole(&table, &limit(1, 2), "192.0.2.1", 9, 0), 1);
        assert_eq!(whole(&table, &limit(1, 2), "192.0.2.1", 9, 500_000), 0);
        assert_eq!(whole(&table, &limit(100, 2), "192.0.2.1", 99, 500_000), 50);
    }

    #[test]
    fn networks_that_find_both_slots_busy_share_one() {
        let (table, limit) = (table(1), limit(10, 2));
        assert_eq!(whole(&table, &limit, "192.0.2.1", 4, 0), 4);
        assert_eq!(whole(&table, &limit, "198.51.100.1", 20, 0), 6);
        // Once it is idle, it belongs to whoever comes first.
        assert_eq!(whole(&table, &limit, "198.51.100.1", 20, 2_000_000), 10);
        assert_eq!(whole(&table, &limit, "192.0.2.1", 4, 2_000_000), 0);
    }

    #[test]
    fn a_network_that_finds_both_slots_busy_gets_no_more_than_one_has_left() {
        let (table, limit) = (table(4), limit(10, 2));
        let networks = || (0..=255).map(|network| format!("10.0.{network}.1"));
        let place = |peer: &String| table.place(ip(peer));
        let own = networks().find(|peer| place(peer).first != place(peer).second);
        let own = own.unwrap();
        for busy in [place(&own).first, place(&own).second] {
            let other = networks().find(|peer| place(peer).first == busy && *peer != own);
            assert_eq!(whole(&table, &limit, &other.unwrap(), 1, 0), 1);
        }
        assert_eq!(whole(&table, &limit, &own, 100, 0), 9);
        assert_eq!(whole(&table, &limit, &own, 100, 99_999), 0);
    }

    #[test]
    fn threads_share_one_limit() {
        let (table, limit) = (table(SLOTS), limit(1000, 2));
        let total: usize = std::thread::scope(|scope| {
            let count = || whole(&table, &limit, "192.0.2.1", 5000, 0);
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
            threads.into_iter().map(|it| it.join().unwrap()).sum()
        });
        assert_eq!(total, 1000);
    }

    proptest! {
        /// In any window: the rate times its length, and a burst.
        #[test]
        fn no_window_holds_more_than_its_share(
            per_second in 1_u32..2000,
            gaps in proptest::collection::vec(prop_oneof![Just(0_u64), 0_u64..3000, 0_u64..900_000], 1..250),
        ) {
            let (table, limit) = (table(SLOTS), limit(per_second, 0));
            let mut now = 0;
            let mut sent = Vec::new();
            for gap in gaps {
                now += gap;
                if whole(&table, &limit, "192.0.2.1", 1, now) == 1 {
                    sent.push(now);
                }
            }
            for (first, start) in sent.iter().enumerate() {
                for (last, end) in sent.iter().enumerate().skip(first) {
                    let count = u64::try_from(last - first + 1).unwrap();
                    let paid = (end - start) * u64::from(per_second) / SECOND_US;
                    prop_assert!(count <= paid + u64::from(per_second));
                }
            }
        }

        /// A network that stays under the rate is never limited while it is alone.
        #[test]
        fn under_the_rate_everything_is_answered(
            per_second in 1_u32..2000,
            extra in proptest::collection::vec(0_u64..100_000, 1..200),
        ) {
            let (table, limit) = (table(SLOTS), limit(per_second, 0));
            let interval = Rate::of(&limit).interval_us;
            let mut now = 0;
            for gap in extra {
                prop_assert_eq!(whole(&table, &limit, "192.0.2.1", 1, now), 1);
                now += interval + gap;
            }
        }

        /// However many networks crowd a table, none gets more at once than its burst.
        #[test]
        fn a_crowd_gets_no_more_than_a_burst_each(slots in 1_usize..8, networks in 1_u8..40) {
            let (table, limit) = (table(slots), limit(5, 2));
            let mut total = 0;
            for network in 0..networks {
                let sent = whole(&table, &limit, &format!("10.0.{network}.1"), 20, 0);
                prop_assert!(sent <= 5);
                total += sent;
            }
            prop_assert!(total <= slots * 5);
        }
    }
}
