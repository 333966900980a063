use proptest::prelude::*;

use super::super::measurement::Source;
use super::*;

const ENOUGH: Enough = Enough {
    samples: 6,
    sources: 3,
    off: &[],
};

fn row(network: &str, ms: f64, samples: Option<u32>) -> Row {
    Row {
        network: network.parse().unwrap(),
        region: "r".into(),
        measurement: Measurement {
            ms,
            samples,
            at_ms: 0,
            source: Source::Import,
            trust: 1.0,
            networks: None,
        },
    }
}

fn rows(networks: &[(&str, f64)]) -> Vec<Row> {
    let rows = networks.iter().map(|(network, ms)| row(network, *ms, None));
    rows.collect()
}

/// All is Dutch, and nobody knows of which system.
fn dutch(_: IpAddr) -> Above {
    (None, "NL".parse().ok())
}

/// All is Dutch, and each /8 of IPv4 is a system.
fn systems(address: IpAddr) -> Above {
    let first = match address {
        IpAddr::V4(address) => Some(u32::from(address.octets()[0])),
        IpAddr::V6(_) => None,
    };
    (first, "NL".parse().ok())
}

/// What is shown, but for wide blocks, in the order of its text.
#[track_caller]
fn check(rows: &[Row], above: impl Fn(IpAddr) -> Above, expected: &[(&str, f64)]) {
    let shown = together(rows, ENOUGH, above).into_iter();
    let narrow = shown.filter(|row| !matches!(row.network, Network::Prefix(p) if is_wide(p)));
    let mut found: Vec<(String, f64)> = narrow
        .map(|row| (row.network.to_string(), row.measurement.ms))
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let expected: Vec<_> = expected
        .iter()
        .map(|(n, ms)| ((*n).to_owned(), *ms))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn three_networks_show_what_their_neighbors_and_their_system_are_like() {
    let rows = rows(&[
        ("10.1.1.0/24", 20.0),
        ("10.1.2.0/24", 900.0),
        ("10.1.3.0/25", 22.0),
    ]);
    check(&rows, systems, &[("10.1.0.0/16", 22.0), ("AS10", 22.0)]);
    check(&rows[1..], systems, &[]);
}

#[test]
fn three_holders_show_what_a_country_is_like_however_many_networks_they_have() {
    let crowd = |n: u8| (format!("10.1.{n}.0/24"), 300.0);
    let mut all: Vec<(String, f64)> = (0..100).map(crowd).collect();
    all.push(("11.1.1.0/24".to_owned(), 20.0));
    let of = |all: &[(String, f64)]| -> Vec<Row> {
        all.iter().map(|(n, ms)| row(n, *ms, None)).collect()
    };
    for above in [dutch, systems] {
        let shown = together(&of(&all), ENOUGH, above);
        assert!(!shown.iter().any(|row| row.network.to_string() == "NL"));
    }
    all.push(("12.1.1.0/24".to_owned(), 22.0));
    for above in [dutch, systems] {
        let shown = together(&of(&all), ENOUGH, above);
        let country = shown.iter().find(|row| row.network.to_string() == "NL");
        assert_eq!(country.unwrap().measurement.ms, 22.0);
    }
}

#[test]
fn ipv6_says_nothing_of_ipv4_nor_the_other_way_round() {
    let networks: Vec<String> = (1..=3)
        .flat_map(|n| [format!("10.{n}.0.0/24"), format!("2a0{n}::/48")])
        .collect();
    let of = |network: &String| if network.contains(':') { 9.0 } else { 90.0 };
    let rows: Vec<Row> = networks.iter().map(|n| row(n, of(n), None)).collect();
    let above = |_: IpAddr| (Some(1), "NL".parse().ok());
    let shown = together(&rows, ENOUGH, above).into_iter();
    let mut shown: Vec<(String, IpVersion, f64)> = shown
        .filter_map(|row| match row.measurement.networks? {
            Networks::Within(version, 3) => Some((row, version)),
            Networks::Within(..) | Networks::Alike(_) => None,
        })
        .filter(|(row, _)| row.network == Network::Asn(1))
        .map(|(row, version)| (row.network.to_string(), version, row.measurement.ms))
        .collect();
    shown.sort_by_key(|(_, version, _)| *version);
    let expected = [(IpVersion::V4, 90.0), (IpVersion::V6, 9.0)];
    assert_eq!(shown, expected.map(|(v, ms)| ("AS1".to_owned(), v, ms)));
}

#[test]
fn all_that_a_registry_gives_to_one_holder_of_ipv6_has_one_vote() {
    // A /29 and its /48s, and two others.
    let mut networks: Vec<(String, f64)> = (0..8)
        .flat_map(|n| (0..30).map(move |m| (format!("2a01:{n:x}:{m:x}::/48"), 300.0)))
        .collect();
    networks.push(("2a02::/48".to_owned(), 20.0));
    networks.push(("2a03::/48".to_owned(), 22.0));
    let rows: Vec<Row> = networks.iter().map(|(n, ms)| row(n, *ms, None)).collect();
    check(&rows, dutch, &[("NL", 22.0)]);
}

#[test]
fn a_customer_s_part_of_a_block_of_ipv6_has_one_vote_in_it() {
    let network = |n: u8| format!("2a01:0:{n:x}::/48");
    let of_one: Vec<Row> = (0..=255).map(|n| row(&network(n), 300.0, None)).collect();
    check(&of_one, dutch, &[]);
    let mut all = of_one;
    all.extend(rows(&[
        ("2a01:0:100::/48", 20.0),
        ("2a01:0:200::/48", 22.0),
    ]));
    check(&all, dutch, &[("2a01::/32", 22.0)]);
}

#[test]
fn a_system_has_a_quarter_of_the_votes_of_its_country_at_most() {
    // Twenty blocks of one system, and one of each of five others.
    let mut networks: Vec<(String, f64)> =
        (0..20).map(|n| (format!("10.{n}.0.0/24"), 300.0)).collect();
    networks.extend((11..16).map(|n| (format!("{n}.0.0.0/24"), f64::from(n))));
    let rows: Vec<Row> = networks.iter().map(|(n, ms)| row(n, *ms, None)).collect();
    let shown = together(&rows, ENOUGH, systems);
    let country = shown.iter().find(|row| row.network.to_string() == "NL");
    let figure = country.unwrap().measurement;
    assert_eq!(figure.ms, 14.0, "of 11, 12, 13, 14, 15 and 300");
    assert_eq!(figure.networks, Some(Networks::Within(IpVersion::V4, 25)));
    assert_eq!(heaviest([20, 1, 1, 1, 1, 1].into_iter()), 1);
    assert_eq!(heaviest([20, 6, 6, 6].into_iter()), 6);
    assert_eq!(
        heaviest([9, 9, 9].into_iter()),
        1,
        "a quarter of three there is not"
    );
}

#[test]
fn samples_count_where_they_are_counted() {
    let rows = |each| [1, 2, 3].map(|n| row(&format!("10.1.{n}.0/24"), 20.0, Some(each)));
    check(&rows(1), systems, &[]);
    check(&rows(2), systems, &[("10.1.0.0/16", 20.0), ("AS10", 20.0)]);
}

#[test]
fn a_block_of_several_systems_shows_nothing_of_its_other_pieces() {
    let pieces = |address: IpAddr| {
        let is_first = address.to_string() == "10.1.1.0";
        (Some(u32::from(is_first)), None)
    };
    let rows = [1, 2, 3, 4].map(|n| row(&format!("10.1.{n}.0/24"), 20.0, None));
    check(&rows, pieces, &[("AS0", 20.0)]);
}

#[test]
fn one_address_of_another_system_takes_no_figure_away_from_a_block() {
    let mut votes = Votes::default();
    let region: Arc<str> = "r".into();
    for (network, asn, sources) in [
        ("10.1.1.0/24", 1, 3),
        ("10.1.2.0/24", 1, 3),
        ("10.1.3.0/24", 1, 3),
        ("10.1.4.0/24", 2, 1),
    ] {
        let samples = Some(2 * u32::try_from(sources).unwrap());
        let vote = Vote {
            prefix: network.parse().unwrap(),
            above: (Some(asn), None),
            measurement: row(network, 20.0, samples).measurement,
            sources: Some(sources),
        };
        votes.add(&region, vote);
    }
    let block = Network::Prefix("10.1.0.0/16".parse().unwrap());
    let mut found = votes.count(ENOUGH).map(|((network, ..), _)| network);
    assert!(found.any(|network| network == block));
}

#[test]
fn wide_blocks_are_shown_by_all_holders_that_are_measured_in_them() {
    let rows = rows(&[
        ("10.1.1.0/24", 20.0),
        ("10.2.1.0/24", 30.0),
        ("10.99.1.0/24", 40.0),
    ]);
    let of_first = |address: IpAddr| {
        let is_first = address.to_string() == "10.1.1.0";
        (is_first.then_some(1), None)
    };
    let found = together(&rows, ENOUGH, of_first);
    let found: Vec<(String, f64)> = found
        .into_iter()
        .map(|row| (row.network.to_string(), row.measurement.ms))
        .collect();
    assert_eq!(found, [("10.0.0.0/8".to_owned(), 30.0)]);
}

#[test]
fn a_network_as_wide_as_a_block_says_nothing_of_itself() {
    let rows = rows(&[("10.1.0.0/16", 20.0), ("10.0.0.0/8", 20.0)]);
    check(&rows, systems, &[]);
}

proptest! {
    /// While most holders tell the truth nobody is moved out of its range, however many networks the others have.
    #[test]
    fn fewer_liars_than_honest_holders_move_nobody(
        honest in prop::collection::vec(10.0..20.0, 2..20),
        lies in prop::collection::vec((0.1..2_000.0, 1_u8..20), 1..20),
    ) {
        let holder = |n: usize, each: u8, ms: f64| {
            (0..each).map(move |m| row(&format!("{}.1.{m}.0/24", n + 1), ms, None))
        };
        let liars = honest.len() - 1;
        let mut rows: Vec<Row> = honest.iter().enumerate().flat_map(|(n, ms)| holder(n, 1, *ms)).collect();
        let lies = lies.into_iter().take(liars).enumerate();
        rows.extend(lies.flat_map(|(n, (ms, each))| holder(n + 100, each, ms)));
        for above in [dutch, systems] {
            for row in together(&rows, ENOUGH, above) {
                if matches!(row.network, Network::Country(_)) {
                    prop_assert!((10.0..20.0).contains(&row.measurement.ms));
                }
            }
        }
    }

    /// A vote weighs no more than a quarter of all, if it can.
    #[test]
    fn no_vote_is_too_heavy(weights in prop::collection::vec(1_u64..500, 4..40)) {
        let most = heaviest(weights.iter().copied());
        let all: u64 = weights.iter().map(|weight| *weight.min(&most)).sum();
        prop_assert!(most >= 1 && most * LARGEST_SHARE <= all);
        let more: u64 = weights.iter().map(|weight| *weight.min(&(most + 1))).sum();
        let largest = weights.iter().max().unwrap();
        prop_assert!(*largest <= most || (most + 1) * LARGEST_SHARE > more);
    }
}
