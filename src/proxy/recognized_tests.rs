//! What is recognized is what would be read, and nothing else is.

use super::*;

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderName, HeaderValue};

use crate::config::load_text;
use crate::config::plan::VersionForm;
use crate::control::Control;
use crate::ids::RegionId;
use crate::positions::{Applied, Keyring, Now, Sessions, Token, parse_vector};
use crate::proxy::affinity::Session;
use crate::proxy::carried::MOST_TOKENS;
use crate::proxy::consistency::Store;
use crate::proxy::sticky::StickyTable;

const HOST: &str = "a.example.com";
/// When everything that is issued here expires, Unix seconds.
const ENDS: u32 = 3_601;

struct Edge {
    plan: Arc<Plan>,
    keyring: Keyring,
    applied: Arc<Applied>,
    sessions: Sessions,
    control: Control,
    sticky: StickyTable,
}

impl Edge {
    fn new() -> Self {
        let yaml = "regions: { us: { addresses: [192.0.2.1] }, eu: { addresses: [192.0.2.2] } }
services:
  www: { hosts: [a.example.com, b.example.com], affinity: { by: cookie, ttl: 1h }, consistency: { read_your_writes: true } }
  other: { hosts: [c.example.com], affinity: { by: cookie, ttl: 1h }, consistency: { read_your_writes: true, domain: www } }
  brief: { hosts: [d.example.com], affinity: { by: cookie, ttl: 1s }, consistency: { read_your_writes: true, domain: www } }";
        Self {
            plan: Arc::new(load_text("edge.yaml", yaml, &|_| None).unwrap().plan),
            keyring: Keyring::new(&[]),
            applied: Arc::default(),
            sessions: Sessions::default(),
            control: Control::new().0,
            sticky: StickyTable::default(),
        }
    }

    fn service(&self, name: &str) -> ServiceId {
        let mut services = self.plan.services.iter();
        services
            .find(|(_, service)| &*service.name == name)
            .unwrap()
            .0
    }

    fn reader<'a>(&'a self, host: &'a str, service: &str, now: u32) -> Reader<'a> {
        let id = self.service(service);
        let service = self.plan.services.of(id);
        let consistency = service.consistency.as_ref().unwrap();
        let store = Store {
            consistency,
            domain: self.plan.domains.of(consistency.domain),
            applied: &self.applied,
            keyring: &self.keyring,
            sessions: &self.sessions,
            plan: &self.plan,
            control: &self.control,
            secure: true,
        };
        let session = Session {
            service,
            plan: &self.plan,
            keyring: &self.keyring,
            sticky: &self.sticky,
            host,
            secure: true,
            now,
        };
        Reader {
            service: id,
            store: Some(store),
            session,
        }
    }

    fn region(&self, name: &str) -> RegionId {
        self.plan.region(name).unwrap()
    }

    /// A token of this domain that asks for `vector`.
    fn token(&self, vector: &str) -> String {
        let token = Token {
            expires: ENDS,
            session: 7,
            vector: parse_vector(vector, VersionForm::Integer).unwrap(),
            ..Token::default()
        };
        token.seal(&self.keyring, "www").unwrap()
    }

    /// The pair of an affinity cookie.
    fn home(&self, region: &str) -> String {
        self.home_of((HOST, "www"), region, 0)
    }

    fn home_of(&self, (host, service): (&str, &str), region: &str, now: u32) -> String {
        let session = self.reader(host, service, now).session;
        let new = session.find(None, &HeaderMap::new(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        let cookie = session.remember(&new, self.region(region)).unwrap();
        let cookie = cookie.to_str().unwrap().to_owned();
        cookie.split_once(';').unwrap().0.to_owned()
    }
}

/// Its first second is the one in which it was set, of which only a part is left.
#[test]
fn who_goes_on_asking_keeps_its_region_however_short_the_cookie_lasts() {
    let edge = Edge::new();
    let us = edge.region("us");
    for now in 100..110 {
        let cookie = edge.home_of(("d.example.com", "brief"), "us", now);
        let value = cookie.split_once('=').unwrap().1;
        let later = |seconds: u32| edge.reader("d.example.com", "brief", now + seconds).session;
        assert!(later(1).home(value).is_some());
        assert!(later(2).home(value).is_none());
        let affinity = later(1).service.affinity.as_ref().unwrap();
        let known = later(1).at_home(later(1).home(value).unwrap(), affinity);
        assert!(!known.is_settled(us), "it is set again");
    }
}

fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), value.parse().unwrap());
    }
    headers
}

