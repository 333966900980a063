use super::super::moves::spreads;
use super::*;
use crate::config::load_text;
use crate::control::{DrainRequest, World};
use crate::geo::{ClientMap, Database, PlaceId};
use crate::steering::{Draw, Spread, steer};

/// What leaves `region` of a service with these weights, in percent, and where to.
fn leaving(weights: &str, region: &str) -> (f64, Vec<(String, f64)>) {
    let yaml = format!(
        "
regions: {{ a: {{ addresses: [192.0.2.1] }}, b: {{ addresses: [192.0.2.2] }}, c: {{ addresses: [192.0.2.3] }} }}
services:
  www:
    hosts: [www.example.com]
    steering: {{ policy: weighted, weights: {{ {weights} }} }}
"
    );
    let plan = Arc::new(load_text("edge.yaml", &yaml, &|_| None).unwrap().plan);
    let service = plan.service("www").unwrap();
    let region = plan.region(region).unwrap();
    let before = World::new(plan.clone(), Arc::default()).snapshot(0).0;
    let after = without(&before, region, &[service]);
    let outlook = Outlook {
        before: &before,
        after: &after,
        now_ms: 0,
    };
    let moves = moves(outlook, region, service, (Vantage::Client, Access::Read));
    let name = |to: &Option<RegionId>| plan.regions.of(to.unwrap()).name.to_string();
    let to = moves
        .to
        .iter()
        .map(|(to, [v4, _])| (name(to), percent(*v4)));
    (percent(moves.moved[0]), to.collect())
}

#[test]
fn who_is_told_apart_by_shares_are_all_clients_and_no_more_than_there_are_shares() {
    let yaml = "
regions: { a: { addresses: [192.0.2.1] }, b: { addresses: [192.0.2.2] }, c: { addresses: [192.0.2.3] } }
services: { www: { hosts: [www.example.com] } }
";
    let plan = Arc::new(load_text("edge.yaml", yaml, &|_| None).unwrap().plan);
    let service = plan.service("www").unwrap();
    let mut world = World::new(plan, Arc::default());
    let told = |world: &mut World, now_ms| {
        let told = spreads(&world.snapshot(now_ms).0, service);
        told.iter()
            .map(|(_, share)| (share * 100.0).round())
            .collect::<Vec<_>>()
    };
    assert_eq!(told(&mut world, 0), [100.0]);
    for (region, over_ms) in [("a", 100_000), ("b", 50_000), ("c", 0)] {
        let drain = DrainRequest {
            region: region.into(),
            service: None,
            since_ms: 0,
            until_ms: None,
            over_ms: Some(over_ms),
            by: None,
            reason: None,
        };
        world.drain(drain, true).unwrap();
    }
    assert_eq!(told(&mut world, 25_000), [50.0, 25.0, 25.0]);
    assert_eq!(told(&mut world, 60_000), [40.0, 60.0]);
}

const SIXTY_WRITES: Served = Served {
    http_requests: 60,
    http_writes: 60,
    dns_answers: 0,
};

/// What a dry run tells of draining `a` for the service `www`, of which it has served so much.
fn draining_a(yaml: &str, served: Served) -> Value {
    let plan = Arc::new(load_text("edge.yaml", yaml, &|_| None).unwrap().plan);
    let (service, region) = (plan.service("www").unwrap(), plan.region("a").unwrap());
    let before = World::new(plan, Arc::default()).snapshot(0).0;
    let lately = Lately {
        served: [(("www".into(), "a".into()), served)].into(),
        ..Lately::default()
    };
    let told = foresee((&before, 0), region, &[service], &lately);
    told["services"][0].clone()
}

#[test]
fn whom_no_other_region_can_take_stays_and_does_not_move() {
    let yaml = "
regions: { a: { addresses: [192.0.2.1] }, b: { addresses: [192.0.2.2] } }
services: { www: { hosts: [www.example.com], regions: [a] } }
";
    let served = Served {
        http_requests: 7,
        http_writes: 2,
        dns_answers: 5,
    };
    let told = draining_a(yaml, served);
    let (clients, left) = (&told["clients"], &told["left"]);
    assert_eq!(*left, json!([]));
    assert_eq!(clients["ipv4_percent"], 0.0, "{told}");
    assert_eq!(clients["stays"]["ipv4_percent"], 100.0, "{told}");
    assert_eq!(clients["to"], json!([]));
    assert_eq!(told["dns"], json!({ "answers": 5, "move": 0, "to": [] }));
    assert_eq!(told["http"]["move"], 0);
}

