//! What every region has, and tokens of which nothing is left.

use super::*;
use crate::positions::{Asked, Judged, Said};

#[test]
fn a_token_of_which_all_is_everywhere_is_taken_back_by_a_read() {
    let mut scene = Scene::new();
    let carried = token("us=5");
    scene.says("us", "us=5");
    assert_eq!(
        scene.read(&carried, Mark::Fresh),
        (Mark::Fresh, Reissue::Keep)
    );
    scene.says("eu", "us=5");
    assert_eq!(
        scene.read(&carried, Mark::Fresh),
        (Mark::Fresh, Reissue::TakeBack)
    );
    scene.now.steady_ms += 2_000;
    let more = scene.read(&token("us=5,eu=1"), Mark::Fresh).1;
    assert_eq!(reissued(more), "eu=1");
}

#[test]
fn what_was_under_way_when_a_token_was_taken_back_takes_back_nothing_more() {
    let mut scene = Scene::new();
    let carried = token("us=5");
    scene.says("us", "us=5");
    let (mut slow, mut other) = (scene.begin_read(&carried), scene.begin_read(&carried));
    scene.says("eu", "us=5");
    assert_eq!(scene.read(&carried, Mark::Fresh).1, Reissue::TakeBack);
    assert_eq!(
        scene.read(&carried, Mark::Fresh).1,
        Reissue::Keep,
        "it may have been on the way"
    );
    // Its client may have written since, as a new session, and holds that one's token.
    assert_eq!(scene.end_read(&mut slow, Mark::Fresh).1, Reissue::Keep);
    scene.now.steady_ms += 2_000;
    assert_eq!(scene.end_read(&mut other, Mark::Fresh).1, Reissue::Keep);
    assert_eq!(
        scene.read(&carried, Mark::Fresh).1,
        Reissue::TakeBack,
        "its client has not heard of it"
    );
}

#[test]
fn what_was_under_way_when_a_token_was_taken_back_brings_back_nothing_of_it_though_it_tells_of_a_loss()
 {
    let mut scene = Scene::new();
    let carried = Token {
        lost: true,
        ..token("us=5")
    };
    scene.says("us", "us=5");
    let mut slow = scene.begin_read(&carried);
    scene.says("eu", "us=5");
    let told = (Mark::Lost, Reissue::TakeBack);
    assert_eq!(scene.read(&carried, Mark::Fresh), told);
    let late = scene.end_read(&mut slow, Mark::Fresh);
    assert_eq!(late, (Mark::Lost, Reissue::Keep));
}

#[test]
fn a_token_that_has_run_out_while_its_read_was_under_way_is_not_taken_back() {
    let mut scene = Scene::new();
    let carried = Token {
        expires: 60,
        ..token("us=5")
    };
    scene.says("us", "us=5");
    scene.says("eu", "us=5");
    let mut read = scene.begin_read(&carried);
    scene.now.steady_ms += 57_000;
    assert_eq!(scene.end_read(&mut read, Mark::Fresh).1, Reissue::Keep);
}

#[test]
fn a_pin_that_has_run_out_is_taken_back_and_one_that_has_not_is_kept() {
    let mut scene = Scene::new();
    let pinned = scene.write(&token(""), Minted::Pin("us".into()));
    assert_eq!(scene.read(&pinned, Mark::Fresh).1, Reissue::Keep);
    scene.now.unix_secs += 60;
    assert_eq!(scene.read(&pinned, Mark::Fresh).1, Reissue::TakeBack);
}

#[test]
fn nothing_is_taken_away_in_an_answer_around_a_write_of_the_session() {
    let mut scene = Scene::new();
    let carried = token("us=5");
    let mut early = scene.begin_read(&carried);
    scene.sessions.begin_write(7, scene.now.steady_ms);
    let mut during = scene.begin_read(&carried);
    scene.says("us", "us=5");
    scene.says("eu", "us=5");
    assert_eq!(scene.end_read(&mut during, Mark::Fresh).1, Reissue::Keep);
    let ended = scene.later();
    scene.sessions.end_write(7, ended.steady_ms);
    assert_eq!(scene.end_read(&mut early, Mark::Fresh).1, Reissue::Keep);
    assert_eq!(scene.read(&carried, Mark::Fresh).1, Reissue::TakeBack);
}

#[test]
fn what_all_were_known_to_have_is_asked_for_again_once_an_answer_lacks_it() {
    let mut scene = Scene::new();
    scene.says("us", "us=5");
    scene.says("eu", "us=5");
    let mut read = scene.begin_read(&token("us=5"));
    assert!(read.token().is_empty());
    read.ask_for_retired(|retired| scene.applied.shows(&vector("us=5"), retired));
    assert!(read.token().is_empty(), "the answer has it");
    read.ask_for_retired(|retired| scene.applied.shows(&vector("us=4"), retired));
    assert_eq!(read.token().vector, vector("us=5"));
    scene.says("eu", "us=4");
    let (mark, reissue) = scene.end_read(&mut read, Mark::Routed);
    assert_eq!((mark, reissued(reissue).as_str()), (Mark::Routed, "kept"));
}

/// A reload removes `eu`.
fn remove_eu(scene: &Scene) {
    let members = Membership {
        regions: [("us".into(), vec!["a".into()])].into(),
        ttl: std::time::Duration::from_secs(300),
    };
    scene.applied.adopt(members, Some(["us".into()].into()));
}

#[test]
fn an_answer_of_an_origin_that_was_removed_meanwhile_shows_what_it_says_and_no_more() {
    let judged = |says: Option<&str>, is_conflict| {
        let mut scene = Scene::new();
        scene.says("us", "us=5");
        scene.says("eu", "us=4");
        let mut read = scene.begin_read(&token("us=5,eu=1"));
        remove_eu(&scene);
        read.sift(&scene.applied);
        assert_eq!(
            read.token().vector,
            vector("eu=1"),
            "all that are left have the rest"
        );
        let asked = Asked {
            region: "eu",
            origin: "a",
            asked_at_ms: scene.later().steady_ms,
            had_all: true,
            was_left_out: false,
        };
        let said = Said {
            committed: None,
            applied: says.map(|says| vector(says).into()),
        };
        let judged = read.weigh(&scene.applied, asked, &said, is_conflict);
        (judged, read.token().vector.clone())
    };
    assert_eq!(judged(None, false), (Judged::Behind, vector("us=5,eu=1")));
    assert_eq!(judged(None, true), (Judged::NotYet, vector("us=5,eu=1")));
    let lacks = judged(Some("us=4,eu=1"), false);
    assert_eq!(lacks, (Judged::Behind, vector("us=5,eu=1")));
    assert_eq!(judged(Some("us=5,eu=1"), false).0, Judged::Shows);
}
