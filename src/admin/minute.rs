//! What each region served of each service in the last minute: what a dry run measures present traffic by.
//!
//! The totals are those that the DNS and HTTP faces keep; of them it remembers some, and takes differences.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::ids::MemberName;
use crate::proxy::Answers;

/// How often totals are remembered.
const EVERY_MS: u64 = 5_000;

/// How far back the oldest are kept.
const WINDOW_MS: u64 = 60_000;

/// Requests that origins answered, and DNS answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Served {
    pub(super) http_requests: u64,
    /// Those of them that write.
    pub(super) http_writes: u64,
    pub(super) dns_answers: u64,
}

/// What was served of each service by each region.
pub(super) type ByRegion = BTreeMap<MemberName, Served>;

/// The totals of the last minute, oldest first.
#[derive(Debug)]
pub struct Minute(Mutex<VecDeque<(u64, ByRegion)>>);

impl Minute {
    /// Begins when nothing has been served.
    pub fn beginning(now_ms: u64) -> Self {
        Self(Mutex::new([(now_ms, ByRegion::new())].into()))
    }

    /// Remembers the totals of now, if the last are old enough.
    pub(super) fn remember(&self, now_ms: u64, totals: impl FnOnce() -> ByRegion) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((last_ms, _)) = known.back()
            && now_ms < last_ms + EVERY_MS
        {
            return;
        }
        known.push_back((now_ms, totals()));
        // One that is older than the window is kept, so that what is left spans it.
        while known
            .get(1)
            .is_some_and(|(at_ms, _)| at_ms + WINDOW_MS <= now_ms)
        {
            known.pop_front();
        }
    }

    /// What was served from the oldest totals until now, and how many ms lie between.
    pub(super) fn until(&self, totals: ByRegion, now_ms: u64) -> (u64, ByRegion) {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((from_ms, before)) = known.front() else {
            return (0, ByRegion::new());
        };
        let since = |(key, now): (MemberName, Served)| {
            let before = before.get(&key).copied().unwrap_or_default();
            let served = Served {
                http_requests: now.http_requests.saturating_sub(before.http_requests),
                http_writes: now.http_writes.saturating_sub(before.http_writes),
                dns_answers: now.dns_answers.saturating_sub(before.dns_answers),
            };
            (key, served)
        };
        let served = totals.into_iter().map(since).collect();
        (now_ms.saturating_sub(*from_ms), served)
    }
}

/// The totals of both faces together.
pub(super) fn totals(
    http: impl IntoIterator<Item = (MemberName, Answers)>,
    dns: impl IntoIterator<Item = (MemberName, u64)>,
) -> ByRegion {
    let mut totals = ByRegion::new();
    for (name, answers) in http {
        let served = totals.entry(name).or_default();
        (served.http_requests, served.http_writes) = (answers.all, answers.writes);
    }
    for (name, answers) in dns {
        totals.entry(name).or_default().dns_answers = answers;
    }
    totals
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(http: u64, dns: u64) -> ByRegion {
        let name = || ("www".into(), "eu".into());
        let answers = Answers {
            all: http,
            writes: http,
        };
        totals([(name(), answers)], [(name(), dns)])
    }

    #[test]
    fn what_counts_is_what_came_within_the_window() {
        let minute = Minute::beginning(0);
        for quarter in 1..2_000 {
            // A quarter of a second each, and all but every twentieth too soon.
            minute.remember(quarter * 250, || at(quarter * 10, quarter * 3));
        }
        // The last were remembered at 495 s, the oldest that are kept at 435 s.
        let (span_ms, served) = minute.until(at(20_000, 6_000), 500_000);
        assert_eq!(span_ms, 65_000);
        assert_eq!(served, at(20_000 - 17_400, 6_000 - 5_220));
    }

    #[test]
    fn whoever_is_new_counts_from_nothing_and_whoever_begins_anew_is_no_debt() {
        let minute = Minute::beginning(0);
        assert_eq!(minute.until(at(7, 5), 1), (1, at(7, 5)));
        minute.remember(60_000, || at(7, 5));
        minute.remember(120_000, || at(7, 5));
        assert_eq!(minute.until(at(2, 1), 120_001).1, at(0, 0));
    }

    proptest! {
        #[test]
        fn nothing_of_the_last_minute_is_left_out_and_little_is_from_before(
            each in prop::collection::vec(0_u64..1_000, 1..60),
        ) {
            let minute = Minute::beginning(0);
            let (mut sum, mut now_ms) = (0, 0);
            for served in &each {
                sum += served;
                now_ms += EVERY_MS;
                minute.remember(now_ms, || at(sum, 0));
            }
            let (span_ms, served) = minute.until(at(sum, 0), now_ms);
            prop_assert_eq!(span_ms, WINDOW_MS.min(now_ms));
            let steps = usize::try_from(span_ms / EVERY_MS).unwrap();
            let expected: u64 = each.iter().rev().take(steps).sum();
            prop_assert_eq!(served, at(expected, 0));
        }
    }
}
