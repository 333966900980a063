//! One client's session at one edge, before two regions.

mod lost;
mod taken_back;

use super::*;
use crate::config::plan::VersionForm;
use crate::positions::fixtures::vector;
use crate::positions::{Membership, Report, TokenError, parse_position};

const COOKIE: Carriers = Carriers {
    cookie: true,
    header: false,
};

const LIFETIMES: Lifetimes = Lifetimes { ttl: 300, pin: 5 };

/// One edge before the regions `eu` and `us`, and one client's session.
#[derive(Default)]
struct Scene {
    applied: Applied,
    sessions: Sessions,
    now: Now,
}

fn token(text: &str) -> Token {
    Token {
        session: 7,
        expires: 1_000_000,
        vector: vector(text),
        ..Token::default()
    }
}

fn at(text: &str) -> Minted {
    let (writer, position) = text.split_once('=').unwrap();
    let position = parse_position(position, VersionForm::Integer).unwrap();
    Minted::At(writer.into(), position)
}

impl Scene {
    fn new() -> Self {
        let scene = Self::default();
        let regions = ["eu", "us"].map(|region| (region.into(), vec!["a".into()]));
        let members = Membership {
            regions: regions.into(),
            ttl: std::time::Duration::from_secs(300),
        };
        scene.applied.adopt(members, None);
        scene
    }

    fn later(&mut self) -> Now {
        self.now.steady_ms += 1_000;
        self.now.unix_secs += 1;
        self.now
    }

    fn says(&mut self, region: &str, text: &str) {
        let now_ms = self.later().steady_ms;
        self.applied.report(Report {
            region: &region.into(),
            origin: "a",
            applied: &vector(text),
            asked_at_ms: now_ms,
            now_ms,
        });
    }

    fn visit(&mut self, carried: &Token) -> Visit {
        let now = self.later();
        Visit::begin([carried.clone()], &self.sessions, &self.applied, now)
    }

    /// A write from beginning to end.
    fn write(&mut self, carried: &Token, minted: Minted) -> Token {
        let mut visit = self.visit(carried);
        self.end_write(&mut visit, minted)
    }

    fn end_write(&mut self, visit: &mut Visit, minted: Minted) -> Token {
        let now = self.later();
        let memory = (&self.sessions, &self.applied);
        visit.wrote(minted, LIFETIMES, 7, memory, now).unwrap()
    }

    fn begin_read(&mut self, carried: &Token) -> Visit {
        let mut visit = self.visit(carried);
        visit.sift(&self.applied);
        visit
    }

    fn end_read(&mut self, visit: &mut Visit, served: Mark) -> (Mark, Reissue) {
        let now = self.later();
        let memory = (&self.sessions, &self.applied);
        visit.served(served, COOKIE, memory, now)
    }

    /// A read from beginning to end: how it is marked, and what the client has then.
    fn read(&mut self, carried: &Token, served: Mark) -> (Mark, Reissue) {
        let mut visit = self.begin_read(carried);
        self.end_read(&mut visit, served)
    }
}

fn reissued(reissue: Reissue) -> String {
    match reissue {
        Reissue::Keep => "kept".to_owned(),
        Reissue::TakeBack => "taken back".to_owned(),
        Reissue::Token(token) => token.vector.to_string(),
    }
}

#[test]
fn a_write_adds_to_what_its_client_carries() {
    let mut scene = Scene::new();
    assert_eq!(
        scene.write(&token("us=5"), at("eu=2")).vector,
        vector("eu=2,us=5")
    );
    assert_eq!(
        scene.write(&token("us=5"), at("us=4")).vector,
        vector("eu=2,us=5")
    );
}

#[test]
fn a_read_s_answer_that_turns_out_to_be_a_write_s_takes_nothing_away() {
    let mut scene = Scene::new();
    scene.says("us", "us=5");
    scene.says("eu", "us=5");
    let mut read = scene.begin_read(&token("us=5"));
    assert!(read.token().is_empty(), "all have it");
    let written = scene.end_write(&mut read, at("eu=2"));
    assert_eq!(written.vector, vector("eu=2,us=5"));
}

