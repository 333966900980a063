//! Whether a service can do without an origin that traffic speaks against.
//!
//! Pure. When an edge's own uplink fails, every origin seems to: so whatever traffic shows, it takes out no more than
//! half of a service, nobody while most others fail as well, and never the last region. Nor does it where origins shed load:
//! those that are left would have to bear all of it.

use super::machine::Verdict;
use super::passive::{Cause, Lately, Word};
use super::region::{Health, of_targets};

/// An origin of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginStanding {
    /// What its probes say.
    pub probed: Verdict,
    /// Whether it is ejected.
    pub ejected: bool,
    /// How its requests have gone lately.
    pub lately: Lately,
}

/// A region of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionStanding {
    /// Its origins.
    pub origins: Vec<OriginStanding>,
    /// Origins that must be healthy for it to be.
    pub min_healthy: u16,
    /// Whether it is not drained.
    pub enabled: bool,
    /// What an operator says of its health, whatever else does.
    pub forced: Option<Health>,
}

/// Why an origin stays although traffic speaks against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spared {
    /// No region would be left.
    LastRegion,
    /// More than half of the regions or origins would be out.
    HalfIsOut,
    /// Most other regions fail too: it must be the edge.
    OthersFailToo,
}

impl Spared {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::LastRegion, Self::HalfIsOut, Self::OthersFailToo];

    /// As the metrics call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LastRegion => "last_region",
            Self::HalfIsOut => "half_is_out",
            Self::OthersFailToo => "others_fail_too",
        }
    }
}

impl std::fmt::Display for Spared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::LastRegion => "no other region is able",
            Self::HalfIsOut => "more than half of the service would be out",
            Self::OthersFailToo => "most other regions fail too, so it may be this edge",
        })
    }
}

impl RegionStanding {
    fn probed(&self) -> Health {
        of_targets(self.origins.iter().map(|o| o.probed), self.min_healthy)
    }

    /// With ejections.
    fn health(&self) -> Health {
        let verdicts = self.origins.iter().map(|origin| match origin.ejected {
            true => Verdict::Unhealthy,
            false => origin.probed,
        });
        of_targets(verdicts, self.min_healthy)
    }

    /// Whether it is traffic alone that takes it out.
    fn is_out(&self) -> bool {
        self.forced.is_none() && self.probed().is_able() && !self.health().is_able()
    }

    /// Whether it is there for clients.
    fn is_left(&self) -> bool {
        self.enabled && self.forced.unwrap_or_else(|| self.health()).is_able()
    }

    /// How its requests have gone lately: it fails only if all its origins that got any do.
    fn lately(&self) -> Lately {
        let seen = || {
            let lately = self.origins.iter().map(|origin| origin.lately);
            lately.filter(|lately| *lately != Lately::Quiet)
        };
        match (
            seen().count(),
            seen().all(|lately| lately == Lately::Failing),
        ) {
            (0, _) => Lately::Quiet,
            (_, true) => Lately::Failing,
            (_, false) => Lately::Fine,
        }
    }
}

