use proptest::prelude::*;

use super::super::nearness::NEAR_MS;
use super::super::settled::LASTING_MS;
use super::*;

const ENOUGH: Enough = Enough {
    samples: 6,
    sources: 3,
    off: &[],
};

const MINUTE: u64 = 60_000;

fn sample(client: &str, region: &str, ms: f64) -> Sample {
    Sample {
        client: client.parse().unwrap(),
        region: region.into(),
        ms,
        source: Source::Connections,
    }
}

/// Every address of 192.0.2.0/24 is of AS 1 and NL, as is 198.51.100.0/24 and whatever begins with 10.
fn above(address: IpAddr) -> Above {
    match address {
        IpAddr::V4(_) => (Some(1), "NL".parse().ok()),
        IpAddr::V6(_) => (None, None),
    }
}

/// Of regions that nobody has placed.
fn nowhere(_: &str) -> Option<GeoPoint> {
    None
}

/// Takes in `rounds` samples of each of `hosts` in a network, a minute apart.
fn feed(samples: &mut Samples, network: &str, hosts: u64, rounds: u64, ms: f64, from_ms: u64) {
    for round in 0..rounds {
        for host in 0..hosts {
            let taken = samples.take(
                &sample(&format!("{network}.{host}"), "r", ms),
                host,
                from_ms + round * MINUTE,
            );
            assert_eq!(taken, Taken::Counted);
        }
    }
}

fn rows(samples: &mut Samples, now_ms: u64) -> Vec<(String, f64)> {
    let figures = samples.settle(ENOUGH, now_ms, above, nowhere);
    let rows = figures.rows.into_iter();
    rows.map(|row| (row.network.to_string(), row.measurement.ms))
        .collect()
}

#[test]
fn whichever_way_the_clock_is_set_what_is_known_is_as_old_as_it_was_and_gives_way_no_sooner() {
    const DAY: i64 = 24 * 60 * 60_000;
    for by_ms in [-DAY, 3 * 60_000, 2 * DAY] {
        let mut samples = Samples::default();
        let began_ms: u64 = 100 * 24 * 60 * MINUTE;
        feed(&mut samples, "192.0.2", 3, 10, 20.0, began_ms);
        let mut now_ms = began_ms + 10 * MINUTE;
        rows(&mut samples, now_ms);
        feed(&mut samples, "192.0.2", 3, 20, 90.0, now_ms);
        now_ms += 20 * MINUTE;
        let in_force = [("192.0.2.0/24".to_owned(), 20.0)];
        assert_eq!(rows(&mut samples, now_ms), in_force);
        samples.shift(by_ms);
        now_ms = now_ms.saturating_add_signed(by_ms);
        assert_eq!(rows(&mut samples, now_ms), in_force, "{by_ms}");
        now_ms += LASTING_MS;
        feed(&mut samples, "192.0.2", 3, 1, 90.0, now_ms);
        let later = rows(&mut samples, now_ms);
        assert!(later[0].1 > 80.0, "{later:?}");
    }
}

#[test]
fn samples_of_a_clock_that_was_ahead_age_from_when_that_is_seen() {
    const YEAR: u64 = 365 * 24 * 60 * MINUTE;
    let mut samples = Samples::default();
    feed(&mut samples, "192.0.2", 3, 10, 20.0, YEAR);
    let trusts = |samples: &mut Samples, now_ms| {
        let rows = samples.settle(ENOUGH, now_ms, above, nowhere).rows;
        rows.into_iter()
            .map(|row| row.measurement.trust)
            .reduce(f64::max)
    };
    let seen = trusts(&mut samples, 10 * MINUTE);
    let later = trusts(&mut samples, YEAR / 2);
    assert_eq!(seen, Some(1.0));
    assert_eq!(later, None, "half a year later they count for nothing");
}

#[test]
fn a_network_counts_once_samples_and_sources_are_enough() {
    let mut samples = Samples::default();
    feed(&mut samples, "192.0.2", 2, 10, 20.0, 0);
    assert_eq!(rows(&mut samples, 10 * MINUTE), [], "two addresses");
    let mut samples = Samples::default();
    feed(&mut samples, "192.0.2", 3, 1, 20.0, 0);
    assert_eq!(rows(&mut samples, MINUTE), [], "three samples");
    feed(&mut samples, "192.0.2", 3, 1, 20.0, MINUTE);
    let expected = [("192.0.2.0/24".to_owned(), 20.0)];
    assert_eq!(rows(&mut samples, MINUTE), expected);
}

