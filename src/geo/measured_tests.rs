use std::net::IpAddr;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::{ClientEstimate, ClientMap, Database};
use crate::config::load_text;
use crate::config::plan::Plan;
use crate::ids::{Id, RegionId, ServiceId};
use crate::latency::fixtures::row;
use crate::latency::{Networks, Row};
use crate::prefix::IpVersion;

/// Virginia, Ireland, Frankfurt and Tokyo.
fn plan(geo: &str, policy: &str) -> Plan {
    let yaml = format!(
        "geo: {{ networks: {{ {geo} }} }}
regions:
  us-east-1: {{ addresses: [192.0.2.1] }}
  eu-west-1: {{ addresses: [192.0.2.2] }}
  eu-central-1: {{ addresses: [192.0.2.3] }}
  ap-northeast-1: {{ addresses: [192.0.2.4] }}
services: {{ www: {{ hosts: [www.example.com], steering: {{ policy: {policy} }} }} }}"
    );
    load_text("edge.yaml", &yaml, &|_| None).unwrap().plan
}

/// A small database that knows places.
static CITIES: LazyLock<Database> = LazyLock::new(|| {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/city.mmdb");
    Database::open(&file).unwrap()
});

fn order(plan: &Plan, clients: &ClientMap, client: &str) -> Vec<String> {
    let service = ServiceId::at(0);
    let (place, _) = clients.locate(service, client.parse().unwrap());
    let nearest = clients.place(service, place).nearest.as_deref();
    let names = nearest.unwrap_or_default().iter();
    names
        .map(|region| plan.regions.of(*region).name.to_string())
        .collect()
}

/// Whether rows put the client's regions in this order; by distance it is Frankfurt's.
#[track_caller]
fn check(client: &str, rows: &[Row], expected: &[&str]) {
    let plan = plan("", "latency");
    let clients = ClientMap::measured(&plan, &Database::built_in(), None, rows);
    assert_eq!(order(&plan, &clients, client), expected);
}

const DUTCH: &str = "193.0.6.139";
const BY_DISTANCE: [&str; 4] = ["eu-central-1", "eu-west-1", "us-east-1", "ap-northeast-1"];
const IRELAND_FIRST: [&str; 4] = ["eu-west-1", "eu-central-1", "us-east-1", "ap-northeast-1"];

#[test]
fn a_measured_detour_moves_a_network_and_only_it() {
    let rows = [
        row("193.0.6.0/24", "eu-west-1", 20.0),
        row("193.0.6.0/24", "eu-central-1", 45.0),
    ];
    check(DUTCH, &rows, &IRELAND_FIRST);
    check("193.0.7.1", &rows, &BY_DISTANCE);
}

#[test]
fn a_gain_that_is_not_real_moves_nobody() {
    let rows = [
        row("193.0.6.0/24", "eu-west-1", 20.0),
        row("193.0.6.0/24", "eu-central-1", 24.0),
    ];
    check(DUTCH, &rows, &BY_DISTANCE);
}

#[test]
fn a_quick_line_is_not_a_near_region() {
    // 12 ms to Ireland is less than the model's 31 ms to Frankfurt, but the line is as quick to both.
    check(
        DUTCH,
        &[row("193.0.6.0/24", "eu-west-1", 18.0)],
        &BY_DISTANCE,
    );
    check(
        DUTCH,
        &[row("193.0.6.0/24", "eu-central-1", 55.0)],
        &BY_DISTANCE,
    );
}

#[test]
fn whoever_is_near_one_region_is_not_near_another_wherever_the_database_has_it() {
    // Of a network that the database has in the United States, and that is in Europe.
    let american = "17.0.0.1";
    check(
        american,
        &[],
        &["us-east-1", "eu-west-1", "eu-central-1", "ap-northeast-1"],
    );
    check(
        american,
        &[row("17.0.0.0/24", "eu-central-1", 25.0)],
        &["eu-central-1", "us-east-1", "eu-west-1", "ap-northeast-1"],
    );
}

#[test]
fn what_no_line_explains_is_a_detour() {
    check(
        DUTCH,
        &[row("193.0.6.0/24", "eu-central-1", 150.0)],
        &IRELAND_FIRST,
    );
}

