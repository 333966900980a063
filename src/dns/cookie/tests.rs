//! Cookies to the byte, and how long they live.

use super::*;
use crate::units::Secret as Text;

impl Cookies {
    fn judge(&self, cookie: Cookie, peer: IpAddr, now: u32) -> (Standing, Cookie) {
        self.at(now).judge(cookie, peer, now)
    }
}

/// The secret of RFC 9018 A.1 to A.3.
const SECRET: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 100));

/// Some noon.
const NOON: u32 = 20_000 * PERIOD_SECS + PERIOD_SECS / 2;

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    let byte = |i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap();
    std::array::from_fn(byte)
}

fn cookie(hex: &str) -> Cookie {
    let client = bytes(&hex[..16]);
    let server = match hex.len() {
        16 => ServerCookie::Absent,
        _ => ServerCookie::Whole(bytes(&hex[16..])),
    };
    Cookie { client, server }
}

/// Secrets that are the same in every period.
fn fixed(secrets: &[&str], now: u32) -> Secrets {
    let all = || secrets.iter().map(|hex| Secret::new(&bytes(hex))).collect();
    Secrets {
        period: now / PERIOD_SECS,
        before: all(),
        current: all(),
        after: all(),
    }
}

fn cookies(keys: &[&str]) -> Cookies {
    let key = |(id, text): (usize, &&str)| Key {
        id: u8::try_from(id).unwrap(),
        secret: Text::new((*text).to_owned()),
    };
    Cookies::new(&keys.iter().enumerate().map(key).collect::<Vec<_>>())
}

#[track_caller]
fn check_made(secret: &str, client: &str, peer: &str, now: u32, expected: &str) {
    let made = fixed(&[secret], now).make(&bytes(client), peer.parse().unwrap(), now);
    assert_eq!(made, bytes(expected));
}

#[test]
fn the_cookies_of_rfc_9018_are_made_to_the_byte() {
    // Appendix A.1 to A.4.
    check_made(
        SECRET,
        "2464c4abcf10c957",
        "198.51.100.100",
        1_559_731_985,
        "010000005cf79f111f8130c3eee29480",
    );
    check_made(
        SECRET,
        "2464c4abcf10c957",
        "198.51.100.100",
        1_559_734_385,
        "010000005cf7a871d4a564a1442aca77",
    );
    check_made(
        SECRET,
        "fc93fc62807ddb86",
        "203.0.113.203",
        1_559_734_700,
        "010000005cf7a9acf73a7810aca2381e",
    );
    check_made(
        "445536bcd2513298075a5d379663c962",
        "22681ab97d52c298",
        "2001:db8:220:1:59de:d0f4:8769:82b8",
        1_559_741_961,
        "010000005cf7c609a6bb79d16625507a",
    );
}

#[track_caller]
fn check_verified(secrets: &[&str], whole: &str, peer: &str, now: u32, age: Option<Age>) {
    let cookie = cookie(whole);
    let ServerCookie::Whole(server) = cookie.server else {
        panic!("a server cookie");
    };
    let peer = peer.parse().unwrap();
    let found = fixed(secrets, now).verify(&cookie.client, &server, peer, now);
    assert_eq!(found, age);
}

#[test]
fn the_cookies_of_rfc_9018_are_known_again() {
    // A.2: 40 minutes old, so renewed.
    let first = "2464c4abcf10c957010000005cf79f111f8130c3eee29480";
    check_verified(
        &[SECRET],
        first,
        "198.51.100.100",
        1_559_734_385,
        Some(Age::Old),
    );
    check_verified(
        &[SECRET],
        first,
        "198.51.100.100",
        1_559_731_990,
        Some(Age::Young),
    );
    check_verified(&[SECRET], first, "198.51.100.101", 1_559_731_990, None);
    // A.3: its reserved bytes are set, and part of what is hashed.
    let reserved = "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5";
    check_verified(
        &[SECRET],
        reserved,
        "203.0.113.203",
        1_559_727_985,
        Some(Age::Young),
    );
    // A.4: made by the secret before.
    let rolled = [
        "445536bcd2513298075a5d379663c962",
        "dd3bdf9344b678b185a6f5cb60fca715",
    ];
    let old = "22681ab97d52c298010000005cf7c57926556bd0934c72f8";
    let peer = "2001:db8:220:1:59de:d0f4:8769:82b8";
    check_verified(&rolled, old, peer, 1_559_741_961, Some(Age::Old));
}