#[test]
fn what_is_measured_by_way_of_this_edge_goes_when_its_clients_have_moved_away_and_the_rest_stays() {
    let mut samples = Samples::default();
    let mut now_ms = 0;
    let mut round = |samples: &mut Samples, way_ms: f64| {
        now_ms += MINUTE;
        for host in 0..3 {
            let client: IpAddr = format!("192.0.2.{host}").parse().unwrap();
            samples.hear(client, host, way_ms, now_ms);
            let mut take = |region: &str, ms, source| {
                let sample = sample(&client.to_string(), region, ms);
                samples.take(&Sample { source, ..sample }, host, now_ms);
            };
            take("here", way_ms, Source::Connections);
            if way_ms <= NEAR_MS {
                take("there", way_ms + 90.0, Source::Edge);
            }
        }
        let figures = samples.settle(ENOUGH, now_ms, |_| (None, None), nowhere);
        let rows = figures.rows.into_iter();
        rows.map(|row| row.region.to_string()).collect::<Vec<_>>()
    };
    for _ in 0..2 {
        round(&mut samples, 3.0);
    }
    assert_eq!(round(&mut samples, 3.0), ["here", "there"]);
    let after: Vec<_> = (0..5).map(|_| round(&mut samples, 220.0)).collect();
    assert_eq!(after.first().unwrap().len(), 2, "for a moment nothing goes");
    assert_eq!(after.last().unwrap(), &["here"]);
    for _ in 0..2 {
        round(&mut samples, 3.0);
    }
    assert_eq!(round(&mut samples, 3.0), ["here", "there"], "they are back");
}

#[test]
fn the_far_ones_of_a_network_near_this_edge_count_for_every_region_or_for_none() {
    let mut samples = Samples::default();
    let mut rows = Vec::new();
    for minute in 1..20 {
        let now_ms = minute * MINUTE;
        for host in 0..14 {
            let client: IpAddr = format!("192.0.2.{host}").parse().unwrap();
            let way_ms = if host < 8 { 12.0 } else { 500.0 };
            samples.hear(client, host, way_ms, now_ms);
            let goes_on_here = way_ms <= NEAR_MS || samples.goes_by_edge(client);
            let mut take = |region: &str, ms, source| {
                let sample = sample(&client.to_string(), region, ms);
                samples.take(&Sample { source, ..sample }, host, now_ms);
            };
            take("here", way_ms, Source::Connections);
            if goes_on_here {
                take("there", way_ms + 90.0, Source::Edge);
            }
        }
        let figures = samples.settle(ENOUGH, now_ms, |_| (None, None), nowhere);
        rows = figures
            .rows
            .into_iter()
            .map(|row| row.measurement.ms)
            .collect();
    }
    let [here, there] = rows[..] else {
        panic!("{rows:?}");
    };
    assert!((there - here - 90.0).abs() < 1.0, "{here} {there}");
}

#[test]
fn a_few_near_ones_of_a_network_that_is_far_give_it_no_figure_again_and_again() {
    let mut samples = Samples::default();
    let mut figures = 0;
    for minute in 1..60 {
        let now_ms = minute * MINUTE;
        for host in 0..14 {
            let client: IpAddr = format!("192.0.2.{host}").parse().unwrap();
            let way_ms = if host < 5 { 4.0 } else { 150.0 };
            samples.hear(client, host, way_ms, now_ms);
            let there = sample(&client.to_string(), "there", 98.0);
            let source = Source::Edge;
            if way_ms <= NEAR_MS {
                samples.take(&Sample { source, ..there }, host, now_ms);
            }
        }
        let settled = samples.settle(ENOUGH, now_ms, |_| (None, None), nowhere);
        figures += settled.rows.len();
    }
    assert_eq!(figures, 0);
}

#[test]
fn figures_that_hold_the_same_way_to_this_edge_give_way_together() {
    let mut samples = Samples::default();
    let mut round = |minute: u64, way_ms: f64| {
        let now_ms = minute * MINUTE;
        for host in 0..3 {
            let mut take = |region: &str, ms, source| {
                let sample = sample(&format!("192.0.2.{host}"), region, ms);
                samples.take(&Sample { source, ..sample }, host, now_ms);
            };
            take("here", way_ms, Source::Connections);
            take("there", way_ms + 90.0, Source::Edge);
        }
        let figures = samples.settle(ENOUGH, now_ms, |_| (None, None), nowhere);
        let of = |region: &str| {
            let mut rows = figures.rows.iter();
            rows.find(|row| *row.region == *region)
                .map(|row| row.measurement.ms)
        };
        of("here").zip(of("there"))
    };
    // 8 ms more are a real gain for the one, and less than a tenth for the other.
    let ways = (1..40).map(|minute| (minute, if minute < 10 { 5.0 } else { 13.0 }));
    let figures: Vec<_> = ways
        .filter_map(|(minute, way_ms)| round(minute, way_ms))
        .collect();
    assert!(figures.last().unwrap().0 > 10.0, "it has given way");
    for (here, there) in figures {
        assert!((there - here - 90.0).abs() < 0.01, "{here} {there}");
    }
}

