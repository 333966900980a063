//! The life of a token through the whole edge: forks, losses, retirement, races, answers that get lost, trailers.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::response::Response;
use support::{Answer, Edge, Origin, raw_origin, two_regions, wait_until};

const HOST: &str = "api.example.com";

/// What a region says, until a test says otherwise.
#[derive(Clone, Default)]
struct Word(Arc<Mutex<(String, String)>>);

impl Word {
    /// What its readers see.
    fn sees(&self, applied: &str) {
        self.0.lock().unwrap().0 = applied.to_owned();
    }

    /// Where its next writes are.
    fn commits(&self, position: &str) {
        self.0.lock().unwrap().1 = position.to_owned();
    }

    fn answer(&self, method: &str, name: &'static str) -> Response {
        let (applied, committed) = self.0.lock().unwrap().clone();
        let mut answer = Response::builder();
        if method == "POST" {
            answer = answer.header("Meridian-Committed", committed);
        }
        if !applied.is_empty() {
            answer = answer.header("Meridian-Applied", applied);
        }
        answer.body(Body::from(name)).unwrap()
    }
}

/// Two regions of one domain: `near` comes first for reads, `far` takes the writes.
struct Store {
    edge: Edge,
    near: Origin,
    far: Origin,
    near_word: Word,
    far_word: Word,
    yaml: String,
}

fn yaml(near: &str, far: &str, consistency: &str) -> String {
    two_regions(
        near,
        far,
        "",
        "interval: 500ms, timeout: 20s",
        &format!("wait: 0s, {consistency}"),
    )
}

fn store(consistency: &str) -> Store {
    let (near, far) = (Origin::start("near"), Origin::start("far"));
    let (near_word, far_word) = (Word::default(), Word::default());
    let word = near_word.clone();
    near.set_answer(move |seen| word.answer(&seen.method, "near"));
    let word = far_word.clone();
    far.set_answer(move |seen| word.answer(&seen.method, "far"));
    // A read goes where the answer comes soonest, so the far region is far for a loaded machine too.
    far.set_pause_of_health(std::time::Duration::from_secs(1));
    let yaml = yaml(&near.url(), &far.url(), consistency);
    Store {
        edge: Edge::start(&yaml),
        near,
        far,
        near_word,
        far_word,
        yaml,
    }
}

impl Store {
    fn write(&self, position: &str, carried: &[&str]) -> Answer {
        self.far_word.commits(position);
        self.edge.curl(HOST, "/", &[&["-d", "x"], carried].concat())
    }

    fn read(&self, carried: &[&str]) -> Answer {
        self.edge.curl(HOST, "/", carried)
    }

    /// A region pushes what it has.
    fn push(&self, region: &str, writer: &str, position: &str) {
        let body = format!("{{\"applied\":{{\"{writer}\":\"{position}\"}}}}");
        let path = format!("/api/v1/positions/{region}");
        assert_eq!(self.edge.admin("PUT", &path, &body).0, 200);
    }

    /// What `near` was last told that the client must see.
    fn required_of_near(&self) -> String {
        let seen = self.near.seen();
        seen.last().unwrap().header("meridian-require").to_owned()
    }
}

fn token(answer: &Answer) -> String {
    format!("Meridian-Token: {}", answer.header("meridian-token"))
}

fn mark(answer: &Answer) -> (&str, &str) {
    (&answer.body, answer.header("meridian-consistency"))
}

/// A token that asks for nothing any more is taken back on both carriers.
#[track_caller]
fn check_taken_back(by_header: &Answer, by_cookie: &Answer) {
    let values = by_header
        .head
        .lines()
        .filter(|line| line.to_ascii_lowercase().starts_with("meridian-token:"));
    let values: Vec<&str> = values
        .map(|line| line.split_once(':').unwrap().1.trim())
        .collect();
    assert_eq!(values, [""], "{}", by_header.head);
    let set = by_cookie.headers("set-cookie").join("\n");
    assert!(
        set.contains("__Host-meridian_seen=; Path=/; Max-Age=0"),
        "{set}"
    );
}

#[test]
fn a_new_epoch_satisfies_what_was_before_its_fork_and_nothing_past_it() {
    let store = store("");
    let before = token(&store.write("3:977", &[]));
    let past = token(&store.write("3:978", &[]));
    store.near_word.sees("far=4:1");
    store.read(&[]); // The answer of `near` tells the edge.
    let without = store.read(&["-H", &before]);
    assert_eq!(mark(&without), ("far", "routed"), "it says no beginning");
    store.near_word.sees("far=4:1@3:977");
    let is_satisfied = || {
        // A health check that was asked meanwhile makes an answer late.
        store.read(&[]);
        mark(&store.read(&["-H", &before])) == ("near", "fresh")
    };
    assert!(wait_until(is_satisfied));
    assert_eq!(mark(&store.read(&["-H", &past])), ("far", "routed"));
}

