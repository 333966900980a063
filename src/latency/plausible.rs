//! What no round trip can be: quicker than light in fibre between places that are known.
//!
//! Pure. Two regions are known places, and whoever measures to both stands between them: a signal from
//! one by way of the client to the other takes half of both round trips, and goes at least the great
//! circle. That bound needs no geography of the client, which is often wrong by a country.
//! Where a geography database puts the client is a second bound, with room for how wrong it may be.

use super::measurement::is_round_trip;
use crate::earth::{Country, GeoPoint};

/// Light in fibre goes 200 km in a ms (group index 1.47), so that a round trip takes 1 ms for 100 km.
const KM_PER_ROUND_TRIP_MS: f64 = 100.0;

/// How far a client may be from where the geography database puts it, km: from the main city of nearly every country to
/// its ends (Santiago to Easter Island is 3,760 km).
const MISPLACED_KM: f64 = 4_000.0;

/// The countries whose ends are farther, km: New York to Honolulu, Moscow to Petropavlovsk-Kamchatsky.
const WIDE: [(&str, f64); 2] = [("US", 8_000.0), ("RU", 6_800.0)];

/// Where a client is, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Whereabouts {
    point: GeoPoint,
    /// How far from there it may be.
    within_km: f64,
}

impl Whereabouts {
    /// Of a client that a geography database has at this point, in this country.
    pub fn new(point: GeoPoint, country: Option<Country>) -> Self {
        let wide = WIDE
            .iter()
            .find(|(code, _)| country.is_some_and(|c| c.as_str() == *code));
        Self {
            point,
            within_km: wide.map_or(MISPLACED_KM, |(_, km)| *km),
        }
    }

    /// Whether it can reach `there` in this time.
    pub fn reaches(self, there: GeoPoint, ms: f64) -> bool {
        ms * KM_PER_ROUND_TRIP_MS >= self.point.distance_km(there) - self.within_km
    }
}

/// What round trips from one client to two places take together at least, ms.
pub fn least_together_ms(a: GeoPoint, b: GeoPoint) -> f64 {
    a.distance_km(b) / KM_PER_ROUND_TRIP_MS
}

/// Whether round trips from one client to two places can both be true.
pub fn go_together(a: (GeoPoint, f64), b: (GeoPoint, f64)) -> bool {
    a.1 + b.1 >= least_together_ms(a.0, b.0)
}

/// Whether a client's round trips, to places where they are known, can all be true.
pub fn all_plausible(here: Option<Whereabouts>, round_trips: &[(Option<GeoPoint>, f64)]) -> bool {
    let placed = || {
        let placed = round_trips.iter();
        placed.filter_map(|(there, ms)| Some(((*there)?, *ms)))
    };
    round_trips.iter().all(|(_, ms)| is_round_trip(*ms))
        && placed().all(|(there, ms)| here.is_none_or(|here| here.reaches(there, ms)))
        && placed().all(|a| placed().all(|b| go_together(a, b)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn point(lat: f64, lon: f64) -> GeoPoint {
        GeoPoint::new(lat, lon).unwrap()
    }

    #[test]
    fn nobody_is_near_virginia_and_tokyo() {
        let (virginia, tokyo) = (point(38.95, -77.45), point(35.62, 139.78));
        assert!(!go_together((virginia, 20.0), (tokyo, 30.0)));
        assert!(go_together((virginia, 150.0), (tokyo, 5.0)));
        let both = [(Some(virginia), 20.0), (Some(tokyo), 30.0)];
        assert!(!all_plausible(None, &both));
        assert!(all_plausible(None, &[(None, 20.0), (Some(tokyo), 30.0)]));
    }

    #[test]
    fn a_client_is_not_where_light_has_not_come_from() {
        let (virginia, tokyo) = (point(38.95, -77.45), point(35.62, 139.78));
        let here = Whereabouts::new(tokyo, None);
        assert!(!here.reaches(virginia, 20.0));
        assert!(here.reaches(virginia, 150.0));
        assert!(!all_plausible(Some(here), &[(Some(virginia), 20.0)]));
    }

    #[test]
    fn a_client_may_be_at_any_end_of_its_country() {
        let (tokyo, new_york, moscow) = (
            point(35.65, 139.74),
            point(40.71, -74.01),
            point(55.76, 37.62),
        );
        let is_possible = |main_city: GeoPoint, country: &str, end: (f64, f64), km_of_line: f64| {
            let here = Whereabouts::new(main_city, country.parse().ok());
            let end = point(end.0, end.1);
            here.reaches(
                tokyo,
                (end.distance_km(tokyo) + km_of_line) / KM_PER_ROUND_TRIP_MS,
            )
        };
        assert!(
            is_possible(moscow, "RU", (43.12, 131.89), 0.0),
            "Vladivostok"
        );
        assert!(
            is_possible(new_york, "US", (21.31, -157.86), 0.0),
            "Honolulu"
        );
        assert!(!is_possible(moscow, "UA", (43.12, 131.89), 0.0));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for ms in [0.0, -1.0, f64::NAN, f64::INFINITY, 2_000.1] {
            assert!(!all_plausible(None, &[(None, ms)]), "{ms}");
        }
        assert!(all_plausible(None, &[(None, 2_000.0)]));
    }

    fn anywhere() -> impl Strategy<Value = GeoPoint> {
        (-90.0..=90.0, -180.0..=180.0).prop_map(|(lat, lon)| point(lat, lon))
    }

    proptest! {
        /// Whatever is slower than light, from wherever the client is, is never refused.
        #[test]
        fn what_light_allows_is_plausible(
            client in anywhere(),
            regions in prop::collection::vec((anywhere(), 1.0..3.0), 1..5),
        ) {
            let round_trips: Vec<_> = regions
                .into_iter()
                .map(|(region, detour)| (Some(region), client.distance_km(region) / 100.0 * detour + 0.1))
                .collect();
            prop_assert!(all_plausible(Some(Whereabouts::new(client, None)), &round_trips));
        }
    }
}