#[test]
fn what_a_source_measured_counts_only_while_that_is_on() {
    let mut samples = Samples::default();
    feed(&mut samples, "192.0.2", 3, 3, 60.0, MINUTE);
    let mut with = |off| {
        let enough = Enough { off, ..ENOUGH };
        samples
            .settle(enough, 4 * MINUTE, above, nowhere)
            .rows
            .len()
    };
    let counts = with(&[Source::Beacon]);
    assert!(counts > 0);
    assert_eq!(with(&[Source::Connections, Source::Edge]), 0);
    assert_eq!(with(&[]), counts);
}

#[test]
fn what_light_forbids_once_a_region_has_moved_is_forgotten() {
    let amsterdam = GeoPoint::new(52.37, 4.9).unwrap();
    let settled_with = |region: (f64, f64)| {
        let mut samples = Samples::default();
        feed(&mut samples, "192.0.2", 3, 3, 60.0, MINUTE);
        let here = |_| Some(Whereabouts::new(amsterdam, "NL".parse().ok()));
        samples.forget_implausible(here, |_| GeoPoint::new(region.0, region.1).ok());
        rows(&mut samples, 4 * MINUTE)
    };
    let (virginia, buenos_aires) = ((38.95, -77.45), (-34.6, -58.38));
    assert_eq!(settled_with(virginia), [("192.0.2.0/24".to_owned(), 60.0)]);
    assert_eq!(settled_with(buenos_aires), [], "11,400 km away");
}

#[test]
fn a_source_counts_once_a_minute() {
    let mut samples = Samples::default();
    let taken: Vec<Taken> = [0, 1, MINUTE - 1, MINUTE]
        .into_iter()
        .map(|now| samples.take(&sample("192.0.2.1", "r", 20.0), 7, now))
        .collect();
    let (yes, no) = (Taken::Counted, Taken::TooOften);
    assert_eq!(taken, [yes, no, no, yes]);
}

/// The figure of a country, and how many networks it is of.
fn of_country(samples: &mut Samples, now_ms: u64) -> Option<(f64, u32)> {
    let figures = samples.settle(ENOUGH, now_ms, |_| (None, "NL".parse().ok()), nowhere);
    let country = figures
        .rows
        .into_iter()
        .find(|row| matches!(row.network, Network::Country(_)));
    let figure = country?.measurement;
    Some((figure.ms, figure.networks?.count()))
}

#[test]
fn a_network_has_a_vote_in_its_block_and_system_once_it_counts_itself() {
    let fed = |hosts| {
        let mut samples = Samples::default();
        for (third, ms) in [(1, 20.0), (2, 22.0), (3, 900.0)] {
            feed(&mut samples, &format!("10.0.{third}"), hosts, 3, ms, 0);
        }
        let found = rows(&mut samples, 3 * MINUTE).into_iter();
        let around = found.filter(|(network, _)| !network.ends_with("/24"));
        around.collect::<Vec<_>>()
    };
    assert_eq!(fed(2), [], "two addresses of each");
    let expected = ["10.0.0.0/16", "AS1"].map(|network| (network.to_owned(), 22.0));
    assert_eq!(fed(3), expected);
}

#[test]
fn networks_of_few_samples_have_one_vote_in_their_country_together() {
    let mut samples = Samples::default();
    for (second, ms) in [(1, 20.0), (2, 22.0), (3, 900.0)] {
        for third in 1..=2 {
            feed(&mut samples, &format!("10.{second}.{third}"), 1, 3, ms, 0);
        }
    }
    assert_eq!(
        of_country(&mut samples, 3 * MINUTE),
        None,
        "two addresses of each"
    );
    for second in 1..=3 {
        feed(&mut samples, &format!("10.{second}.3"), 1, 3, 20.0, 0);
    }
    assert_eq!(of_country(&mut samples, 3 * MINUTE), Some((22.0, 9)));
}