#[test]
fn where_an_epoch_began_counts_for_who_follows_it_without_saying_so() {
    let store = store("");
    let before = token(&store.write("3:977", &[]));
    store.push("far", "far", "4:1@3:977");
    store.near_word.sees("far=4:1");
    store.read(&[]);
    assert_eq!(mark(&store.read(&["-H", &before])), ("near", "fresh"));
}

#[test]
fn a_lost_write_is_told_once_and_leaves_the_token() {
    let store = store("");
    let write = store.write("3:980", &[]);
    let (lost, cookie) = (token(&write), write.cookie("__Host-meridian_seen"));
    store.push("far", "far", "4:1@3:977");
    store.far_word.sees("far=4:1@3:977");
    store.near_word.sees("far=3:977");
    let late = store.read(&["-H", &lost]);
    assert_eq!(mark(&late).1, "lost", "{}", late.head);
    let told = store.read(&["-b", &cookie]);
    assert_eq!(mark(&told), ("near", "fresh"), "the same session was told");
    let after = store.read(&["-H", &token(&late)]);
    check_taken_back(&after, &told);
    assert_eq!(
        store
            .edge
            .counted("meridian_lost_entries_total", &["region=\"far\""]),
        1
    );
    assert_eq!(
        store.edge.counted(
            "meridian_reads_total",
            &["service=\"api\"", "class=\"2xx\"", "consistency=\"lost\""]
        ),
        1
    );
}

#[test]
fn what_was_before_a_lost_write_is_required_still() {
    let store = store("");
    let lost = token(&store.write("3:980", &[]));
    store.push("far", "far", "4:1@3:977");
    store.far_word.sees("far=4:1@3:977");
    store.near_word.sees("far=3:970");
    store.read(&[]); // The answer of `near` tells the edge that nobody has it.
    let told = store.read(&["-H", &lost]);
    assert_eq!(mark(&told), ("far", "lost"), "{}", told.head);
    let again = store.read(&["-H", &token(&told)]);
    assert_eq!(mark(&again), ("far", "routed"));
    store.near_word.sees("far=3:977");
    store.read(&[]);
    assert_eq!(mark(&store.read(&["-H", &token(&told)])).0, "near");
}

#[test]
fn what_a_region_that_is_down_may_still_have_is_late_and_not_lost() {
    let mut store = store("");
    store.near_word.sees("far=3:970");
    store.read(&[]);
    let write = token(&store.write("3:980", &[]));
    store.push("far", "far", "4:1@3:977");
    store.far_word.sees("far=4:1@3:977");
    store.near.stop();
    assert_eq!(mark(&store.read(&["-H", &write])), ("far", "stale"));
}

#[test]
fn a_token_is_taken_back_once_every_region_has_it_even_if_one_is_down() {
    let mut store = store("");
    let write = store.write("1", &[]);
    store.far_word.sees("far=1");
    store.near_word.sees("far=0");
    let read = store.read(&["-H", &token(&write)]);
    assert_eq!(mark(&read), ("far", "routed"));
    assert!(
        read.headers("meridian-token").is_empty(),
        "not everybody has it"
    );
    store.far.stop();
    store.near_word.sees("far=1");
    store.read(&[]);
    let by_header = store.read(&["-H", &token(&write)]);
    let by_cookie = store.read(&["-b", &write.cookie("__Host-meridian_seen")]);
    assert_eq!(mark(&by_header), ("near", "fresh"));
    check_taken_back(&by_header, &by_cookie);
    let without = store.read(&["-H", "Meridian-Token;"]);
    assert!(without.headers("meridian-consistency").is_empty());
}

#[test]
fn a_write_keeps_what_every_region_has_and_a_read_gives_back_the_rest() {
    let store = store("");
    let first = token(&store.write("1", &[]));
    store.far_word.sees("far=1");
    store.near_word.sees("far=1");
    store.read(&[]);
    store.push("far", "far", "1");
    let second = token(&store.write("near=7", &["-H", &first]));
    store.near_word.sees("far=1,near=7");
    let read = store.read(&["-H", &second]);
    assert_eq!(store.required_of_near(), "near=7");
    assert!(!read.header("meridian-token").is_empty());
}