#[test]
fn writes_go_where_writes_go_and_nowhere_where_only_the_primary_takes_them() {
    let to = |writes: &str| {
        let yaml = format!(
            "
regions: {{ a: {{ addresses: [192.0.2.1] }}, b: {{ addresses: [192.0.2.2] }}, c: {{ addresses: [192.0.2.3] }} }}
services: {{ www: {{ hosts: [www.example.com], steering: {{ policy: priority }}, regions: [c, b, a], writes: {writes} }} }}
"
        );
        draining_a(&yaml, SIXTY_WRITES)["http"].clone()
    };
    let all =
        |to: Value| json!({ "requests": 60, "move": 60, "to": [{ "region": to, "estimate": 60 }] });
    let none = "{ to: { primary: a }, failover: none }";
    assert_eq!(to(none), all(Value::Null));
    let in_order = "{ to: { primary: a }, failover: order }";
    assert_eq!(to(in_order), all(json!("c")));
}

#[test]
fn writes_with_a_home_go_where_the_next_homes_of_keys_are() {
    let yaml = "
regions: { a: { addresses: [192.0.2.1] }, b: { addresses: [192.0.2.2] }, c: { addresses: [192.0.2.3] } }
services: { www: { hosts: [www.example.com], steering: { policy: priority }, writes: { to: home, key: { header: X-Tenant } } } }
";
    let told = draining_a(yaml, SIXTY_WRITES);
    let http = &told["http"];
    assert_eq!(http["move"], 60);
    let to: Vec<(&str, u64)> = http["to"]
        .as_array()
        .unwrap()
        .iter()
        .map(|to| {
            (
                to["region"].as_str().unwrap(),
                to["estimate"].as_u64().unwrap(),
            )
        })
        .collect();
    let [("b", to_b), ("c", to_c)] = to[..] else {
        panic!("{http}");
    };
    assert!((26..=34).contains(&to_b) && to_b + to_c == 60, "{http}");
}

#[test]
fn writes_of_a_key_go_to_its_next_home_as_often_as_it_was_written_to() {
    let yaml = "
regions: { a: { addresses: [192.0.2.1] }, b: { addresses: [192.0.2.2] }, c: { addresses: [192.0.2.3] } }
services: { www: { hosts: [www.example.com], writes: { to: home, key: { header: X-Tenant } } } }
";
    let plan = Arc::new(load_text("edge.yaml", yaml, &|_| None).unwrap().plan);
    let (service, region) = (plan.service("www").unwrap(), plan.region("a").unwrap());
    let before = World::new(plan.clone(), Arc::default()).snapshot(0).0;
    let after = without(&before, region, &[service]);
    let ask = Ask::http(service, PlaceId::NOWHERE, Access::Write);
    let home = |snapshot, key: &str| {
        let ask = Ask {
            write_key: Some(key),
            ..ask
        };
        steer(snapshot, &ask, Draw(0)).ranked[0].region
    };
    let keys: Vec<String> = (0..100).map(|key| key.to_string()).collect();
    let next = |to: &str| {
        let to = plan.region(to).unwrap();
        let mut of_a = keys.iter().filter(|key| home(&before, key) == region);
        of_a.find(|key| home(&after, key) == to).unwrap()
    };
    let of = |key: &String, stands_for: f64| {
        let request = Sampled {
            client: [192, 0, 2, 7].into(),
            spread: Spread::default(),
            residency: None,
            write_key: Some(key.clone()),
        };
        (request, stands_for)
    };
    let writes = vec![of(next("b"), 1.0), of(next("c"), 4.0), of(next("b"), 1.0)];
    let name: MemberName = ("www".into(), "a".into());
    let lately = Lately {
        span_ms: 1_000,
        served: [(name.clone(), SIXTY_WRITES)].into(),
        sampled: [(
            name,
            ByAccess {
                reads: vec![],
                writes,
            },
        )]
        .into(),
    };
    let told = foresee((&before, 0), region, &[service], &lately);
    let to = json!([{ "region": "b", "estimate": 20 }, { "region": "c", "estimate": 40 }]);
    assert_eq!(told["services"][0]["http"]["to"], to);
}

