//! How many refusals of one caller are told: a flood of them must neither keep the disk busy nor push out what was done.
//!
//! Pure: the time is an argument. Bounded: those who are known by name are those of the configuration, and whoever is not known is one.

use std::collections::HashMap;

use super::caller::Who;

/// Refusals that are told in a minute, of each who calls; the others are counted.
const MOST_A_MINUTE: u32 = 20;

/// A minute.
const MINUTE_MS: u64 = 60_000;

/// Callers that are remembered: names that reloads took away are forgotten beyond that.
const MOST_CALLERS: usize = 64;

/// The refusals of late.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    of_each: HashMap<Who, OfOne>,
}

#[derive(Debug, Default)]
struct OfOne {
    minute: u64,
    told: u32,
    left_out: u64,
}

impl Refusals {
    /// Whether one more is told, and how many of the same caller were left out before it.
    pub(super) fn admit(&mut self, who: &Who, now_ms: u64) -> Option<u64> {
        let minute = now_ms / MINUTE_MS;
        if self.of_each.len() >= MOST_CALLERS {
            self.of_each.retain(|_, of_one| of_one.minute == minute);
        }
        self.of_each.entry(who.clone()).or_default().admit(minute)
    }
}

impl OfOne {
    fn admit(&mut self, minute: u64) -> Option<u64> {
        if minute != self.minute {
            (self.minute, self.told) = (minute, 0);
        }
        if self.told == MOST_A_MINUTE {
            self.left_out += 1;
            return None;
        }
        self.told += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(name: &str) -> Who {
        Who::Bearer(name.into())
    }

    #[test]
    fn of_each_caller_twenty_a_minute_are_told_and_the_others_counted() {
        let mut refusals = Refusals::default();
        for who in [Who::Anybody, Who::ThisMachine, bearer("ops"), bearer("ci")] {
            let told = (0..1_000).filter(|_| refusals.admit(&who, 5).is_some());
            assert_eq!(told.count(), 20, "{who}");
            assert_eq!(refusals.admit(&who, MINUTE_MS), Some(980));
            assert_eq!(refusals.admit(&who, MINUTE_MS), Some(0));
        }
    }

    #[test]
    fn callers_of_configurations_long_gone_are_forgotten() {
        let mut refusals = Refusals::default();
        for name in 0..10_000 {
            let now_ms = name * MINUTE_MS;
            assert_eq!(refusals.admit(&bearer(&name.to_string()), now_ms), Some(0));
            assert!(refusals.of_each.len() <= MOST_CALLERS);
        }
    }
}