#[test]
fn the_most_specific_network_that_was_measured_decides() {
    let rows = [
        row("NL", "eu-west-1", 10.0),
        row("NL", "eu-central-1", 60.0),
        row("193.0.0.0/16", "eu-west-1", 60.0),
        row("193.0.6.0/24", "eu-west-1", 70.0),
        row("193.0.6.0/24", "eu-central-1", 10.0),
    ];
    check("145.97.1.1", &rows, &IRELAND_FIRST);
    check("193.0.7.1", &rows, &BY_DISTANCE);
    check(DUTCH, &rows, &BY_DISTANCE);
    let plan = plan("", "latency");
    let database = Database::built_in();
    let clients = ClientMap::measured(&plan, &database, None, &rows);
    let of = |client: &str| -> Vec<String> {
        let client: IpAddr = client.parse().unwrap();
        let location = database.lookup(client);
        let estimates = clients.estimates(&plan, ServiceId::at(0), &location, client);
        let estimates = estimates.unwrap().into_iter();
        estimates
            .map(|(_, estimate)| match estimate {
                ClientEstimate::Measured { network, .. } => network.to_string(),
                ClientEstimate::Modelled(_) | ClientEstimate::Unknown => "model".to_owned(),
            })
            .collect()
    };
    assert_eq!(of("193.0.7.1"), ["model", "193.0.0.0/16", "NL", "model"]);
    assert_eq!(
        of(DUTCH),
        ["model", "193.0.6.0/24", "193.0.6.0/24", "model"]
    );
}

/// Tokyo is 96 ms from Ireland by light.
#[test]
fn what_is_shown_of_a_network_counts_only_as_far_as_light_allows_beside_what_it_measured() {
    let own = row("193.0.6.0/24", "eu-west-1", 45.0);
    let tokyo_first = ["ap-northeast-1", "eu-west-1", "eu-central-1", "us-east-1"];
    for network in ["193.0.0.0/16", "NL"] {
        check(
            DUTCH,
            &[own.clone(), row(network, "ap-northeast-1", 30.0)],
            &BY_DISTANCE,
        );
        let far = row("193.0.6.0/24", "eu-west-1", 80.0);
        check(
            DUTCH,
            &[far, row(network, "ap-northeast-1", 30.0)],
            &tokyo_first,
        );
    }
    // What its own network measured is no less true for what others have.
    let others = [
        row("NL", "eu-west-1", 45.0),
        row("193.0.6.0/24", "ap-northeast-1", 30.0),
    ];
    check(
        DUTCH,
        &others,
        &["ap-northeast-1", "eu-central-1", "eu-west-1", "us-east-1"],
    );
}

#[test]
fn networks_that_are_ranked_alike_are_one_scope() {
    let plan = plan("", "latency");
    let rows: Vec<Row> = (0..=255)
        .flat_map(|third| {
            let network = format!("10.0.{third}.0/24");
            let ms = 20.0 + f64::from(third) / 10.0;
            [
                row(&network, "eu-west-1", ms),
                row(&network, "us-east-1", ms + 80.0),
            ]
        })
        .collect();
    let clients = ClientMap::measured(&plan, &Database::built_in(), None, &rows);
    let (_, scope) = clients.locate(ServiceId::at(0), "10.0.77.1".parse().unwrap());
    assert_eq!(scope, 16);
}

#[test]
fn one_region_s_round_trip_says_nothing_of_a_client_that_nobody_can_place() {
    let plan = plan("", "latency");
    let rows = [row("10.1.0.0/24", "eu-west-1", 20.0)];
    let clients = ClientMap::measured(&plan, &Database::built_in(), None, &rows);
    assert!(order(&plan, &clients, "10.1.0.1").is_empty());
}

#[test]
fn clients_of_no_known_place_go_by_what_is_measured_in_wide_blocks_around_them_and_no_others_do() {
    let shown = |network: &str| {
        [
            ("us-east-1", 220.0),
            ("eu-west-1", 150.0),
            ("eu-central-1", 160.0),
            ("ap-northeast-1", 30.0),
        ]
        .map(|(region, ms)| {
            let mut row = row(network, region, ms);
            row.measurement.networks = Some(Networks::Within(IpVersion::V4, 3));
            row
        })
    };
    let asian = ["ap-northeast-1", "eu-west-1", "eu-central-1", "us-east-1"];
    check("10.1.0.1", &shown("10.0.0.0/8"), &asian);
    check(DUTCH, &shown("193.0.0.0/8"), &BY_DISTANCE);
    // The narrower block counts first, and what is said of a wide one itself counts for all of it.
    let mut rows = shown("10.0.0.0/8").to_vec();
    rows.extend([row("10.0.0.0/12", "us-east-1", 5.0)].map(|mut row| {
        row.measurement.networks = Some(Networks::Within(IpVersion::V4, 3));
        row
    }));
    check(
        "10.1.0.1",
        &rows,
        &["us-east-1", "ap-northeast-1", "eu-west-1", "eu-central-1"],
    );
    let said = [
        row("193.0.0.0/8", "eu-west-1", 20.0),
        row("193.0.0.0/8", "eu-central-1", 45.0),
    ];
    check(DUTCH, &said, &IRELAND_FIRST);
}

#[test]
fn the_operator_s_word_and_the_policy_come_first() {
    let rows = [
        row("193.0.6.0/24", "us-east-1", 10.0),
        row("193.0.6.0/24", "eu-central-1", 200.0),
    ];
    for (geo, policy) in [("193.0.6.0/24: eu-central-1", "latency"), ("", "geo")] {
        let plan = plan(geo, policy);
        let clients = ClientMap::measured(&plan, &Database::built_in(), None, &rows);
        assert_eq!(order(&plan, &clients, DUTCH)[0], "eu-central-1");
    }
}