/// `six` has no address of IPv4.
#[test]
fn who_asks_for_an_address_of_ipv4_moves_to_a_region_that_has_one() {
    let yaml = "
regions: { a: { addresses: [192.0.2.1, '2001:db8::1'] }, six: { addresses: ['2001:db8::6'] }, b: { addresses: [192.0.2.2] } }
services: { www: { hosts: [www.example.com], steering: { policy: priority } }, two: { hosts: [two.example.com], regions: [a, six] } }
";
    let plan = Arc::new(load_text("edge.yaml", yaml, &|_| None).unwrap().plan);
    let region = plan.region("a").unwrap();
    let services = ["www", "two"].map(|name| plan.service(name).unwrap());
    let before = World::new(plan, Arc::default()).snapshot(0).0;
    let told = foresee((&before, 0), region, &services, &Lately::default());
    let to = |service: usize| told["services"][service]["clients"]["to"].clone();
    let to_six = |v4: f64| json!({ "region": "six", "ipv4_percent": v4, "ipv6_percent": 100.0 });
    let to_b = json!({ "region": "b", "ipv4_percent": 100.0, "ipv6_percent": 0.0 });
    assert_eq!(to(0), json!([to_six(0.0), to_b]));
    // Nobody else has one: that fails open.
    assert_eq!(to(1), json!([to_six(0.0)]));
    let stays = &told["services"][1]["clients"]["stays"];
    assert_eq!(
        *stays,
        json!({ "ipv4_percent": 100.0, "ipv6_percent": 0.0 })
    );
}

#[track_caller]
fn check(weights: &str, region: &str, has: f64, to: &[(&str, f64)]) {
    let to: Vec<_> = to.iter().map(|(to, of)| ((*to).to_owned(), *of)).collect();
    assert_eq!(leaving(weights, region), (has, to));
}

#[test]
fn weights_are_told_exactly_and_not_by_trying_draws() {
    check("a: 83, b: 17, c: 0", "a", 83.0, &[("b", 83.0)]);
    check("a: 83, b: 17, c: 0", "b", 17.0, &[("a", 17.0)]);
    check(
        "a: 50, b: 30, c: 20",
        "a",
        50.0,
        &[("b", 30.0), ("c", 20.0)],
    );
    check("a: 50, b: 30, c: 20", "c", 20.0, &[("a", 12.5), ("b", 7.5)]);
    check("a: 999, b: 1, c: 0", "b", 0.1, &[("a", 0.1)]);
}

#[test]
fn a_region_of_no_weight_has_nobody_and_takes_all_who_have_nobody_else() {
    check("a: 83, b: 17, c: 0", "c", 0.0, &[]);
    check("a: 1, b: 0, c: 0", "a", 100.0, &[("b", 100.0)]);
}

#[test]
fn clients_of_a_country_are_the_same_share_of_those_whose_place_is_known_whatever_the_policy() {
    // Nobody knows where b is: it has the Germans alone.
    let told = |policy: &str| {
        let yaml = format!(
            "
regions: {{ a: {{ location: [50, 8], addresses: [192.0.2.1, '2001:db8::1'] }}, b: {{ addresses: [192.0.2.2, '2001:db8::2'] }} }}
services:
  www:
    hosts: [www.example.com]
    regions: [a, b]
    steering: {{ policy: {policy}, overrides: [{{ country: [DE], prefer: [b] }}] }}
"
        );
        let plan = Arc::new(load_text("edge.yaml", &yaml, &|_| None).unwrap().plan);
        let clients = Arc::new(ClientMap::compile(&plan, &Database::built_in()));
        let service = plan.service("www").unwrap();
        let region = plan.region("b").unwrap();
        let before = World::new(plan, clients).snapshot(0).0;
        let told = foresee((&before, 0), region, &[service], &Lately::default());
        told["services"][0]["clients"].clone()
    };
    let (geo, priority) = (told("geo"), told("priority"));
    assert_eq!(priority["of"], "addresses whose place is known");
    for family in ["ipv4_percent", "ipv6_percent"] {
        let [by_geo, by_priority] = [&geo, &priority].map(|told| told[family].as_f64().unwrap());
        assert!(by_geo > 1.0 && by_geo < 20.0, "{geo}");
        assert!((by_geo - by_priority).abs() <= 0.1, "{geo} {priority}");
    }
}
