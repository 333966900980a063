//! What carries a token: the cookie's attributes, what scripts of other sites may read, and other edges.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::process::Command;

use axum::body::Body;
use axum::response::Response;
use support::{Answer, Edge, Origin, run};

const HOST: &str = "api.example.com";

/// An origin that says where writes are, and that lets scripts read a field of its own.
fn origin() -> Origin {
    let origin = Origin::start("here");
    origin.set_answer(|seen| {
        let answer = Response::builder().header("Access-Control-Expose-Headers", "X-Total");
        let answer = match seen.method.as_str() {
            "POST" => answer.header("Meridian-Committed", "5"),
            _ => answer,
        };
        answer.body(Body::from("here")).unwrap()
    });
    origin
}

fn edge(origin: &Origin, secret: &str) -> Edge {
    Edge::start(&format!(
        "listen: {{ https: ['127.0.0.1:0'], http: ['127.0.0.1:0'], http_mode: serve, admin: '127.0.0.1:0' }}
keys: [{{ id: 1, secret: {secret} }}]
regions:
  here: {{ location: [50, 8], origins: ['{}'] }}
  there: {{ location: [39, -77], origins: ['http://127.0.0.1:9'] }}
services:
  api:
    hosts: [{HOST}]
    writes: {{ to: {{ primary: here }} }}
    steering: {{ policy: priority }}
    consistency: {{ read_your_writes: true, ttl: 2m }}
",
        origin.url()
    ))
}

const SECRET: &str = "0123456789abcdef";

fn write(edge: &Edge) -> Answer {
    edge.curl(HOST, "/", &["-d", "x"])
}

/// What follows the value of the one cookie that an answer sets.
fn attributes<'a>(cookies: &[&'a str], name: &str) -> Vec<&'a str> {
    assert_eq!(cookies.len(), 1, "{cookies:?}");
    let mut parts = cookies[0].split("; ");
    let first = parts.next().unwrap();
    assert_eq!(first.split('=').next(), Some(name));
    parts.collect()
}

#[test]
fn the_cookie_has_the_attributes_of_the_contract_over_tls_and_over_plain_http() {
    let origin = origin();
    let edge = edge(&origin, SECRET);
    let secure = write(&edge);
    let cookies = secure.headers("set-cookie");
    assert_eq!(
        attributes(&cookies, "__Host-meridian_seen"),
        [
            "Path=/",
            "Max-Age=120",
            "Secure",
            "HttpOnly",
            "SameSite=Lax"
        ]
    );
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-i", "-d", "x", "-H"])
        .arg(format!("Host: {HOST}"))
        .arg(format!("http://{}/", edge.address("http")));
    let said = String::from_utf8(run(&mut curl).stdout).unwrap();
    let cookies: Vec<&str> = said
        .lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"))
        .map(|(_, value)| value)
        .collect();
    assert_eq!(
        attributes(&cookies, "meridian_seen"),
        ["Path=/", "Max-Age=120", "HttpOnly", "SameSite=Lax"]
    );
}

#[test]
fn an_origin_sets_no_cookie_of_the_token_s_names() {
    let origin = Origin::start("here");
    origin.set_answer(|_| {
        let answer = Response::builder()
            .header(
                "Set-Cookie",
                "__Host-meridian_seen=; Path=/; Max-Age=0; Secure",
            )
            .header("Set-Cookie", "cart=7; Path=/")
            .header("Set-Cookie", "meridian_seen=forged; Path=/")
            .header("Set-Cookie", "meridian_seen_before=1");
        answer.body(Body::from("here")).unwrap()
    });
    let edge = edge(&origin, SECRET);
    let read = edge.curl(HOST, "/", &[]);
    assert_eq!(
        read.headers("set-cookie"),
        ["cart=7; Path=/", "meridian_seen_before=1"]
    );
}

#[test]
fn scripts_of_other_sites_may_read_the_token_wherever_it_is_sent_and_what_the_origin_lets_them() {
    let origin = origin();
    let edge = edge(&origin, SECRET);
    let exposed = |answer: &Answer| {
        let values = answer.headers("access-control-expose-headers").join(", ");
        let mut names: Vec<_> = values.split(", ").map(str::to_ascii_lowercase).collect();
        names.sort();
        names
    };
    assert_eq!(exposed(&write(&edge)), ["meridian-token", "x-total"]);
    assert_eq!(exposed(&edge.curl(HOST, "/", &[])), ["x-total"]);
    let cookie = write(&edge).cookie("__Host-meridian_seen");
    let by_cookie = edge.curl(HOST, "/", &["-d", "x", "-b", &cookie]);
    assert!(by_cookie.headers("meridian-token").is_empty());
    assert_eq!(exposed(&by_cookie), ["x-total"]);
}

#[test]
fn an_answer_with_a_write_in_it_is_kept_by_no_shared_cache_whatever_its_origin_says() {
    let origin = Origin::start("here");
    origin.set_answer(|_| {
        let answer = Response::builder()
            .header("Meridian-Committed", "5")
            .header("Cache-Control", "public, max-age=60")
            .header("CDN-Cache-Control", "max-age=600");
        answer.body(Body::from("here")).unwrap()
    });
    let edge = edge(&origin, SECRET);
    let read = edge.curl(HOST, "/", &[]);
    assert_eq!(read.headers("meridian-token").len(), 1, "{}", read.head);
    assert_eq!(read.header("cache-control"), "private, max-age=60");
    assert!(
        read.headers("cdn-cache-control").is_empty(),
        "{}",
        read.head
    );
}