/// Whether an origin, by region and place in it, may be ejected from a service for this cause. One that asks to be drained
/// is, unless it is in the last region; one that has too much to do cannot be this edge's fault.
pub fn may_eject(
    regions: &[RegionStanding],
    (region, origin): (usize, usize),
    cause: Cause,
) -> Result<(), Spared> {
    let mut after = regions.to_vec();
    if let Some(origin) = after
        .get_mut(region)
        .and_then(|r| r.origins.get_mut(origin))
    {
        origin.ejected = true;
    }
    let falls = after.get(region).is_some_and(RegionStanding::is_out);
    if falls && !after.iter().any(RegionStanding::is_left) {
        return Err(Spared::LastRegion);
    }
    if matches!(cause, Cause::Word(Word::Drain(_))) {
        return Ok(());
    }
    let regions_out = after.iter().filter(|r| r.is_out()).count();
    if falls && regions_out * 2 > after.len() {
        return Err(Spared::HalfIsOut);
    }
    let origins = || after.iter().flat_map(|region| &region.origins);
    if origins().filter(|o| o.ejected).count() > origins().count().div_ceil(2) {
        return Err(Spared::HalfIsOut);
    }
    if matches!(cause, Cause::Word(Word::RetryAfter(_))) {
        return Ok(());
    }
    let others = || {
        let others = after.iter().enumerate().filter(|(at, _)| *at != region);
        others.map(|(_, other)| other.lately())
    };
    let failing = others().filter(|lately| *lately == Lately::Failing).count();
    let quiet = others().filter(|lately| *lately == Lately::Quiet).count();
    if failing * 2 > others().count() - quiet {
        return Err(Spared::OthersFailToo);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const FAILED: Cause = Cause::InARow(7);
    const ASKED: Cause = Cause::Word(Word::Drain(Duration::from_secs(30)));
    const SHED: Cause = Cause::Word(Word::RetryAfter(Duration::from_secs(30)));

    /// Regions by blanks, a letter for each origin: `.` fine, `-` quiet, `f` failing, `e` ejected, `u` unhealthy by
    /// its probes; `!` before a region: drained.
    fn service(text: &str) -> Vec<RegionStanding> {
        let origin = |letter: char| OriginStanding {
            probed: if letter == 'u' {
                Verdict::Unhealthy
            } else {
                Verdict::Healthy
            },
            ejected: letter == 'e',
            lately: match letter {
                'f' => Lately::Failing,
                '.' => Lately::Fine,
                _ => Lately::Quiet,
            },
        };
        text.split_whitespace()
            .map(|region| RegionStanding {
                origins: region
                    .trim_start_matches(['!', '^', 'v'])
                    .chars()
                    .map(origin)
                    .collect(),
                min_healthy: 1,
                enabled: !region.starts_with('!'),
                forced: match region.chars().next() {
                    Some('^') => Some(Health::Healthy),
                    Some('v') => Some(Health::Unhealthy),
                    _ => None,
                },
            })
            .collect()
    }

    /// Whether the first origin of the first region may be ejected.
    #[track_caller]
    fn check(text: &str, cause: Cause, expected: Result<(), Spared>) {
        assert_eq!(may_eject(&service(text), (0, 0), cause), expected, "{text}");
    }

    #[test]
    fn the_last_able_region_stays_whatever_it_says() {
        for cause in [FAILED, SHED, ASKED] {
            check("f", cause, Err(Spared::LastRegion));
            check("f u", cause, Err(Spared::LastRegion));
            check("f e", cause, Err(Spared::LastRegion));
            check("f !.", cause, Err(Spared::LastRegion));
            check("f .", cause, Ok(()));
        }
        check("f. u", FAILED, Ok(()));
    }

    #[test]
    fn what_an_operator_says_of_a_region_counts_and_not_its_probes() {
        check("f v.", FAILED, Err(Spared::LastRegion));
        check("f ^u", FAILED, Ok(()));
        check("^f u", FAILED, Ok(()));
    }

    #[test]
    fn traffic_takes_out_half_of_a_service_and_no_more() {
        for cause in [FAILED, SHED] {
            check("f e .", cause, Err(Spared::HalfIsOut));
            check("f e . .", cause, Ok(()));
            check("f.e", cause, Ok(()));
            check("f.ee", cause, Err(Spared::HalfIsOut));
        }
        check("f e .", ASKED, Ok(()));
    }

    #[test]
    fn nobody_is_ejected_while_most_others_fail_too() {
        check("f f", FAILED, Err(Spared::OthersFailToo));
        check("f f f .", FAILED, Err(Spared::OthersFailToo));
        check("f f -", FAILED, Err(Spared::OthersFailToo));
        check("f f .", FAILED, Ok(()));
        check("f f. f .", FAILED, Ok(()));
        check("f - -", FAILED, Ok(()));
        for cause in [SHED, ASKED] {
            check("f f", cause, Ok(()));
        }
    }

    #[test]
    fn a_region_that_is_out_already_loses_nothing() {
        check("u u .", FAILED, Ok(()));
        check("u u u", FAILED, Ok(()));
    }

    proptest! {
        #[test]
        fn whoever_asks_in_whatever_order_somebody_able_is_left_and_half_stay(
            sizes in prop::collection::vec(1_usize..4, 1..6),
            asks in prop::collection::vec((0_usize..6, 0_usize..4, any::<bool>()), 0..40),
        ) {
            let text: Vec<String> = sizes.iter().map(|size| ".".repeat(*size)).collect();
            let mut regions = service(&text.join(" "));
            let mut failed = 0;
            for (region, origin, has_failed) in asks {
                let (region, cause) = (region % regions.len(), if has_failed { FAILED } else { ASKED });
                let origin = origin % regions[region].origins.len();
                let before = regions[region].origins[origin].ejected;
                if !before && may_eject(&regions, (region, origin), cause).is_ok() {
                    regions[region].origins[origin].ejected = true;
                    failed += usize::from(has_failed);
                }
            }
            prop_assert!(regions.iter().any(|region| region.health().is_able()));
            let all: usize = sizes.iter().sum();
            prop_assert!(failed <= all.div_ceil(2));
        }
    }
}
