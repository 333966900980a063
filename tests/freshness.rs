//! How the edge knows what regions have applied, and what that does for reads that wait: long polls,
//! probes on demand, lag, and nonsense.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::time::{Duration, Instant};

use support::{Answer, Edge, Mode, Process, Replica, meridian, run, wait_until};

/// Two regions: `far` takes the writes, `near` is a replica that a test moves.
struct Store {
    edge: Edge,
    near: Replica,
    far: Replica,
}

fn yaml(near: &Replica, far: &Replica, consistency: &str, health: &str) -> String {
    format!(
        "listen: {{ https: ['127.0.0.1:0'], http: ['127.0.0.1:0'], http_mode: serve, admin: '127.0.0.1:0' }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions:
  near: {{ location: [50, 8], origins: ['{}'] }}
  far: {{ location: [39, -77], origins: ['{}'] }}
services:
  api:
    hosts: [api.example.com, www.example.com]
    steering: {{ policy: priority }}
    writes: {{ to: {{ primary: far }} }}
    health: {{ timeout: 20s, {health} }}
    consistency: {{ read_your_writes: true, {consistency} }}
",
        near.url(),
        far.url()
    )
}

/// Health checks that come once, so that other sources have to tell.
const ONCE: &str = "interval: 1h, recheck_interval: 1h";

fn store(consistency: &str, health: &str) -> Store {
    let (near, far) = (Replica::start("near"), Replica::start("far"));
    let edge = Edge::start(&yaml(&near, &far, consistency, health));
    Store { edge, near, far }
}

impl Store {
    fn write(&self) {
        let write = self.edge.curl("api.example.com", "/", &["-d", "x"]);
        assert_eq!(write.body, "far");
    }

    /// How far the status says that `near` is behind `far`.
    fn lag_of_near(&self) -> serde_json::Value {
        self.status()["lag"][0]["regions"][1]["behind"]["far"].clone()
    }

    /// Writes to `far`, which then dies: whoever wrote has to wait for `near`. The token of the write.
    fn write_and_lose_far(&mut self) -> String {
        let write = self.edge.curl("api.example.com", "/", &["-d", "x"]);
        assert_eq!(write.body, "far");
        self.far.stop();
        format!("Meridian-Token: {}", write.header("meridian-token"))
    }

    fn read(&self, token: &str) -> Answer {
        self.edge.curl("api.example.com", "/", &["-H", token])
    }

    fn status(&self) -> serde_json::Value {
        self.edge.admin("GET", "/api/v1/status", "").1
    }

    /// Whether an event of this kind says this.
    fn tells(&self, what: &str) -> bool {
        let arguments = ["-sS", "--max-time", "0.2"];
        let url = format!("http://{}/api/v1/events", self.edge.address("admin"));
        let mut curl = std::process::Command::new("curl");
        let told = curl.args(arguments).arg(url).output().unwrap().stdout;
        String::from_utf8_lossy(&told).contains(what)
    }
}

fn outcome(answer: &Answer) -> (&str, &str) {
    (&answer.body, answer.header("meridian-consistency"))
}

#[test]
fn a_drained_region_answers_what_only_it_has_though_nobody_has_noticed_yet_that_the_writer_is_dead()
{
    for has_it in [true, false] {
        let mut store = store("wait: 5s, when_unsatisfiable: fail", ONCE);
        let drained = store.edge.admin("PUT", "/api/v1/drains/near", "");
        assert_eq!(drained.0, 200, "{}", drained.1);
        let token = store.write_and_lose_far();
        if has_it {
            store.near.apply(1);
        }
        let asked = store.near.probes();
        let answer = std::thread::scope(|scope| {
            let reading = scope.spawn(|| store.read(&token));
            if !has_it {
                assert!(wait_until(|| store.near.probes() > asked));
                store.near.apply(1);
            }
            reading.join().unwrap()
        });
        assert_eq!(outcome(&answer), ("near", "waited"), "{has_it}");
    }
}

