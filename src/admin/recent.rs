//! Where clients were sent lately, and what regions answered: counts that fade by half every ten seconds.
//!
//! Pure: totals and samples come in once a second, rates go out. There is an entry for a country and a region that
//! answers were seen of, and it goes when it has faded.

use std::collections::HashMap;
use std::sync::Arc;

use crate::dns::Sample;
use crate::earth::Country;
use crate::proxy::{ServedTotals, TIME_BUCKETS, bucket_ms};

/// What is left of a count after a second: half after ten of them.
const LEFT_AFTER_A_SECOND: f64 = 0.933_032_991_536_807_4;

/// Less than this of all answers together is nothing any more.
const FADED: f64 = 0.001;

/// Less than this of one kind among them. It is far less, so that their shares stay what they were while all fade.
const FORGOTTEN: f64 = 1e-9;

/// What a faded count is a second: its terms add up to so many times the last one.
const PER_SECOND: f64 = 1.0 - LEFT_AFTER_A_SECOND;

/// What is known of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Recent {
    answers: HashMap<(Option<Country>, Arc<str>), f64>,
    regions: HashMap<Arc<str>, Region>,
}

#[derive(Debug)]
struct Region {
    before: ServedTotals,
    answers: f64,
    errors: f64,
    times: [f64; TIME_BUCKETS],
}

/// DNS answers of one region to one country.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Flow {
    pub(super) country: Option<Country>,
    pub(super) region: Arc<str>,
    pub(super) per_second: f64,
}

/// What a region answered over HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Pulse {
    pub(super) answers_per_second: f64,
    pub(super) errors_per_second: f64,
    /// Of the time to the first byte: the median, and what 95 and 99 of a hundred were within; none without answers.
    pub(super) quantiles_ms: Option<[f64; 3]>,
}

impl Recent {
    /// Takes in what a second brought.
    pub(super) fn tick(
        &mut self,
        samples: impl IntoIterator<Item = (Option<Country>, Sample)>,
        totals: Vec<(Arc<str>, ServedTotals)>,
    ) {
        self.answers.retain(|_, count| {
            *count *= LEFT_AFTER_A_SECOND;
            *count > FORGOTTEN
        });
        if self.answers.values().sum::<f64>() < FADED {
            self.answers.clear();
        }
        for (country, sample) in samples {
            *self.answers.entry((country, sample.region)).or_default() += float(sample.answers);
        }
        self.regions
            .retain(|name, _| totals.iter().any(|(known, _)| known == name));
        for (name, totals) in totals {
            self.regions
                .entry(name)
                .or_insert_with(|| Region::new(totals))
                .tick(totals);
        }
    }

    /// Most first.
    pub(super) fn flows(&self) -> Vec<Flow> {
        let mut flows: Vec<Flow> = self
            .answers
            .iter()
            .map(|((country, region), count)| Flow {
                country: *country,
                region: region.clone(),
                per_second: count * PER_SECOND,
            })
            .collect();
        flows.sort_by(|a, b| {
            let by_rate = b.per_second.total_cmp(&a.per_second);
            by_rate.then_with(|| (a.country, &a.region).cmp(&(b.country, &b.region)))
        });
        flows
    }

    /// What a region answered over HTTP.
    pub(super) fn pulse(&self, region: &str) -> Pulse {
        self.regions
            .get(region)
            .map_or_else(Pulse::default, Region::pulse)
    }
}

impl Region {
    fn new(before: ServedTotals) -> Self {
        Self {
            before,
            answers: 0.0,
            errors: 0.0,
            times: [0.0; TIME_BUCKETS],
        }
    }

    fn tick(&mut self, totals: ServedTotals) {
        let fade = |count: &mut f64, before: u64, now: u64| {
            *count = *count * LEFT_AFTER_A_SECOND + float(now.wrapping_sub(before));
            if *count < FORGOTTEN {
                *count = 0.0;
            }
        };
        fade(&mut self.answers, self.before.answers, totals.answers);
        fade(&mut self.errors, self.before.errors, totals.errors);
        let times = self.times.iter_mut().zip(&self.before.times);
        for ((count, before), now) in times.zip(&totals.times) {
            fade(count, *before, *now);
        }
        if self.answers < FADED {
            self.answers = 0.0;
            self.times = [0.0; TIME_BUCKETS];
        }
        if self.errors < FADED {
            self.errors = 0.0;
        }
        self.before = totals;
    }

    fn pulse(&self) -> Pulse {
        Pulse {
            answers_per_second: self.answers * PER_SECOND,
            errors_per_second: self.errors * PER_SECOND,
            quantiles_ms: self.quantiles(),
        }
    }

