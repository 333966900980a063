//! Where traffic of a region would go, in whole numbers that add up.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::ids::RegionId;

/// Of what goes to each region, the part; without a region: of what goes nowhere.
pub(super) type Parts = BTreeMap<Option<RegionId>, f64>;

/// About how much traffic would be where.
#[derive(Debug, Default)]
pub(super) struct Estimated {
    all: u64,
    to: Parts,
}

impl Estimated {
    /// This, and so much more in these proportions.
    pub(super) fn and(mut self, number: u64, parts: &Parts) -> Self {
        let whole: f64 = parts.values().sum();
        if whole > 0.0 {
            self.all += number;
            let number = f64::from(u32::try_from(number).unwrap_or(u32::MAX));
            for (to, part) in parts {
                *self.to.entry(*to).or_default() += number * part / whole;
            }
        }
        self
    }

    /// In whole numbers, of which the sum is what there is: those that lose most when they are rounded down are rounded up.
    fn in_whole(&self) -> BTreeMap<Option<RegionId>, u64> {
        let mut whole: BTreeMap<_, u64> =
            self.to.iter().map(|(to, of)| (*to, floor(*of))).collect();
        let missing = self.all.saturating_sub(whole.values().sum());
        let mut rounded_down: Vec<_> = self.to.iter().map(|(to, of)| (of.fract(), *to)).collect();
        rounded_down.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let missing = usize::try_from(missing).unwrap_or(usize::MAX);
        for (_, to) in rounded_down.into_iter().take(missing) {
            *whole.entry(to).or_default() += 1;
        }
        whole
    }

    /// As a dry run tells it, beside how many there were in all.
    pub(super) fn told(
        &self,
        from: RegionId,
        name: &impl Fn(RegionId) -> String,
        (what, all): (&str, u64),
    ) -> Value {
        let mut moved = self.in_whole();
        moved.remove(&Some(from));
        moved.retain(|_, number| *number > 0);
        let each = moved.iter();
        let each: Vec<Value> = each
            .map(|(to, number)| json!({ "region": to.map(name), "estimate": number }))
            .collect();
        json!({ what: all, "move": moved.values().sum::<u64>(), "to": each })
    }
}

/// The whole number that is not above it.
fn floor(number: f64) -> u64 {
    Duration::try_from_secs_f64(number).map_or(0, |whole| whole.as_secs())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::Id;

    fn parts(parts: &[f64]) -> Parts {
        let each = parts.iter().enumerate();
        each.map(|(at, part)| (Some(RegionId::at(at)), *part))
            .collect()
    }

    #[test]
    fn who_stays_does_not_move() {
        let estimated = Estimated::default().and(10, &parts(&[1.0, 4.0]));
        let told = estimated.told(RegionId::at(1), &|_| "a".to_owned(), ("requests", 30));
        let to = json!([{ "region": "a", "estimate": 2 }]);
        assert_eq!(told, json!({ "requests": 30, "move": 2, "to": to }));
    }

    proptest! {
        #[test]
        fn whole_numbers_add_up_and_none_is_off_by_one(
            reads in (0_u64..10_000, prop::collection::vec(0.0_f64..1.0, 1..9)),
            writes in (0_u64..10_000, prop::collection::vec(0.0_f64..1.0, 1..9)),
        ) {
            let of = [reads, writes].map(|(number, of)| (number, parts(&of)));
            let estimated = of.iter().fold(Estimated::default(), |sum, (number, parts)| sum.and(*number, parts));
            let whole = estimated.in_whole();
            let is_known = |parts: &Parts| parts.values().any(|part| *part > 0.0);
            let all: u64 = of.iter().filter(|(_, parts)| is_known(parts)).map(|(number, _)| number).sum();
            prop_assert_eq!(whole.values().sum::<u64>(), all);
            for (to, exact) in &estimated.to {
                prop_assert!((whole[to] as f64 - exact).abs() < 1.0 + 1e-6);
            }
        }
    }
}