fn vectors(carried: &Carried) -> Vec<String> {
    let tokens = carried.tokens.iter();
    tokens.map(|token| token.vector.to_string()).collect()
}

#[test]
fn the_same_fields_are_read_once() {
    let (edge, recognized) = (Edge::new(), Recognized::default());
    let cookies = format!("{}; x=1", edge.home("eu"));
    let headers = map(&[
        ("cookie", &cookies),
        ("meridian-token", &edge.token("us=5")),
    ]);
    let read = |now| {
        recognized
            .read(&headers, &edge.reader(HOST, "www", now))
            .unwrap()
    };
    let first = read(1);
    assert_eq!(vectors(&first), ["us=5"]);
    assert_eq!(first.home.unwrap().expires, ENDS);
    assert!(first.carriers.header && !first.carriers.cookie);
    assert!(Arc::ptr_eq(&first, &read(ENDS - 1)));
}

#[test]
fn a_bit_that_is_flipped_anywhere_is_seen() {
    let (edge, recognized) = (Edge::new(), Recognized::default());
    let (home, token) = (edge.home("eu"), edge.token("us=5"));
    let reader = edge.reader(HOST, "www", 1);
    let read = |cookie: &[u8], token: &[u8]| {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_bytes(cookie).ok()?);
        headers.insert(MERIDIAN_TOKEN, HeaderValue::from_bytes(token).ok()?);
        recognized.read(&headers, &reader)
    };
    let whole = read(home.as_bytes(), token.as_bytes()).unwrap();
    assert!(whole.home.is_some());
    let flipped = |text: &str, bit: usize| {
        let mut text = text.as_bytes().to_vec();
        text[bit / 8] ^= 1 << (bit % 8);
        text
    };
    for bit in 0..token.len() * 8 {
        let carried = read(home.as_bytes(), &flipped(&token, bit));
        assert!(
            carried.is_none_or(|carried| carried.tokens.is_empty()),
            "bit {bit}"
        );
    }
    for bit in 0..home.len() * 8 {
        let carried = read(&flipped(&home, bit), token.as_bytes());
        assert!(
            carried.is_none_or(|carried| carried.home.is_none()),
            "bit {bit}"
        );
    }
}

#[test]
fn other_keys_hosts_services_and_configurations_are_others() {
    let (mut edge, recognized) = (Edge::new(), Recognized::default());
    let headers = map(&[
        ("cookie", &edge.home("eu")),
        ("meridian-token", &edge.token("us=5")),
    ]);
    let found = |edge: &Edge, host: &str, service: &str| {
        let reader = edge.reader(host, service, 1);
        let carried = recognized.read(&headers, &reader).unwrap();
        (vectors(&carried).len(), carried.home.is_some())
    };
    assert_eq!(found(&edge, HOST, "www"), (1, true));
    assert_eq!(found(&edge, "b.example.com", "www"), (1, false));
    assert_eq!(found(&edge, HOST, "www"), (1, true));
    assert_eq!(found(&edge, HOST, "other"), (1, false));
    assert_eq!(found(&edge, HOST, "www"), (1, true));
    let before = recognized
        .read(&headers, &edge.reader(HOST, "www", 1))
        .unwrap();
    edge.plan = Edge::new().plan;
    let after = recognized
        .read(&headers, &edge.reader(HOST, "www", 1))
        .unwrap();
    assert!(
        !Arc::ptr_eq(&before, &after),
        "ids are those of the new one"
    );
    edge.keyring = Keyring::new(&[]);
    assert_eq!(found(&edge, HOST, "www"), (0, false));
}

#[test]
fn what_has_been_recognized_expires_all_the_same() {
    let (edge, recognized) = (Edge::new(), Recognized::default());
    for fields in [
        ("cookie", edge.home("eu")),
        ("meridian-token", edge.token("us=5")),
    ] {
        let headers = map(&[(fields.0, &fields.1)]);
        let is_there = |now| {
            let carried = recognized.read(&headers, &edge.reader(HOST, "www", now));
            let carried = carried.unwrap();
            carried.home.is_some() || !carried.tokens.is_empty()
        };
        assert!(is_there(1) && is_there(ENDS - 1));
        assert!(!is_there(ENDS) && !is_there(ENDS));
        assert!(is_there(ENDS - 1));
    }
}