    fn quantiles(&self) -> Option<[f64; 3]> {
        let all: f64 = self.times.iter().sum();
        let quantile = |share: f64| {
            let mut seen = 0.0;
            let at = self.times.iter().position(|count| {
                seen += count;
                *count > 0.0 && seen >= all * share
            });
            at.or_else(|| self.times.iter().rposition(|count| *count > 0.0))
                .map(bucket_ms)
        };
        Some([quantile(0.5)?, quantile(0.95)?, quantile(0.99)?])
    }
}

/// Exact as long as anybody will count.
fn float(number: u64) -> f64 {
    u32::try_from(number).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(answers: u64) -> (Option<Country>, Sample) {
        let sample = Sample {
            client: [192, 0, 2, 1].into(),
            region: "here".into(),
            answers,
        };
        ("JP".parse().ok(), sample)
    }

    fn totals(answers: u64, at: usize) -> Vec<(Arc<str>, ServedTotals)> {
        let mut totals = ServedTotals {
            answers,
            ..ServedTotals::default()
        };
        totals.times[at] = answers;
        vec![("here".into(), totals)]
    }

    #[test]
    fn a_steady_rate_is_told_as_it_is_and_fades_when_it_ends() {
        let mut recent = Recent::default();
        for second in 0..200 {
            recent.tick([sample(50)], totals(second * 20, 30));
        }
        let rate = recent.flows()[0].per_second;
        assert!((rate - 50.0).abs() < 0.1, "{rate}");
        let pulse = recent.pulse("here");
        assert!((pulse.answers_per_second - 20.0).abs() < 0.1, "{pulse:?}");
        assert_eq!(pulse.quantiles_ms, Some([bucket_ms(30); 3]));
        for _ in 0..10 {
            recent.tick([], totals(199 * 20, 30));
        }
        let rate = recent.flows()[0].per_second;
        assert!((rate - 25.0).abs() < 0.1, "half after ten seconds: {rate}");
        for _ in 0..200 {
            recent.tick([], totals(199 * 20, 30));
        }
        assert_eq!(recent.flows(), []);
        assert_eq!(recent.pulse("here"), Pulse::default());
    }

    #[test]
    fn shares_and_percentiles_stay_what_they_were_while_all_fades() {
        let mut recent = Recent::default();
        recent.tick([], totals(0, 30));
        let mut now = totals(100, 30);
        now[0].1.times[60] = 10;
        let there = Sample {
            region: "there".into(),
            ..sample(1).1
        };
        recent.tick([sample(99), (None, there)], now.clone());
        let expected = recent.pulse("here").quantiles_ms;
        assert_ne!(
            expected.unwrap()[0].to_bits(),
            expected.unwrap()[2].to_bits()
        );
        for _ in 0..160 {
            recent.tick([], now.clone());
            assert_eq!(recent.pulse("here").quantiles_ms, expected);
            let flows = recent.flows();
            let share = flows[1].per_second / (flows[0].per_second + flows[1].per_second);
            assert!((share - 0.01).abs() < 1e-6, "{share}");
        }
    }

    #[test]
    fn what_was_counted_before_the_first_second_is_no_rate() {
        let mut recent = Recent::default();
        recent.tick([], totals(1_000_000, 30));
        assert_eq!(recent.pulse("here"), Pulse::default());
    }

    #[test]
    fn a_region_that_a_reload_took_away_is_forgotten() {
        let mut recent = Recent::default();
        recent.tick([], totals(0, 3));
        recent.tick([], totals(9, 3));
        recent.tick([], Vec::new());
        assert_eq!(recent.pulse("here"), Pulse::default());
    }

    proptest! {
        #[test]
        fn quantiles_are_ordered_and_totals_may_wrap_around(
            start: u64,
            steps in prop::collection::vec((0_u64..1_000, 0_usize..TIME_BUCKETS), 1..20),
        ) {
            let mut recent = Recent::default();
            let mut now = totals(start, 0);
            now[0].1.times = [start; TIME_BUCKETS];
            recent.tick([], now.clone());
            for (answers, at) in steps {
                let total = &mut now[0].1;
                total.answers = total.answers.wrapping_add(answers);
                total.times[at] = total.times[at].wrapping_add(answers);
                recent.tick([], now.clone());
                let pulse = recent.pulse("here");
                prop_assert!((0.0..1_000.0).contains(&pulse.answers_per_second));
                if let Some([median, p95, p99]) = pulse.quantiles_ms {
                    prop_assert!(median <= p95 && p95 <= p99);
                }
            }
        }
    }
}
