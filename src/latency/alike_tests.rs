use proptest::prelude::*;

use super::*;
use crate::latency::Source;

const ENOUGH: Enough = Enough {
    samples: 5,
    sources: 3,
    off: &[],
};

/// `network` has measured regions `a`, `b`, ... in this order; NaN: not.
fn measured(network: &str, all_ms: &[f64]) -> Vec<Row> {
    let regions = ["a", "b", "c", "d", "e"].into_iter().zip(all_ms);
    let rows = regions
        .filter(|(_, ms)| !ms.is_nan())
        .map(|(region, ms)| Row {
            network: network.parse().unwrap(),
            region: region.into(),
            measurement: Measurement {
                ms: *ms,
                samples: None,
                at_ms: 0,
                source: Source::Import,
                trust: 1.0,
                networks: None,
            },
        });
    rows.collect()
}

/// Whatever begins with 10.9 is Irish, all else Dutch; 20.0.0.0/8 is of one system.
fn above(address: IpAddr) -> Above {
    let is = |begins: &str| address.to_string().starts_with(begins);
    let country = if is("10.9.") { "IE" } else { "NL" };
    (is("20.").then_some(20), country.parse().ok())
}

/// What comes out of `networks`, such as `10.1.9.0/24 d 44`.
#[track_caller]
fn check(networks: &[(&str, &[f64])], expected: &[&str]) {
    let rows: Vec<Row> = networks
        .iter()
        .flat_map(|(n, ms)| measured(n, ms))
        .collect();
    let found: Vec<String> = alike(&rows, ENOUGH, above)
        .into_iter()
        .map(|row| format!("{} {} {:.0}", row.network, row.region, row.measurement.ms))
        .collect();
    assert_eq!(found, expected);
}

const NONE: f64 = f64::NAN;

/// Three at one place in the west and three in the east of the country: `d` is near the west.
const TWO_SIDES: [(&str, &[f64]); 6] = [
    ("10.11.1.0/24", &[10.0, 50.0, 90.0, 20.0]),
    ("10.12.1.0/24", &[11.0, 51.0, 91.0, 22.0]),
    ("10.13.1.0/24", &[12.0, 52.0, 92.0, 24.0]),
    ("10.21.1.0/24", &[60.0, 20.0, 90.0, 80.0]),
    ("10.22.1.0/24", &[61.0, 20.0, 91.0, 81.0]),
    ("10.23.1.0/24", &[62.0, 21.0, 92.0, 83.0]),
];

#[test]
fn a_region_that_was_not_measured_is_as_far_as_for_those_whose_other_round_trips_are_alike() {
    let with = |ms: &'static [f64]| [&TWO_SIDES[..], &[("10.3.1.0/24", ms)]].concat();
    check(&with(&[10.0, 50.0, 90.0, NONE]), &["10.3.1.0/24 d 21"]);
    check(&with(&[61.0, 20.0, 91.0, NONE]), &["10.3.1.0/24 d 81"]);
}

#[test]
fn a_slower_line_is_as_much_slower_to_every_region() {
    let slow = ("10.3.1.0/24", &[40.0, 80.0, 120.0, NONE][..]);
    check(&[&TWO_SIDES[..], &[slow]].concat(), &["10.3.1.0/24 d 51"]);
}

#[test]
fn who_is_like_nobody_or_has_measured_two_regions_alone_is_left_to_its_neighbors() {
    let with = |ms: &'static [f64]| [&TWO_SIDES[..], &[("10.3.1.0/24", ms)]].concat();
    check(&with(&[30.0, 30.0, 90.0, NONE]), &[]);
    check(&with(&[10.0, 50.0, NONE, NONE]), &[]);
}

#[test]
fn two_that_are_alike_are_too_few_and_those_of_another_country_do_not_count() {
    let it = ("10.3.1.0/24", &[10.0, 50.0, 90.0, NONE][..]);
    check(&[&TWO_SIDES[1..], &[it]].concat(), &[]);
    let abroad = ("10.9.1.0/24", it.1);
    check(&[&TWO_SIDES[..], &[abroad]].concat(), &[]);
}

#[test]
fn what_is_measured_of_the_network_around_comes_first() {
    let around = ("10.3.0.0/16", &[NONE, NONE, NONE, 70.0][..]);
    let it = ("10.3.1.0/24", &[10.0, 50.0, 90.0, NONE][..]);
    check(&[&TWO_SIDES[..], &[around, it]].concat(), &[]);
}