#[test]
fn what_is_forged_displaces_nothing() {
    let (edge, recognized) = (Edge::new(), Recognized::default());
    let reader = edge.reader(HOST, "www", 1);
    let read = |token: &str| {
        recognized
            .read(&map(&[("meridian-token", token)]), &reader)
            .unwrap()
    };
    let genuine = edge.token("us=5");
    let first = read(&genuine);
    assert!(read("AQBrBlD56lyk").tokens.is_empty());
    assert!(Arc::ptr_eq(&first, &read(&genuine)));
}

#[test]
fn what_any_connection_of_a_worker_carried_is_read_once() {
    let edge = Edge::new();
    let reader = edge.reader(HOST, "www", 1);
    let read = |connection: &Recognized, token: &str| {
        let headers = map(&[("meridian-token", token)]);
        connection.read(&headers, &reader).unwrap()
    };
    let (of_a_gateway, another) = (Recognized::default(), Recognized::default());
    let tokens = ["us=5", "us=6", "eu=7,us=6"].map(|vector| edge.token(vector));
    let first = tokens.each_ref().map(|token| read(&of_a_gateway, token));
    for connection in [&of_a_gateway, &another] {
        for (token, first) in tokens.iter().zip(&first) {
            assert!(Arc::ptr_eq(first, &read(connection, token)));
        }
    }
    let elsewhere = std::thread::scope(|scope| {
        let read = || read(&Recognized::default(), &tokens[0]);
        scope.spawn(read).join().unwrap()
    });
    assert!(!Arc::ptr_eq(&first[0], &elsewhere), "of another worker");
}

/// Over TLS their names keep whoever has another host of the site, or its connections in clear, from setting them.
#[test]
fn cookies_of_connections_in_clear_do_not_count_over_tls_nor_the_other_way_round() {
    let edge = Edge::new();
    let of_tls = format!("__Host-meridian_seen={}", edge.token("us=5"));
    for (cookie, is_of_tls) in [(of_tls.as_str(), true), (&of_tls["__Host-".len()..], false)] {
        for over_tls in [is_of_tls, !is_of_tls] {
            let mut reader = edge.reader(HOST, "www", 1);
            reader.session.secure = over_tls;
            reader.store.as_mut().unwrap().secure = over_tls;
            let headers = map(&[("cookie", cookie)]);
            let carried = Recognized::default().read(&headers, &reader).unwrap();
            assert_eq!(
                !carried.tokens.is_empty(),
                over_tls == is_of_tls,
                "{cookie}"
            );
        }
    }
}

#[test]
fn a_worker_remembers_as_many_as_it_has_places_for_and_answers_for_each_all_the_same() {
    let edge = Edge::new();
    let reader = edge.reader(HOST, "www", 1);
    let read = |seq: usize| {
        let headers = map(&[("meridian-token", &edge.token(&format!("us={seq}")))]);
        let carried = Recognized::default().read(&headers, &reader).unwrap();
        assert_eq!(vectors(&carried), [format!("us={seq}")]);
        carried
    };
    let count = 4 * MOST_LATELY;
    let first: Vec<Arc<Carried>> = (0..count).map(read).collect();
    let kept = |carried: &&Arc<Carried>| Arc::strong_count(carried) > 1;
    let kept = first.iter().filter(kept).count();
    assert!((MOST_LATELY / 2..=MOST_LATELY).contains(&kept), "{kept}");
    (0..count).map(read).for_each(drop);
}