#[test]
fn a_client_whose_last_answer_was_lost_sees_its_write_through_an_upgrade() {
    let (near, far) = (Replica::start("near"), Replica::start("far"));
    let yaml = yaml(&near, &far, "wait: 0s", "interval: 200ms");
    let mut edge = Edge::start(&format!("node: {{ state_dir: state }}\n{yaml}"));
    let ask = |edge: &Edge, token: &str, more: &[&str]| {
        let token = format!("Meridian-Token: {token}");
        edge.curl("api.example.com", "/", &[&["-H", &token], more].concat())
    };
    let first = ask(&edge, "", &["-d", "x"]);
    let token = first.header("meridian-token").to_owned();
    near.apply(1);
    assert!(wait_until(
        || outcome(&ask(&edge, &token, &[])) == ("near", "fresh")
    ));
    // Of the second write's answer the client keeps nothing.
    assert_eq!(ask(&edge, &token, &["-d", "x"]).body, "far");
    assert_eq!(ask(&edge, &token, &[]).body, "far");
    let mut successor = Process::serving(edge.folder.path(), &["--upgrade"]);
    successor.wait_for(" ready");
    edge.process = successor;
    assert_eq!(outcome(&ask(&edge, &token, &[])), ("far", "routed"));
}

/// Reads that wait together until `near` has caught up; how each was served.
fn read_together(store: &Store, token: &str, readers: usize) -> Vec<String> {
    let before = store.near.reads();
    std::thread::scope(|scope| {
        let reading: Vec<_> = (0..readers)
            .map(|_| scope.spawn(|| outcome(&store.read(token)).1.to_owned()))
            .collect();
        assert!(wait_until(|| store.near.reads() >= before + readers));
        let asked = store.near.probes();
        assert!(wait_until(|| store.near.probes() >= asked + 15));
        store.near.apply(1);
        reading
            .into_iter()
            .map(|read| read.join().unwrap())
            .collect()
    })
}

#[test]
fn however_many_wait_for_a_region_one_asks_it() {
    let mut store = store("wait: 10s", ONCE);
    store.near.set_health_pause(Duration::from_millis(30));
    let token = store.write_and_lose_far();
    assert_eq!(read_together(&store, &token, 8), ["waited"; 8]);
    assert_eq!(store.near.most_probes_at_once(), 1);
}

#[test]
fn a_region_that_answers_409_is_asked_by_one_read_at_a_time_too() {
    let mut store = store("wait: 10s", ONCE);
    store.near.set_mode(Mode::Refuses);
    let token = store.write_and_lose_far();
    let (began, readers) = (Instant::now(), 8);
    assert_eq!(read_together(&store, &token, readers), ["waited"; 8]);
    let turns = usize::try_from(began.elapsed().as_millis() / 100).unwrap();
    let most = 2 * readers + turns + 1; // Each asks when it comes and when it is freed.
    assert!(store.near.reads() <= most, "{} reads", store.near.reads());
}

#[test]
fn a_region_whose_health_path_says_nothing_is_asked_with_the_reads_themselves() {
    let mut store = store("wait: 10s", ONCE);
    store.near.set_health_told(false);
    let token = store.write_and_lose_far();
    let near = &store.near;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert!(wait_until(|| near.reads() >= 3));
            near.apply(1);
        });
        assert_eq!(outcome(&store.read(&token)), ("near", "waited"));
    });
}

#[test]
fn a_client_that_leaves_ends_its_wait() {
    let mut store = store("wait: 1h", ONCE);
    let token = store.write_and_lose_far();
    let arguments = ["-H", &token, "--max-time", "0.5"];
    let given_up = store.edge.try_curl("api.example.com", "/", &arguments);
    assert!(given_up.is_none());
    assert!(
        store.near.probes() > 2,
        "it was asked while the client waited"
    );
    assert!(wait_until(|| {
        let before = store.near.probes();
        std::thread::park_timeout(Duration::from_millis(200));
        store.near.probes() == before
    }));
}