#[test]
fn two_tabs_that_race_lose_no_write() {
    let store = store("");
    let shared = token(&store.write("1", &[]));
    store.write("far=2", &["-H", &shared]);
    let last = token(&store.write("near=7", &["-H", &shared]));
    store.near_word.sees("far=2,near=7");
    store.read(&[]);
    assert_eq!(mark(&store.read(&["-H", &last])), ("near", "fresh"));
    assert_eq!(store.required_of_near(), "far=2,near=7");
}

#[test]
fn a_lost_set_cookie_loses_no_write_not_even_across_a_reload() {
    let store = store("");
    let kept = token(&store.write("1", &[]));
    store.write("2", &["-H", &kept]); // Its answer never arrives.
    store
        .edge
        .write(&store.yaml.replace("wait: 0s", "wait: 0s, max_lag: 6s"));
    let generation = || {
        let (_, status) = store.edge.admin("GET", "/api/v1/status", "");
        status["config"]["generation"].as_u64().unwrap()
    };
    assert!(wait_until(|| generation() == 2));
    store.near_word.sees("far=1");
    store.read(&[]);
    let read = store.read(&["-H", &kept]);
    assert_eq!(
        mark(&read),
        ("far", "routed"),
        "near lacks the second write"
    );
    store.near_word.sees("far=2");
    let is_repaired = || {
        // A health check that was asked meanwhile makes an answer late.
        store.read(&[]);
        mark(&store.read(&["-H", &token(&read)])) == ("near", "fresh")
    };
    assert!(wait_until(is_repaired));
    assert_eq!(store.required_of_near(), "far=2");
}

#[test]
fn a_token_is_not_taken_back_while_a_write_of_its_session_is_under_way() {
    let store = store("");
    let write = token(&store.write("1", &[]));
    store.far_word.sees("far=1");
    store.near_word.sees("far=1");
    store.read(&[]);
    store.push("far", "far", "1");
    store.far.set_pause(std::time::Duration::from_secs(8));
    let asked = store.far.seen().len();
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| store.write("2", &["-H", &write]));
        // Reads until the write is on its way see the token taken back; then it is kept.
        assert!(wait_until(|| {
            let read = store.read(&["-H", &write]);
            !read.head.to_ascii_lowercase().contains("meridian-token:")
        }));
        assert_eq!(
            store.far.seen().len(),
            asked,
            "the write has not been answered yet"
        );
        assert_eq!(writing.join().unwrap().status, 200);
    });
}

#[test]
fn a_region_behind_for_longer_than_tokens_live_is_not_read_from() {
    let store = store("ttl: 2s");
    store.write("1", &[]);
    store.far_word.sees("far=1");
    store.near_word.sees("far=0");
    assert_eq!(store.read(&[]).body, "near");
    let behind = || {
        store.push("near", "far", "0");
        store.push("far", "far", "1");
        store.read(&[]).body == "far"
    };
    assert!(
        wait_until(behind),
        "its readers may have written and forgotten it"
    );
    let (_, told) = store.edge.admin(
        "GET",
        "/api/v1/explain?name=api.example.com&client=192.0.2.1&method=GET",
        "",
    );
    assert!(told.to_string().contains("not read from"), "{told}");
    let (_, status) = store.edge.admin("GET", "/api/v1/status", "");
    let of = |name: &str| {
        let regions = status["regions"].as_array().unwrap();
        let region = regions.iter().find(|region| region["name"] == name);
        region.unwrap()["services"][0]["read_from"].clone()
    };
    assert_eq!((of("near"), of("far")), (false.into(), true.into()));
    let admin = format!("http://{}", store.edge.address("admin"));
    let said = support::run(support::meridian().args(["status", "--admin", &admin]));
    let said = String::from_utf8(said.stdout).unwrap();
    assert_eq!(said.matches(", not read from").count(), 1, "{said}");
    store.near_word.sees("far=1");
    let caught_up = || {
        store.push("near", "far", "1");
        store.read(&[]).body == "near"
    };
    assert!(wait_until(caught_up));
}

#[test]
fn a_region_that_is_not_read_from_answers_when_no_other_can_be_reached() {
    let mut store = store("ttl: 2s");
    store.write("1", &[]);
    store.far_word.sees("far=1");
    store.near_word.sees("far=0");
    let behind = || {
        store.push("near", "far", "0");
        store.push("far", "far", "1");
        store.read(&[]).body == "far"
    };
    assert!(wait_until(behind));
    let written = store.write("2", &[]);
    let token = format!("Meridian-Token: {}", written.header("meridian-token"));
    drop(std::mem::replace(&mut store.far, Origin::start("another")));
    let plain = store.read(&[]);
    assert_eq!((plain.status, plain.body.as_str()), (200, "near"));
    let marked = store.read(&["-H", &token]);
    assert_eq!((marked.status, marked.body.as_str()), (200, "near"));
    assert_eq!(marked.header("meridian-consistency"), "stale");
}