#[test]
fn fields_of_4096_bytes_are_remembered_and_of_1024_for_other_connections_too() {
    let edge = Edge::new();
    let reader = edge.reader(HOST, "www", 1);
    let own = format!("__Host-meridian_seen={}; x=", edge.token("us=5"));
    let is_remembered = |length: usize, connections: [&Recognized; 2]| {
        let line = own.clone() + &"x".repeat(length - own.len());
        let headers = map(&[("cookie", &line)]);
        let [first, second] = connections.map(|one| one.read(&headers, &reader).unwrap());
        assert_eq!(vectors(&second), ["us=5"]);
        Arc::ptr_eq(&first, &second)
    };
    let (one, other) = (Recognized::default(), Recognized::default());
    assert!(is_remembered(MOST_REMEMBERED, [&one, &one]));
    assert!(!is_remembered(MOST_REMEMBERED + 1, [&one, &one]));
    // A field's end is remembered with it.
    assert!(is_remembered(MOST_REMEMBERED_LATELY - 1, [&one, &other]));
    assert!(!is_remembered(MOST_REMEMBERED_LATELY, [&one, &other]));
}

#[test]
fn both_carriers_count_and_however_fields_are_split() {
    let (edge, recognized) = (Edge::new(), Recognized::default());
    let reader = edge.reader(HOST, "www", 1);
    let cookie = format!("__Host-meridian_seen={}", edge.token("us=5"));
    let tokens = format!("{}, {}", edge.token("eu=1"), edge.token("eu=2"));
    let headers = [
        map(&[
            ("cookie", &format!("x=1; {cookie}")),
            ("meridian-token", &tokens),
        ]),
        map(&[
            ("cookie", "x=1"),
            ("cookie", &cookie),
            ("meridian-token", &tokens),
        ]),
    ];
    for headers in headers.iter().chain(&headers) {
        let carried = recognized.read(headers, &reader).unwrap();
        assert_eq!(vectors(&carried), ["us=5", "eu=1", "eu=2"]);
        assert!(carried.carriers.cookie && carried.carriers.header);
        let mut headers = headers.clone();
        carried.leave_others(&mut headers);
        assert_eq!(headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["x=1"]);
    }
}

#[test]
fn eight_tokens_of_a_request_are_merged_and_a_ninth_is_ignored() {
    let edge = Edge::new();
    let read = |count: u64| {
        let tokens: Vec<String> = (1..=count)
            .map(|seq| edge.token(&format!("us={seq}")))
            .collect();
        let headers = map(&[("meridian-token", &tokens.join(","))]);
        let reader = edge.reader(HOST, "www", 1);
        let carried = Recognized::default().read(&headers, &reader).unwrap();
        vectors(&carried).len()
    };
    assert_eq!((read(8), read(9)), (8, MOST_TOKENS));
}

#[test]
fn the_edge_s_own_cookies_stay_at_the_edge() {
    let (edge, recognized) = (Edge::new(), Recognized::default());
    let reader = edge.reader(HOST, "www", 1);
    for (lines, left) in [
        (
            &["a=1; __Host-meridian_seen=x; b=2", "meridian_region_api=y"][..],
            Some("a=1; b=2"),
        ),
        (&["__Host-meridian_region_www=z"], None),
        (&["c=meridian_seen;meridian_seen"], Some("c=meridian_seen")),
    ] {
        let lines: Vec<_> = lines.iter().map(|line| ("cookie", *line)).collect();
        let mut headers = map(&lines);
        let carried = recognized.read(&headers, &reader).unwrap();
        carried.leave_others(&mut headers);
        let expected: Vec<_> = left.iter().map(|left| ("cookie", *left)).collect();
        assert_eq!(headers, map(&expected));
    }
}

#[test]
fn what_carries_nothing_of_the_edge_s_own_is_left_alone() {
    let (edge, recognized) = (Edge::new(), Recognized::default());
    let reader = edge.reader(HOST, "www", 1);
    for headers in [
        map(&[]),
        map(&[("cookie", "a=1; meridian=2"), ("accept", "*/*")]),
    ] {
        assert!(recognized.read(&headers, &reader).is_none());
    }
}

#[test]
fn a_region_is_told_of_the_vector_that_is_asked_of_it() {
    let (edge, carried) = (Edge::new(), Carried::default());
    let reader = edge.reader(HOST, "www", 1);
    for text in ["us=5", "us=5", "eu=3,us=5", "us=5"] {
        let token = Token {
            vector: parse_vector(text, VersionForm::Integer).unwrap(),
            ..Token::default()
        };
        let store = reader.store.as_ref().unwrap();
        let visit = store.visit(&[Arc::new(token)], Now::default());
        assert_eq!(carried.require(&visit, store).unwrap(), text);
    }
}