#[test]
fn a_token_holds_on_every_edge_with_the_same_keys_and_on_no_other() {
    let origin = origin();
    let [first, second] = [(); 2].map(|()| edge(&origin, SECRET));
    let stranger = edge(&origin, "fedcba9876543210");
    let write = write(&first);
    let token = format!("Meridian-Token: {}", write.header("meridian-token"));
    let cookie = write.cookie("__Host-meridian_seen");
    for carried in [["-H", &token], ["-b", &cookie]] {
        let read = second.curl(HOST, "/", &carried);
        assert_eq!(read.header("meridian-consistency"), "fresh");
        let seen = origin.seen();
        let required = seen.last().unwrap().header("meridian-require").to_owned();
        assert_eq!(required, "here=5");
        let elsewhere = stranger.curl(HOST, "/", &carried);
        assert!(elsewhere.headers("meridian-consistency").is_empty());
    }
    assert_eq!(second.counted("meridian_token_rejected_total", &[]), 0);
    assert_eq!(stranger.counted("meridian_token_rejected_total", &[]), 2);
}

/// What `explain` says of a request that carries this: its status, and the tokens or the error.
fn explained(edge: &Edge, carries: &str) -> (u16, serde_json::Value) {
    let path = format!("/api/v1/explain?name={HOST}&client=192.0.2.1&{carries}");
    let (status, told) = edge.admin("GET", &path, "");
    let what = if status == 200 { "tokens" } else { "error" };
    (status, told[what].clone())
}

#[test]
fn explain_says_what_a_token_asks_for_wherever_it_is_carried() {
    let origin = origin();
    let edge = edge(&origin, SECRET);
    let token = write(&edge).header("meridian-token").to_owned();
    let carriers = [
        ("token", format!("token={token}")),
        ("header", format!("header=Meridian-Token:%20{token}")),
        (
            "cookie",
            format!("header=Cookie:%20a=b;%20__Host-meridian_seen={token}"),
        ),
        (
            "cookie",
            format!("header=Cookie:%20meridian_seen={token};%20a=b"),
        ),
    ];
    for (carrier, carries) in carriers {
        let (status, tokens) = explained(&edge, &carries);
        assert_eq!(
            (status, tokens.as_array().unwrap().len()),
            (200, 1),
            "{tokens}"
        );
        let told = &tokens[0];
        assert_eq!(
            (&told["carrier"], &told["counts"]),
            (&carrier.into(), &true.into())
        );
        assert_eq!(told["requires"], "here=5", "{told}");
        assert_eq!(told["remembered"], serde_json::Value::Null);
        let says = told["says"].as_str().unwrap();
        assert!(says.starts_with("asks for here=5; expires in "), "{says}");
        assert!((1..=120).contains(&told["expires_in_s"].as_u64().unwrap()));
    }
}

#[test]
fn explain_says_what_is_wrong_with_a_token_and_decides_as_without_it() {
    let origin = origin();
    let (edge, other) = (edge(&origin, SECRET), edge(&origin, "another-secret-of-it"));
    let foreign = write(&other).header("meridian-token").to_owned();
    let carries = format!("header=Meridian-Token:%20{foreign},%20nonsense!");
    let (status, tokens) = explained(&edge, &carries);
    assert_eq!(status, 200, "{tokens}");
    let says: Vec<_> = (0..2)
        .map(|at| tokens[at]["says"].as_str().unwrap())
        .collect();
    let altered = "counts as absent: its signature is not that of key 1";
    assert!(says[0].starts_with(altered), "{says:?}");
    assert_eq!(
        says[1],
        "counts as absent: it is not base64url without padding"
    );
    assert_eq!(
        (&tokens[0]["counts"], &tokens[0]["requires"]),
        (&false.into(), &().into())
    );
    let (status, error) = explained(&edge, &format!("token={foreign}"));
    assert_eq!(status, 400);
    assert!(
        error.as_str().unwrap().contains("not that of key 1"),
        "{error}"
    );
}

#[test]
fn explain_decides_by_what_the_edge_remembers_of_the_session_and_says_so() {
    let origin = origin();
    let edge = edge(&origin, SECRET);
    let token = write(&edge).header("meridian-token").to_owned();
    origin.set_answer(|_| {
        Response::builder()
            .header("Meridian-Committed", "7")
            .body(Body::empty())
            .unwrap()
    });
    // Its answer never reaches the client.
    let again = format!("Meridian-Token: {token}");
    edge.curl(HOST, "/", &["-d", "x", "-H", &again]);
    let (_, tokens) = explained(&edge, &format!("token={token}"));
    let told = &tokens[0];
    assert_eq!(
        (&told["requires"], &told["remembered"]),
        (&"here=5".into(), &"here=7".into())
    );
    let says = told["says"].as_str().unwrap();
    assert!(says.ends_with("the decision is that of here=7"), "{says}");
}