#[test]
fn two_tabs_that_race_lose_no_write() {
    let mut scene = Scene::new();
    let carried = token("us=1");
    let (mut one, mut two) = (scene.visit(&carried), scene.visit(&carried));
    scene.end_write(&mut one, at("us=5"));
    // The answer that comes last decides what the cookie holds.
    let last = scene.end_write(&mut two, at("eu=2"));
    assert_eq!(last.vector, vector("eu=2,us=5"));
}

#[test]
fn a_lost_set_cookie_loses_no_write_and_the_next_answer_repairs_it() {
    let mut scene = Scene::new();
    let carried = token("us=1");
    scene.write(&carried, at("us=5"));
    let mut read = scene.begin_read(&carried);
    assert_eq!(read.token().vector, vector("us=5"));
    let (mark, reissue) = scene.end_read(&mut read, Mark::Fresh);
    assert_eq!((mark, reissued(reissue).as_str()), (Mark::Fresh, "us=5"));
}

#[test]
fn a_position_that_came_behind_its_answer_is_required_of_the_next_read() {
    let mut scene = Scene::new();
    let pinned = scene.write(&token("us=1"), Minted::Pin("us".into()));
    let now = scene.later();
    Visit::wrote_late(7, at("us=5"), LIFETIMES, &scene.sessions, now);
    assert_eq!(scene.begin_read(&pinned).token().vector, vector("us=5"));
}

#[test]
fn of_two_pins_of_one_second_that_of_another_edge_decides_after_a_lost_answer() {
    let mut scene = Scene::new();
    let carried = scene.write(&token(""), Minted::Pin("eu".into()));
    // Its answer is lost, so the client goes on with `carried`, at another edge.
    scene.write(&carried, Minted::Pin("us".into()));
    let mut elsewhere = Scene::new();
    elsewhere.now = scene.now;
    let mut newest = elsewhere.write(&carried, Minted::Pin("eu".into()));
    let here = scene
        .sessions
        .recall(7, scene.now.steady_ms)
        .issued
        .unwrap();
    if let (Some(newest), Some(here)) = (&mut newest.pin, &here.pin) {
        (newest.until, newest.turn) = here.age();
    }
    let mut read = scene.begin_read(&newest);
    assert_eq!(read.token().pin.as_ref().unwrap().region, "eu".into());
    assert_eq!(scene.end_read(&mut read, Mark::Fresh).1, Reissue::Keep);
}

#[test]
fn the_newest_of_several_pins_of_one_second_decides_at_every_edge() {
    let mut here = Scene::new();
    let mut there = Scene::new();
    (here.now, there.now) = (Now::default(), Now::default());
    let pinned = |scene: &mut Scene, carried: &Token, region: &str| {
        let now = scene.now;
        let written = scene.write(carried, Minted::Pin(region.into()));
        scene.now = now;
        written
    };
    let first = pinned(&mut here, &token(""), "us");
    let second = pinned(&mut here, &first, "eu");
    let third = pinned(&mut there, &second, "us");
    let fourth = pinned(&mut there, &third, "us");
    let read = here.begin_read(&fourth);
    assert_eq!(read.token().pin.as_ref().unwrap().region, "us".into());
}

#[test]
fn pins_of_writes_that_go_to_and_fro_hardly_end_later_than_one_alone() {
    let mut scene = Scene::new();
    scene.now = Now::default();
    let mut carried = token("");
    for at in 0..600 {
        let now = scene.now;
        let region = if at % 2 == 0 { "us" } else { "eu" };
        carried = scene.write(&carried, Minted::Pin(region.into()));
        scene.now = now;
        assert_eq!(carried.pin.as_ref().unwrap().region, region.into());
    }
    let mut other = Scene::new();
    other.now = Now::default();
    let alone = other
        .write(&token(""), Minted::Pin("us".into()))
        .pin
        .unwrap();
    // Of one second 256 have an order, the next ends a second later.
    assert_eq!(carried.pin.unwrap().until, alone.until + 2);
}