#[test]
fn a_figure_of_little_trust_is_mostly_the_model() {
    let mut rows = [
        row("193.0.6.0/24", "eu-west-1", 20.0),
        row("193.0.6.0/24", "eu-central-1", 45.0),
    ];
    for row in &mut rows {
        row.measurement.trust = 0.25;
    }
    check(DUTCH, &rows, &BY_DISTANCE);
}

#[test]
fn what_others_of_a_large_country_measure_does_not_move_a_client_whose_place_is_known() {
    let database = &*CITIES;
    let plan = plan("", "latency");
    let client = "198.51.100.1";
    let country = database.lookup(client.parse().unwrap()).country.unwrap();
    let mut rows = [
        row(country.as_str(), "ap-northeast-1", 10.0),
        row(country.as_str(), "eu-central-1", 300.0),
    ];
    let first = |rows: &[Row]| {
        let clients = ClientMap::measured(&plan, database, None, rows);
        order(&plan, &clients, client)[0].clone()
    };
    assert_eq!(first(&rows), "ap-northeast-1", "the operator's word counts");
    for row in &mut rows {
        row.measurement.networks = Some(Networks::Within(IpVersion::V4, 3));
    }
    assert_ne!(first(&rows), "ap-northeast-1");
}

#[test]
fn what_ipv6_shows_of_a_country_moves_no_ipv4_and_the_operator_s_word_moves_both() {
    let plan = plan("", "latency");
    let mut rows = [
        row("NL", "ap-northeast-1", 10.0),
        row("NL", "eu-central-1", 300.0),
    ];
    let firsts = |rows: &[Row]| {
        let clients = ClientMap::measured(&plan, &Database::built_in(), None, rows);
        [DUTCH, "2001:67c:2e8::1"].map(|client| order(&plan, &clients, client)[0].clone())
    };
    let [near, far] = ["eu-central-1", "ap-northeast-1"];
    assert_eq!(firsts(&rows), [far, far]);
    for (version, expected) in [(IpVersion::V4, [far, near]), (IpVersion::V6, [near, far])] {
        for row in &mut rows {
            row.measurement.networks = Some(Networks::Within(version, 3));
        }
        assert_eq!(firsts(&rows), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// Whatever is measured, every region stays in the order, once.
    #[test]
    fn measurements_lose_no_region(
        fed in prop::collection::vec((0u8..4, 0usize..4, 0.1..2_000.0), 0..20),
        client: u32,
    ) {
        let plan = plan("", "latency");
        let rows: Vec<Row> = fed
            .into_iter()
            .map(|(first, region, ms)| {
                let name = plan.regions.of(RegionId::at(region)).name.clone();
                row(&format!("{}.0.0.0/8", first * 60), &name, ms)
            })
            .collect();
        let clients = ClientMap::measured(&plan, &CITIES, None, &rows);
        let client = std::net::Ipv4Addr::from_bits(client).to_string();
        let mut order = order(&plan, &clients, &client);
        order.sort();
        order.dedup();
        prop_assert!(order.is_empty() || order.len() == 4, "{order:?}");
    }
}

/// Seven regions, and one network for each of so many orders of them.
fn orders(number: usize) -> (Plan, ClientMap) {
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let regions =
        names.map(|name| format!("{name}: {{ location: [50, 8], addresses: [192.0.2.1] }}"));
    let yaml = format!(
        "regions: {{ {} }}\nservices: {{ www: {{ hosts: [www.example.com], steering: {{ policy: latency }} }} }}",
        regions.join(", ")
    );
    let plan = load_text("edge.yaml", &yaml, &|_| None).unwrap().plan;
    let mut rows = Vec::new();
    for number in 0..number {
        let network = format!("12.{}.{}.0/24", number / 256, number % 256);
        let (mut left, mut rest, mut ms) = (names.to_vec(), number, 20.0);
        while !left.is_empty() {
            rows.push(row(&network, left.remove(rest % left.len()), ms));
            rest /= left.len() + 1;
            ms *= 1.5;
        }
    }
    let clients = ClientMap::measured(&plan, &Database::built_in(), None, &rows);
    (plan, clients)
}

#[test]
fn measurements_make_4_096_orders_of_regions_and_what_is_more_goes_by_distance() {
    let places = |clients: &ClientMap| clients.places(ServiceId::at(0)).len();
    let (_, few) = orders(4_000);
    assert!(!few.is_full());
    assert!(places(&few) > 4_000, "{}", places(&few));
    let (plan, many) = orders(5_040);
    assert!(many.is_full());
    // Distance makes some of its own: here all regions are at one place, and of whom nothing is known is another.
    assert!((4_096..4_100).contains(&places(&many)), "{}", places(&many));
    assert_eq!(
        order(&plan, &many, "12.19.175.1"),
        ["a", "b", "c", "d", "e", "f", "g"]
    );
}