#[test]
fn an_origin_that_is_not_read_from_answers_when_no_other_of_its_region_can_be_reached() {
    let (ahead, behind) = (Origin::start("ahead"), Origin::start("behind"));
    let (ahead_word, behind_word) = (Word::default(), Word::default());
    ahead_word.sees("here=0");
    behind_word.sees("here=0");
    let word = ahead_word.clone();
    ahead.set_answer(move |seen| word.answer(&seen.method, "ahead"));
    let word = behind_word.clone();
    behind.set_answer(move |seen| word.answer(&seen.method, "behind"));
    let edge = Edge::start(&format!(
        "node: {{ name: fra-1 }}
listen: {{ https: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions: {{ here: {{ origins: ['{}', '{}'] }} }}
services:
  api:
    hosts: [{HOST}]
    health: {{ protocol: http, interval: 10m }}
    consistency: {{ read_your_writes: true, wait: 0s, ttl: 2s }}
",
        ahead.url(),
        behind.url()
    ));
    let read = |carried: &[&str]| edge.curl(HOST, "/", carried);
    let all_from = |name: &str| (0..12).all(|_| read(&[]).body == name);
    ahead_word.sees("here=1");
    assert!(wait_until(|| all_from("ahead")), "the other is behind");
    ahead_word.commits("2");
    let written = std::iter::repeat_with(|| edge.curl(HOST, "/", &["-d", "x"]));
    let written = written.take(100).find(|answer| answer.body == "ahead");
    let token = token(&written.unwrap());
    drop(ahead);
    for _ in 0..3 {
        let plain = read(&[]);
        assert_eq!((plain.status, plain.body.as_str()), (200, "behind"));
        let marked = read(&["-H", &token]);
        assert_eq!(mark(&marked), ("behind", "stale"));
    }
}

/// A region whose answers to writes say only in their trailers where they are.
fn trailing_origin() -> std::net::SocketAddr {
    raw_origin(|mut stream, head| {
        let answer: &[u8] = if head.starts_with("POST") {
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Meridian-Committed\r\nConnection: close\r\n\r\n\
              3\r\nfar\r\n0\r\nMeridian-Committed: 5\r\nX-Sum: 1\r\n\r\n"
        } else {
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nfar"
        };
        let _ = stream.get_mut().write_all(answer);
    })
}

#[test]
fn a_position_in_trailers_is_required_of_the_next_read_and_not_shown_to_the_client() {
    let near = Origin::start("near");
    let far = format!("http://{}", trailing_origin());
    let edge = Edge::start(&yaml(&near.url(), &far, "pin: 1s"));
    let arguments = ["-d", "x", "-H", "TE: trailers", "--http1.1"];
    let write = edge.curl(HOST, "/", &arguments);
    assert_eq!(write.body, "far");
    assert!(
        !write
            .head
            .to_ascii_lowercase()
            .contains("meridian-committed:"),
        "{}",
        write.head
    );
    let pinned = token(&write);
    let over = || edge.curl(HOST, "/", &["-H", &pinned]);
    assert_eq!(mark(&over()), ("far", "routed"));
    near.set_answer(|_| {
        Response::builder()
            .header("Meridian-Applied", "far=5")
            .body(Body::from("near"))
            .unwrap()
    });
    let is_over = || {
        edge.curl(HOST, "/", &[]);
        over().body == "near"
    };
    assert!(wait_until(is_over));
    let asked = near.seen();
    assert_eq!(asked.last().unwrap().header("meridian-require"), "far=5");
}

#[test]
fn what_intents_call_a_read_mints_nothing_and_what_they_call_a_write_does() {
    let store =
        store("intents: [{ path: /search, method: POST, is: read }, { path: /logout, is: write }]");
    store.near.set_answer(|_| Response::new(Body::from("near")));
    let search = store.edge.curl(HOST, "/search", &["-d", "x"]);
    assert_eq!(
        (search.body.as_str(), search.headers("meridian-token").len()),
        ("near", 0)
    );
    store.far.set_answer(|_| Response::new(Body::from("far")));
    for path in ["/logout", "/%6Cogout", "/a/../logo%75t", "/logout/%2E"] {
        let logout = store.edge.curl(HOST, path, &["--path-as-is"]);
        assert_eq!(
            (logout.body.as_str(), logout.headers("meridian-token").len()),
            ("far", 1),
            "{path}"
        );
        let asked = store.far.seen();
        assert_eq!(
            asked.last().unwrap().uri,
            path,
            "the origin gets it as it is"
        );
    }
}