#[test]
fn a_read_must_see_the_very_token_that_is_carried_until_something_is_added_or_dropped() {
    let mut scene = Scene::new();
    let carried = token("us=5");
    assert!(scene.begin_read(&carried).is_as_carried());
    let newer = scene.write(&carried, at("eu=1"));
    assert!(
        !scene.begin_read(&carried).is_as_carried(),
        "more was issued"
    );
    assert!(scene.begin_read(&newer).is_as_carried());
    scene.says("us", "us=5");
    scene.says("eu", "us=5");
    assert!(
        !scene.begin_read(&newer).is_as_carried(),
        "some is everywhere"
    );
}

#[test]
fn a_pin_that_is_over_is_dropped_from_what_is_carried() {
    let mut scene = Scene::new();
    let pinned = Token {
        pin: Some(Pin {
            region: "us".into(),
            until: 3,
            turn: 0,
        }),
        ..token("us=5")
    };
    assert!(scene.begin_read(&pinned).is_as_carried());
    assert!(scene.begin_read(&pinned).is_as_carried());
    assert!(!scene.begin_read(&pinned).is_as_carried());
}

#[test]
fn two_tokens_are_not_one_that_is_carried() {
    let scene = Scene::new();
    let tokens = [token("us=5"), token("us=4")];
    let visit = Visit::begin(tokens, &scene.sessions, &scene.applied, scene.now);
    assert!(!visit.is_as_carried());
}

#[test]
fn a_write_of_either_of_two_sessions_during_a_read_keeps_what_both_carry() {
    let mut scene = Scene::new();
    let of = |session: u64, text: &str| Token {
        session,
        ..token(text)
    };
    for writer in [7, 8] {
        let carried = [of(7, "us=5"), of(8, "us=5")];
        let mut read = Visit::begin(carried, &scene.sessions, &scene.applied, scene.now);
        scene.sessions.begin_write(writer, scene.now.steady_ms);
        scene
            .sessions
            .issue(writer, &of(writer, "eu=9"), scene.now.steady_ms);
        scene.sessions.end_write(writer, scene.now.steady_ms);
        let (_, reissue) = scene.end_read(&mut read, Mark::Fresh);
        assert!(reissued(reissue).contains("eu=9"), "session {writer} wrote");
        scene.now.steady_ms += 100_000;
    }
}

#[test]
fn a_write_that_carries_two_sessions_is_remembered_for_both_and_has_what_either_wrote_meanwhile() {
    let mut scene = Scene::new();
    let of = |session: u64, text: &str| Token {
        session,
        ..token(text)
    };
    let carried = [of(7, "us=5"), of(8, "us=5")];
    let mut write = Visit::begin(carried, &scene.sessions, &scene.applied, scene.now);
    assert_eq!(write.sessions().as_slice(), [7, 8]);
    scene.sessions.issue(8, &of(8, "ap=3"), scene.now.steady_ms);
    let position = crate::positions::Position { epoch: 0, seq: 9 };
    let issued = scene.end_write(&mut write, Minted::At("eu".into(), position));
    let issued = issued.vector.to_string();
    assert!(
        issued.contains("ap=3") && issued.contains("eu=9"),
        "{issued}"
    );
    for session in [7, 8] {
        let carried = [of(session, "us=5")];
        let read = Visit::begin(carried, &scene.sessions, &scene.applied, scene.now);
        let seen = read.token().vector.to_string();
        assert!(seen.contains("eu=9"), "session {session}: {seen}");
    }
}

#[test]
fn a_token_is_good_for_its_whole_time_wherever_in_a_second_it_was_issued() {
    let mut scene = Scene::new();
    let issued = scene.write(&Token::default(), at("us=5"));
    let issued_at = scene.now.unix_secs;
    assert_eq!(issued.lasts_secs(issued_at), LIFETIMES.ttl);
    // At the end of its time the clock says this, if it was issued late in its second.
    let late = issued_at + LIFETIMES.ttl;
    assert!(issued.clone().still_valid(late).is_ok());
    assert_eq!(issued.still_valid(late + 1), Err(TokenError::Expired));
}