proptest! {
    /// Whoever lies about a region moves nobody while as many networks that are alike tell the truth, and one more.
    #[test]
    fn fewer_liars_than_honest_networks_move_nobody(
        honest in prop::collection::vec(20.0..24.0, 3..6),
        lies in prop::collection::vec(1.0..2_000.0, 1..5),
    ) {
        let liars = lies.into_iter().take((MOST_ASKED - honest.len()).min(honest.len() - 1));
        let all: Vec<f64> = honest.iter().copied().chain(liars).collect();
        let mut rows = measured("10.3.1.0/24", &[10.0, 50.0, 90.0, NONE]);
        for (number, ms) in (0_u8..).zip(&all) {
            rows.extend(measured(&format!("10.1{number}.1.0/24"), &[10.0, 50.0, 90.0, *ms]));
        }
        for row in alike(&rows, ENOUGH, above) {
            prop_assert!((20.0..24.0).contains(&row.measurement.ms), "{row:?}");
        }
    }

    /// A figure is never made for what is measured, and always is a round trip that a line explains.
    #[test]
    fn what_is_measured_stands(all in prop::collection::vec(prop::collection::vec(prop_oneof![1.0..300.0, Just(NONE)], 5), 1..12)) {
        let mut rows = Vec::new();
        for (number, ms) in (0_u8..).zip(&all) {
            rows.extend(measured(&format!("10.1{number}.1.0/24"), ms));
        }
        for made in alike(&rows, ENOUGH, above) {
            prop_assert!(made.measurement.ms > 0.0);
            prop_assert!(rows.iter().all(|row| (row.network, &row.region) != (made.network, &made.region)));
        }
    }
}

/// So many networks that are alike, of a block each, with this figure for `d`.
fn crowd(first: u8, count: u8, ms: f64) -> Vec<Row> {
    let network = |number| format!("{first}.{number}.0.0/24");
    let each = (0..count).map(|number| measured(&network(number), &[10.0, 50.0, 90.0, ms]));
    each.flatten().collect()
}

#[test]
fn a_network_is_compared_with_512_others() {
    let made = |count: usize| {
        // Those that have measured one region more come first, and are like nobody.
        let mut rows: Vec<Row> = (0..count)
            .flat_map(|n| {
                measured(
                    &format!("{}.{}.0.0/24", 100 + n / 256, n % 256),
                    &[500.0, 5.0, 5.0, 5.0, 5.0],
                )
            })
            .collect();
        rows.extend(crowd(11, 3, 20.0));
        rows.extend(measured("10.3.1.0/24", &[10.0, 50.0, 90.0, NONE]));
        let all = alike(&rows, ENOUGH, above);
        all.iter()
            .any(|row| row.network.to_string() == "10.3.1.0/24")
    };
    assert!(made(MOST_COMPARED - 3));
    assert!(
        !made(MOST_COMPARED - 2),
        "two that are alike are left of three"
    );
}

#[test]
fn eight_that_are_alike_are_asked() {
    let mut rows = crowd(11, 20, 20.0);
    rows.extend(measured("10.3.1.0/24", &[10.0, 50.0, 90.0, NONE]));
    let made = alike(&rows, ENOUGH, above);
    assert_eq!(made.len(), 1);
    assert_eq!(made[0].measurement.networks, Some(Networks::Alike(8)));
}

/// What a network that is like all of these is said to have for `d`, ms.
fn told(network: &str, others: &[Row]) -> Option<f64> {
    let own = measured(network, &[10.0, 50.0, 90.0, NONE]);
    let made = alike(&[others, &own].concat(), ENOUGH, above);
    let of_it = made
        .iter()
        .find(|row| row.network == own[0].network && &*row.region == "d");
    of_it.map(|row| row.measurement.ms)
}

#[test]
fn many_networks_of_one_block_have_one_vote() {
    let likest = |number: u8| measured(&format!("11.1.{number}.0/24"), &[10.0, 50.0, 90.0, 5.0]);
    let liars: Vec<Row> = (0..200).flat_map(likest).collect();
    assert_eq!(told("10.3.1.0/24", &liars), None);
    let honest = measured("12.1.1.0/24", &[11.0, 50.0, 90.0, 20.0]);
    let other = measured("12.2.1.0/24", &[11.0, 50.0, 90.0, 22.0]);
    let all = [&liars[..], &honest, &other].concat();
    assert_eq!(told("10.3.1.0/24", &all), Some(20.0));
}

#[test]
fn networks_of_one_block_leave_room_for_others_to_be_compared_with() {
    let most = |number: u16| {
        measured(
            &format!("2a01:0:{number:x}::/48"),
            &[500.0, 5.0, 5.0, 5.0, 5.0],
        )
    };
    let mut rows: Vec<Row> = (0..600).flat_map(most).collect();
    for number in 1..=3 {
        let network = format!("2a0{}::/48", number + 1);
        rows.extend(measured(&network, &[10.0, 50.0, 90.0, 20.0]));
    }
    assert_eq!(told("2a09::/48", &rows), Some(20.0));
}

#[test]
fn ipv6_is_like_no_ipv4() {
    let v6 = |number: u8| measured(&format!("2a0{number}::/48"), &[10.0, 50.0, 90.0, 5.0]);
    let others: Vec<Row> = (1..9).flat_map(v6).collect();
    assert_eq!(told("10.3.1.0/24", &others), None);
    assert_eq!(told("2a09::/48", &others), Some(5.0));
}

#[test]
fn another_system_has_two_votes_of_eight_and_one_s_own_has_all() {
    let liars = crowd(20, 9, 5.0);
    let honest = |number: u8| measured(&format!("12.{number}.1.0/24"), &[11.0, 50.0, 90.0, 20.0]);
    let others: Vec<Row> = (0..3).flat_map(honest).collect();
    let all = [&liars[..], &others].concat();
    assert_eq!(told("10.3.1.0/24", &all), Some(20.0));
    assert_eq!(told("20.99.1.0/24", &all), Some(5.0));
}