/// A beacon's report from each of so many /48s of a /32, three addresses each.
fn flood(samples: &mut Samples, of: &str, count: u32, ms: f64) -> usize {
    let clients = (0..count).flat_map(|n| (0..3).map(move |host| (n, host)));
    let taken = clients.map(|(n, host)| {
        let client = format!("2a01:{of}:{n:x}:{host}00::1");
        samples.take(&sample(&client, "r", ms), host, MINUTE)
    });
    taken.filter(|taken| *taken == Taken::Counted).count()
}

#[test]
fn a_block_of_ipv6_moves_neither_a_country_that_nobody_has_measured_nor_one_that_somebody_has() {
    let mut samples = Samples::default();
    flood(&mut samples, "0", 200, 300.0);
    assert_eq!(of_country(&mut samples, MINUTE), None);
    for second in 1..=3 {
        feed(&mut samples, &format!("10.{second}.1"), 3, 2, 20.0, 0);
    }
    assert_eq!(of_country(&mut samples, MINUTE), Some((20.0, 3)));
}

#[test]
fn a_block_has_256_places_and_leaves_the_others_theirs() {
    let mut samples = Samples::default();
    assert_eq!(flood(&mut samples, "0", 300, 300.0), 3 * MOST_OF_BLOCK);
    assert_eq!(flood(&mut samples, "1", 300, 300.0), 3 * MOST_OF_BLOCK);
    assert_eq!(flood(&mut samples, "2", 1, 300.0), 3);
    let day = 24 * 60 * MINUTE;
    samples.settle(ENOUGH, 2 * day, above, nowhere);
    assert_eq!(
        flood(&mut samples, "0", 300, 300.0),
        3 * MOST_OF_BLOCK,
        "aged"
    );
}

#[test]
fn whoever_lies_moves_its_own_network_and_nobody_else() {
    let mut samples = Samples::default();
    for third in 1..=4 {
        feed(&mut samples, &format!("10.0.{third}"), 4, 3, 20.0, 0);
    }
    feed(&mut samples, "10.0.9", 16, 30, 1_900.0, 0);
    let figures = rows(&mut samples, 30 * MINUTE);
    for (network, ms) in figures {
        let expected = if network == "10.0.9.0/24" {
            1_900.0
        } else {
            20.0
        };
        assert_eq!(ms, expected, "{network}");
    }
}

#[test]
fn a_figure_changes_when_another_lasts_and_ages_away() {
    let mut samples = Samples::default();
    feed(&mut samples, "192.0.2", 3, 5, 20.0, 0);
    assert!(samples.settle(ENOUGH, 0, above, nowhere).changed);
    assert!(!samples.settle(ENOUGH, 1, above, nowhere).changed);
    feed(&mut samples, "192.0.2", 3, 30, 80.0, 5 * MINUTE);
    let at = 35 * MINUTE;
    assert!(
        !samples.settle(ENOUGH, at, above, nowhere).changed,
        "for now"
    );
    feed(&mut samples, "192.0.2", 3, 1, 80.0, at + MINUTE);
    let in_force = &samples.settle(ENOUGH, at + MINUTE, above, nowhere).rows[0].measurement;
    assert_eq!((in_force.ms, in_force.at_ms), (20.0, at), "as old as it is");
    let later = at + LASTING_MS;
    assert!(
        !samples.settle(ENOUGH, later, above, nowhere).changed,
        "nothing shows that it lasts"
    );
    feed(&mut samples, "192.0.2", 3, 1, 80.0, later);
    assert!(samples.settle(ENOUGH, later, above, nowhere).changed);
    let day = 24 * 60 * MINUTE;
    let figures = samples.settle(ENOUGH, at + day, above, nowhere);
    assert!(figures.changed && figures.rows.is_empty());
    assert!(samples.is_empty());
}

#[test]
fn a_full_table_takes_no_more_until_it_is_thinned() {
    let mut samples = Samples::default();
    let networks = u32::try_from(MOST_NETWORKS).unwrap();
    for number in 0..networks {
        let client = std::net::Ipv4Addr::from_bits(number << 8).to_string();
        samples.take(&sample(&client, "r", 20.0), 1, number.into());
    }
    let more = sample("255.0.0.1", "r", 20.0);
    assert_eq!(samples.take(&more, 1, 70_000), Taken::Full);
    samples.settle(ENOUGH, 70_000, |_| (None, None), nowhere);
    assert_eq!(samples.len(), MOST_NETWORKS - ROOM);
    assert_eq!(samples.take(&more, 1, 70_001), Taken::Counted);
    let oldest = Network::around("0.0.0.1".parse().unwrap());
    assert!(!samples.networks.contains_key(&oldest));
}