#[test]
fn a_read_that_waits_goes_on_through_a_reload() {
    let mut store = store("wait: 10s, follow: /follow", ONCE);
    let token = store.write_and_lose_far();
    // Whoever asks by himself gets no answer; only the long poll can tell.
    store.near.set_health_pause(Duration::from_secs(60));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert!(wait_until(|| store.near.reads() >= 1));
            let yaml = yaml(
                &store.near,
                &store.far,
                "wait: 9s, follow: /follow?new",
                ONCE,
            );
            store.edge.write(&yaml);
            let (status, outcome) = store.edge.admin("POST", "/api/v1/reload", "");
            assert_eq!(status, 200, "{outcome}");
            store.near.apply(1);
        });
        assert_eq!(outcome(&store.read(&token)), ("near", "waited"));
    });
}

#[test]
fn a_push_frees_who_waits() {
    let mut store = store("wait: 10s", ONCE);
    let token = store.write_and_lose_far();
    // Whoever asks by himself gets no answer; only the push can tell.
    store.near.set_health_pause(Duration::from_secs(60));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert!(wait_until(|| store.near.reads() >= 1));
            store.near.apply(1);
            let body = "{\"applied\":{\"near\":\"0\",\"far\":\"1\"}}";
            let pushed = store.edge.admin("PUT", "/api/v1/positions/near", body);
            assert_eq!(pushed.0, 200);
        });
        assert_eq!(outcome(&store.read(&token)), ("near", "waited"));
    });
}

/// How often a release is timed, and how many rounds that may take on a machine that is busy with other things.
const RELEASES: usize = 15;
const MOST_ROUNDS: usize = 300;

/// How long the threads of the edge and of the test together may wait for a processor while a release is timed. What
/// the machine does with other programs is no part of the promise.
const CALM: Duration = Duration::from_millis(3);

/// Times releases until so many were timed on a machine that let the edge run: each of them counts.
fn check_releases(mut release: impl FnMut() -> Released) {
    let mut took = Vec::new();
    let mut rounds = 0;
    while took.len() < RELEASES && rounds < MOST_ROUNDS {
        let released = release();
        if released.kept_waiting <= CALM {
            took.push(released.after);
        }
        rounds += 1;
    }
    eprintln!("in {rounds} rounds released after {took:?}");
    assert_eq!(took.len(), RELEASES, "the edge is never let run");
    let latest = took.iter().max().copied().unwrap_or_default();
    assert!(latest <= Duration::from_millis(20), "{took:?}");
}

/// A read that waited.
struct Released {
    /// How long after its region had caught up it arrived there.
    after: Duration,
    /// How long threads had no processor meanwhile.
    kept_waiting: Duration,
}

/// Has a read wait for `near`, which catches up then; `told` has the edge told.
fn released(store: &Store, token: &str, told: impl FnOnce()) -> Released {
    let before = store.near.reads();
    let kept_waiting = || store.edge.process.kept_waiting() + support::kept_waiting("self");
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| store.read(token));
        assert!(wait_until(|| store.near.reads() > before));
        assert!(wait_until(|| store.near.probes_now() == 1));
        let kept_before = kept_waiting();
        let caught_up_at = Instant::now();
        told();
        assert_eq!(outcome(&reading.join().unwrap()), ("near", "waited"));
        Released {
            after: store.near.last_read_at() - caught_up_at,
            kept_waiting: kept_waiting().saturating_sub(kept_before),
        }
    })
}

#[test]
fn a_waiting_read_is_released_within_20_ms_of_the_long_poll_that_tells() {
    let mut store = store("wait: 10s, follow: /follow", ONCE);
    let token = store.write_and_lose_far();
    // Whoever asks by himself gets no answer; only the long poll can tell.
    store.near.set_health_pause(Duration::from_secs(60));
    let knows = |vector: &str| wait_until(|| store.near.told() == vector);
    check_releases(|| {
        assert!(knows("far=0,near=0"));
        assert!(wait_until(|| store.near.polls_held() == 1));
        let released = released(&store, &token, || store.near.apply(1));
        assert!(knows("far=1,near=0"));
        store.near.apply(0);
        released
    });
}

