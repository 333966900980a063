//! Who may do what, by token, place and page.

use std::cell::Cell;

use super::*;

const LOCAL: &str = "127.0.0.1:9090";
const OPEN: &str = "0.0.0.0:9090";

fn token(name: &str, role: Role) -> AdminToken {
    AdminToken {
        name: name.into(),
        digest: TokenDigest::of(&format!("token-of-{name}")),
        role,
    }
}

fn access(tokens: &[(&str, Role)]) -> AdminAccess {
    AdminAccess {
        tokens: tokens
            .iter()
            .map(|(name, role)| token(name, *role))
            .collect(),
        tls: None,
    }
}

/// What becomes of a request: the status it is turned away with, or who it is of.
#[track_caller]
fn check(
    (need, fields): (Need, &[(&'static str, &str)]),
    admin: &AdminAccess,
    address: &str,
    expected: Result<&str, u16>,
) {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.insert(*name, value.parse().unwrap());
    }
    let asked = Asked {
        need,
        headers: &headers,
        from: IpAddr::from([203, 0, 113, 1]),
        listens_on: ListensOn(address.parse().unwrap()),
    };
    let judged = asked.judge(admin, &mut Attempts::default(), 0);
    let told = judged
        .map(|who| who.to_string())
        .map_err(|denied| denied.status.as_u16());
    assert_eq!(
        told.as_deref().map_err(|status| *status),
        expected,
        "{fields:?}"
    );
}

fn bears(name: &str) -> String {
    format!("Bearer token-of-{name}")
}

#[test]
fn without_a_token_only_this_machine_may_change_anything() {
    let nobody = access(&[]);
    check((Need::Operate, &[]), &nobody, LOCAL, Ok("(this machine)"));
    check((Need::Operate, &[]), &nobody, OPEN, Err(403));
    check((Need::Read, &[]), &nobody, OPEN, Ok("(unknown)"));
}

#[test]
fn with_a_token_only_its_bearer_may() {
    let admin = access(&[("admin", Role::Operate)]);
    for address in [LOCAL, OPEN] {
        let right = [("authorization", &*bears("admin"))];
        check((Need::Operate, &right), &admin, address, Ok("admin"));
        let wrong = [("authorization", "Bearer wrong")];
        check((Need::Operate, &wrong), &admin, address, Err(401));
        check((Need::Operate, &[]), &admin, address, Err(401));
        check((Need::Read, &[]), &admin, address, Ok("(unknown)"));
    }
}

#[test]
fn a_reader_sees_and_does_not_change_and_from_then_on_others_do_not_see() {
    let admin = access(&[("bob", Role::Read), ("alice", Role::Operate)]);
    for address in [LOCAL, OPEN] {
        let (bob, alice) = (bears("bob"), bears("alice"));
        let (bob, alice) = ([("authorization", &*bob)], [("authorization", &*alice)]);
        check((Need::Read, &bob), &admin, address, Ok("bob"));
        check((Need::Operate, &bob), &admin, address, Err(403));
        check((Need::Read, &alice), &admin, address, Ok("alice"));
        check((Need::Operate, &alice), &admin, address, Ok("alice"));
        check((Need::Read, &[]), &admin, address, Err(401));
        check((Need::Nothing, &[]), &admin, address, Ok("(unknown)"));
    }
}

#[test]
fn a_page_from_elsewhere_may_not_use_this_machine_s_trust() {
    let nobody = access(&[]);
    let host = ("host", LOCAL);
    for (field, expected) in [
        (("origin", "http://127.0.0.1:9090"), Ok("(this machine)")),
        (("origin", "https://evil.example"), Err(403)),
        (("origin", "http://127.0.0.1:8080"), Err(403)),
        (("origin", "null"), Err(403)),
        (("sec-fetch-site", "same-origin"), Ok("(this machine)")),
        (("sec-fetch-site", "same-site"), Err(403)),
        (("sec-fetch-site", "cross-site"), Err(403)),
    ] {
        check((Need::Operate, &[host, field]), &nobody, LOCAL, expected);
    }
    let form = ("content-type", "text/plain");
    let page = ("sec-fetch-site", "same-origin");
    check(
        (Need::Operate, &[host, page, form]),
        &nobody,
        LOCAL,
        Err(415),
    );
    let json = ("content-type", "application/json; charset=utf-8");
    let fields = [host, page, json];
    check(
        (Need::Operate, &fields),
        &nobody,
        LOCAL,
        Ok("(this machine)"),
    );
    // curl says this of what it is given with -d, and is no page.
    let curl = [host, ("content-type", "application/x-www-form-urlencoded")];
    check((Need::Operate, &curl), &nobody, LOCAL, Ok("(this machine)"));
}

#[test]
fn a_name_that_points_to_this_machine_sees_and_changes_nothing() {
    let (nobody, admin) = (access(&[]), access(&[("admin", Role::Operate)]));
    for (host, may) in [
        ("evil.example:9090", false),
        ("localhost:9090", true),
        ("[::1]:9090", true),
    ] {
        let fields = [("host", host)];
        let seen = if may { Ok("(unknown)") } else { Err(403) };
        let changed = if may { Ok("(this machine)") } else { Err(403) };
        check((Need::Read, &fields), &nobody, LOCAL, seen);
        check((Need::Operate, &fields), &nobody, LOCAL, changed);
    }
    // Whoever bears a token is no page that a name was bent for.
    let told = bears("admin");
    let fields = [("host", "edge.internal"), ("authorization", &*told)];
    check((Need::Read, &fields), &admin, LOCAL, Ok("admin"));
    check(
        (Need::Read, &[("host", "edge.internal")]),
        &admin,
        LOCAL,
        Err(401),
    );
    check(
        (Need::Read, &[("host", "edge.internal")]),
        &admin,
        OPEN,
        Ok("(unknown)"),
    );
}

#[test]
fn whoever_guesses_is_soon_not_heard_even_with_the_right_token() {
    let admin = access(&[("admin", Role::Operate)]);
    let mut attempts = Attempts::default();
    let mut guess = |token: &str, now_ms: u64| {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        let asked = Asked {
            need: Need::Operate,
            headers: &headers,
            from: IpAddr::from([203, 0, 113, 1]),
            listens_on: ListensOn(OPEN.parse().unwrap()),
        };
        let judged = asked.judge(&admin, &mut attempts, now_ms);
        judged.map_or_else(|denied| denied.status.as_u16(), |_| 200)
    };
    assert!(
        (0..100).all(|_| guess("of before", 0) == 401),
        "one wrong token is one guess"
    );
    let first = (0..100).position(|number| guess(&format!("wrong {number}"), 0) == 429);
    assert_eq!(first, Some(19));
    assert_eq!(guess("token-of-admin", 0), 429);
    assert_eq!(guess("token-of-admin", 3_000), 200);
}

#[test]
fn every_token_is_compared_whichever_was_the_one() {
    let names = ["alice", "bob", "carol", "dave"];
    let tokens = names.map(|name| token(name, Role::Read));
    let mut shown: Vec<_> = names
        .map(|name| (format!("token-of-{name}"), Some(name)))
        .into();
    let like = |text: &str| (text.to_owned(), None);
    let long = "token-of-alice".repeat(1_000);
    shown.extend(["", "token-of-alic", "token-of-alicf", &long].map(like));
    for (text, expected) in shown {
        let compared = Cell::new(0);
        let found = find(&tokens, &TokenDigest::of(&text), |given, known| {
            compared.set(compared.get() + 1);
            given == known
        });
        assert_eq!(found.map(|token| &*token.name), expected, "{text:.20}");
        assert_eq!(compared.get(), tokens.len(), "{text:.20}");
    }
}