#[test]
fn a_network_is_remembered_of_64_regions_and_no_more() {
    let mut samples = Samples::default();
    let take = |samples: &mut Samples, region: usize| {
        samples.take(&sample("192.0.2.1", &format!("r{region}"), 20.0), 1, 0)
    };
    let counted = (0..64).filter(|region| take(&mut samples, *region) == Taken::Counted);
    assert_eq!(counted.count(), MOST_REGIONS);
    assert_eq!(take(&mut samples, 64), Taken::Full);
    let known = samples.take(&sample("192.0.2.2", "r0", 20.0), 2, 0);
    assert_eq!(known, Taken::Counted, "what is known goes on");
}

proptest! {
    /// Whatever comes in whatever order: no figure without its quorum, and none outside its samples.
    #[test]
    fn figures_lie_within_their_samples_and_have_their_quorum(
        fed in prop::collection::vec((0u8..4, 0u8..6, 1.0..500.0, 0u64..600_000), 0..200),
    ) {
        let mut samples = Samples::default();
        let mut counted: HashMap<Prefix, (Vec<u8>, Vec<f64>)> = HashMap::new();
        for (third, host, ms, at) in fed {
            let sample = sample(&format!("10.0.{third}.{host}"), "r", ms);
            if samples.take(&sample, host.into(), at) == Taken::Counted {
                let known = counted.entry(Network::around(sample.client)).or_default();
                known.0.push(host);
                known.1.push(ms);
            }
        }
        for row in samples.settle(ENOUGH, 600_000, above, nowhere).rows {
            let within = |(_, times): &(Vec<u8>, Vec<f64>)| {
                times.iter().any(|ms| *ms <= row.measurement.ms + 1e-9)
                    && times.iter().any(|ms| *ms >= row.measurement.ms - 1e-9)
            };
            match row.network {
                Network::Prefix(prefix) if row.measurement.networks.is_none() => {
                    let known = &counted[&prefix];
                    let mut hosts = known.0.clone();
                    hosts.sort_unstable();
                    hosts.dedup();
                    prop_assert!(hosts.len() >= ENOUGH.sources);
                    prop_assert!(known.1.len() >= 6 && within(known));
                }
                Network::Prefix(_) | Network::Asn(_) | Network::Country(_) => {
                    prop_assert!(counted.len() >= ENOUGH.sources);
                    prop_assert!(counted.values().any(within));
                }
            }
        }
    }
}

/// Ireland, Virginia and Tokyo.
fn place(region: &str) -> Option<GeoPoint> {
    let (lat, lon) = match region {
        "eu" => (53.35, -6.26),
        "us" => (38.95, -77.45),
        "ap" => (35.62, 139.78),
        _ => return None,
    };
    GeoPoint::new(lat, lon).ok()
}

/// What counts of a network in which so many hosts have said each of these figures.
fn believed(said: &[(&str, f64, u64)]) -> Vec<String> {
    let mut samples = Samples::default();
    for (region, ms, hosts) in said {
        for round in 0..10 {
            for host in 0..*hosts {
                samples.take(&sample("192.0.2.1", region, *ms), host, round * MINUTE);
            }
        }
    }
    let figures = samples.settle(ENOUGH, 10 * MINUTE, |_| (None, None), place);
    figures
        .rows
        .iter()
        .map(|row| row.region.to_string())
        .collect()
}

#[test]
fn figures_that_came_one_by_one_and_cannot_all_be_true_do_not_count() {
    let honest = [("eu", 20.0, 5), ("us", 90.0, 5), ("ap", 240.0, 5)];
    assert_eq!(believed(&honest), ["ap", "eu", "us"]);
    let absurd = [("eu", 0.1, 9), ("us", 23.0, 9), ("ap", 60.0, 9)];
    assert_eq!(believed(&absurd), [""; 0]);
    assert_eq!(
        believed(&[("eu", 0.1, 9), ("elsewhere", 0.1, 9)]),
        ["elsewhere", "eu"]
    );
}

#[test]
fn of_figures_that_contradict_each_other_the_one_that_more_sources_support_counts() {
    let said = [("eu", 20.0, 9), ("us", 90.0, 9), ("ap", 9.0, 5)];
    assert_eq!(believed(&said), ["eu", "us"]);
}