#[test]
fn a_waiting_read_is_released_within_20_ms_of_the_response_that_tells() {
    let mut store = store("wait: 10s", ONCE);
    let token = store.write_and_lose_far();
    store.near.set_health_pause(Duration::from_secs(60));
    let mut other = support::connect(store.edge.address("http"));
    let mut hears = |applied: u64| {
        store.near.apply(applied);
        assert!(support::get(&mut other).unwrap());
    };
    check_releases(|| {
        hears(0);
        released(&store, &token, || hears(1))
    });
}

#[test]
fn a_region_that_runs_backwards_is_told_of_by_its_long_poll() {
    let store = store("follow: /follow", ONCE);
    store.near.apply(5);
    let applied = |seq: &str| {
        let status = store.status();
        status["regions"][0]["services"][0]["applied"]["far"] == *seq
    };
    assert!(wait_until(|| applied("5")));
    store.near.apply(3);
    assert!(wait_until(|| applied("3")));
    assert!(wait_until(|| store.tells("positions of near ran backwards")));
    assert_eq!(store.status()["regions"][0]["state"], "degraded");
    let admin = format!("http://{}", store.edge.address("admin"));
    let said = run(meridian().args(["status", "--admin", &admin])).stdout;
    let said = String::from_utf8(said).unwrap();
    let until = store.status()["regions"][0]["suspect_until"].clone();
    let why = format!(
        ", degraded until {}: its positions ran backwards",
        until.as_str().unwrap()
    );
    let told: Vec<&str> = said.lines().filter(|line| line.ends_with(&why)).collect();
    assert!(matches!(told[..], [of] if of.starts_with("near")), "{said}");
}

#[test]
fn long_polls_outlive_reloads_and_end_and_begin_with_them() {
    let store = store("follow: /follow", ONCE);
    store.near.apply(2);
    assert!(wait_until(|| store.near.told() == "far=2,near=0"));
    assert!(wait_until(|| store.near.polls_held() == 1));
    let reload = |consistency: &str| {
        store
            .edge
            .write(&yaml(&store.near, &store.far, consistency, ONCE));
        let (status, outcome) = store.edge.admin("POST", "/api/v1/reload", "");
        assert_eq!(status, 200, "{outcome}");
    };
    let polls = store.near.polls();
    reload("follow: /follow, wait: 1s");
    assert_eq!((store.near.polls(), store.near.polls_held()), (polls, 1));
    reload("wait: 1s");
    assert!(wait_until(|| store.near.polls_held() == 0));
    let known = &store.status()["regions"][0]["services"][0]["applied"];
    assert_eq!(known["far"], "2", "what is known is kept");
    reload("follow: /follow");
    assert!(wait_until(|| store.near.polls_held() == 1));
    assert_eq!(store.near.told(), "far=2,near=0", "it goes on where it was");
}

#[test]
fn an_origin_that_cannot_be_followed_is_counted_and_followed_once_it_can() {
    let store = store("follow: /follow", ONCE);
    store.near.set_follow_fails(true);
    store.near.apply(1);
    let failed = ["region=\"near\"", "result=\"failed\""];
    let count = || store.edge.counted("meridian_follow_polls_total", &failed);
    assert!(wait_until(|| count() >= 2));
    store.near.set_follow_fails(false);
    assert!(wait_until(|| store.near.polls_held() == 1));
}