/// What becomes of a cookie made at `made` when it comes back at `now`: renewed or not.
#[track_caller]
fn check_age(made: u32, now: u32, expected: (Standing, bool)) {
    let cookies = cookies(&["0123456789abcdef"]);
    let (_, given) = cookies.judge(cookie("2464c4abcf10c957"), PEER, made);
    let (standing, next) = cookies.judge(given, PEER, now);
    assert_eq!((standing, next != given), expected);
}

#[test]
fn a_cookie_lives_for_an_hour_and_is_renewed_after_half() {
    check_age(NOON, NOON, (Standing::Valid, false));
    check_age(NOON, NOON + 1800, (Standing::Valid, false));
    check_age(NOON, NOON + 1801, (Standing::Valid, true));
    check_age(NOON, NOON + 3600, (Standing::Valid, true));
    check_age(NOON, NOON + 3601, (Standing::Invalid, true));
    // Clocks of two edges differ.
    check_age(NOON, NOON - 300, (Standing::Valid, false));
    check_age(NOON, NOON - 301, (Standing::Invalid, true));
    // RFC 1982: over the end of the 32 bits.
    check_age(u32::MAX - 9, u32::MAX, (Standing::Valid, false));
}

#[test]
fn a_cookie_outlives_midnight_and_is_renewed_by_it() {
    let midnight = 20_000 * PERIOD_SECS;
    check_age(midnight - 1, midnight, (Standing::Valid, true));
    check_age(midnight - 1, midnight + 3599, (Standing::Valid, true));
    check_age(midnight - 1, midnight + 3600, (Standing::Invalid, true));
    // Made by a clock that was ahead of midnight.
    check_age(midnight, midnight - 1, (Standing::Valid, true));
}

#[test]
fn the_first_key_makes_and_all_verify() {
    let (old, new) = ("0123456789abcdef", "fedcba9876543210");
    let client = cookie("2464c4abcf10c957");
    let (_, given) = cookies(&[old]).judge(client, PEER, NOON);
    let (standing, renewed) = cookies(&[new, old]).judge(given, PEER, NOON + 1);
    assert_eq!(standing, Standing::Valid);
    let known = |keys: &[&str], cookie| cookies(keys).judge(cookie, PEER, NOON + 1).0;
    assert_eq!(known(&[new], renewed), Standing::Valid);
    assert_eq!(known(&[new], given), Standing::Invalid);
    // Another edge with the same keys.
    assert_eq!(known(&[old], given), Standing::Valid);
}

#[test]
fn without_keys_the_process_knows_its_own() {
    let (_, given) = cookies(&[]).judge(cookie("2464c4abcf10c957"), PEER, NOON);
    assert_eq!(cookies(&[]).judge(given, PEER, NOON).0, Standing::Valid);
}

#[test]
fn a_cookie_of_another_client_version_or_maker_counts_for_nothing() {
    let cookies = cookies(&["0123456789abcdef"]);
    let (_, given) = cookies.judge(cookie("2464c4abcf10c957"), PEER, NOON);
    let ServerCookie::Whole(server) = given.server else {
        panic!("a server cookie");
    };
    for at in 0..SERVER_BYTES {
        let mut changed = server;
        changed[at] ^= 1;
        let server = ServerCookie::Whole(changed);
        let (standing, fresh) = cookies.judge(Cookie { server, ..given }, PEER, NOON);
        assert_eq!((standing, fresh), (Standing::Invalid, given), "byte {at}");
    }
    let server = ServerCookie::Foreign;
    let foreign = cookies.judge(Cookie { server, ..given }, PEER, NOON);
    assert_eq!(foreign, (Standing::Invalid, given));
}