#[test]
fn the_origin_that_answers_must_have_the_write_not_another_one_of_its_region() {
    let (mut knows, silent) = (Replica::start("knows"), Replica::start("silent"));
    let mut far = Replica::start("far");
    knows.apply(1);
    silent.set_mode(Mode::SaysNothing);
    silent.set_health_told(false);
    let yaml = yaml(&knows, &far, "wait: 0s", "interval: 200ms");
    let both = format!("'{}', '{}'", knows.url(), silent.url());
    let edge = Edge::start(&yaml.replace(&format!("'{}'", knows.url()), &both));
    let write = edge.curl("api.example.com", "/", &["-d", "x"]);
    far.stop();
    let token = format!("Meridian-Token: {}", write.header("meridian-token"));
    let read = || edge.curl("api.example.com", "/", &["-H", &token]);
    assert!(wait_until(|| outcome(&read()) == ("knows", "fresh")));
    for _ in 0..8 {
        assert_eq!(read().body, "knows", "the one that is known to have it");
    }
    knows.stop();
    assert_eq!(outcome(&read()), ("silent", "stale"));
}

#[test]
fn nonsense_is_counted_by_region_source_and_reason_and_changes_nothing() {
    let store = store("follow: /follow", "interval: 100ms");
    store.near.apply(3);
    assert!(wait_until(|| store.near.told() == "far=3,near=0"));
    let counted = |source: &str, reason: &str| {
        let labels = [
            "region=\"near\"".to_owned(),
            format!("source=\"{source}\""),
            format!("reason=\"{reason}\""),
        ];
        let labels = labels.each_ref().map(String::as_str);
        store
            .edge
            .counted("meridian_position_rejected_total", &labels)
    };
    store.near.say_nonsense("far=3,far=4");
    for _ in 0..3 {
        assert_eq!(store.edge.curl("api.example.com", "/", &[]).body, "near");
    }
    assert!(counted("answer", "twice") >= 3);
    assert!(wait_until(|| counted("check", "twice") >= 1));
    store.near.say_nonsense("far=many");
    assert!(wait_until(|| counted("follow", "malformed") >= 1));
    let push = store.edge.admin(
        "PUT",
        "/api/v1/positions/near",
        "{\"applied\":{\"mars\":\"1\"}}",
    );
    assert_eq!(push.0, 400);
    assert_eq!(counted("push", "unknown_region"), 1);
    let said = store.edge.process.said();
    let of_answers =
        |line: &&str| line.contains("a position is ignored") && line.contains("answer");
    let lines: Vec<&str> = said.lines().filter(of_answers).collect();
    assert_eq!(lines.len(), 1, "once, and not with every answer:\n{said}");
    let tells = |what: &str| lines[0].contains(what);
    assert!(tells("WARN") && tells("near") && tells("far"), "{lines:?}");
    let status = store.status();
    let near = &status["regions"][0];
    assert_eq!(
        (&near["state"], &near["services"][0]["applied"]["far"]),
        (&"healthy".into(), &"3".into())
    );
}

#[test]
fn lag_is_a_matrix_and_told_of_when_a_region_falls_silent() {
    let mut store = store("wait: 0s, max_lag: 1s", "interval: 100ms");
    store.write();
    assert!(wait_until(|| store.lag_of_near()["positions"] == 1));
    store.near.apply(1);
    assert!(wait_until(|| {
        let lag = store.lag_of_near();
        lag["positions"] == 0 && lag["ms"] == 0
    }));
    store.near.stop();
    store.write();
    store.write();
    let behind = "near is behind in domain api";
    assert!(wait_until(|| store.tells(behind)));
    let lag = store.lag_of_near();
    assert_eq!(lag["positions"], 2);
    assert!(lag["ms"].as_u64().unwrap() > 1_000, "{lag}");
    let (_, metrics) = store.edge.admin("GET", "/metrics", "");
    let of = "{domain=\"api\",region=\"near\",writer=\"far\"}";
    let positions = format!("meridian_replication_lag_positions{of} 2");
    assert!(metrics.as_str().unwrap().contains(&positions));
    let name = format!("meridian_replication_lag_seconds{of} ");
    let mut lines = metrics.as_str().unwrap().lines();
    let seconds: f64 = lines
        .find_map(|line| line.strip_prefix(&name)?.parse().ok())
        .unwrap();
    assert!((1.0..60.0).contains(&seconds), "{seconds}");
}
