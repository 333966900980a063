//! What no region has any more.

use super::*;

/// `us` was restored: it has left epoch 3 at 975, and `eu` has not got more either.
fn restored() -> Scene {
    let mut scene = Scene::new();
    scene.says("us", "us=4:1@3:975");
    scene.says("eu", "us=3:970,eu=1");
    scene
}

#[test]
fn a_lost_entry_is_told_once_and_leaves_the_token() {
    let mut scene = restored();
    let carried = token("us=3:980,eu=1");
    let read = scene.begin_read(&carried);
    let left = "eu=1,us=3:975";
    assert_eq!(
        read.token().vector,
        vector(left),
        "what was before the fork"
    );
    let (mark, reissue) = scene.read(&carried, Mark::Fresh);
    assert_eq!((mark, reissued(reissue).as_str()), (Mark::Lost, left));
    let (mark, reissue) = scene.read(&carried, Mark::Fresh);
    let told = (mark, reissued(reissue));
    assert_eq!(told, (Mark::Fresh, left.to_owned()), "its answer was lost");
}

#[test]
fn a_loss_that_two_sessions_were_told_of_together_is_told_to_neither_again() {
    let mut scene = restored();
    let other = Token {
        session: 8,
        ..token("us=3:990")
    };
    let both = [token("us=3:980"), other];
    let now = scene.later();
    let mut read = Visit::begin(both.clone(), &scene.sessions, &scene.applied, now);
    read.sift(&scene.applied);
    assert_eq!(scene.end_read(&mut read, Mark::Fresh).0, Mark::Lost);
    for carried in both {
        assert_eq!(scene.read(&carried, Mark::Fresh).0, Mark::Fresh);
    }
}

#[test]
fn a_stale_read_tells_of_no_loss_and_a_write_drops_none() {
    let mut scene = restored();
    let carried = token("us=3:980");
    assert_eq!(
        scene.read(&carried, Mark::Stale),
        (Mark::Stale, Reissue::Keep)
    );
    let written = scene.write(&carried, at("eu=1"));
    assert_eq!(written.vector, vector("eu=1,us=3:980"));
    assert_eq!(scene.read(&written, Mark::Fresh).0, Mark::Lost);
}

#[test]
fn a_loss_that_a_stale_read_could_not_tell_is_told_though_its_region_has_begun_one_more_epoch() {
    let mut scene = Scene::new();
    scene.says("us", "us=1:0");
    scene.says("eu", "us=20");
    let mut read = scene.begin_read(&token("us=22"));
    assert_eq!(read.lost(), vector("us=22"));
    scene.says("us", "us=2:0");
    scene.says("eu", "us=20");
    read.sift(&scene.applied);
    let (mark, reissue) = scene.end_read(&mut read, Mark::Stale);
    let Reissue::Token(next) = reissue else {
        panic!("the loss is forgotten: {reissue:?}")
    };
    assert_eq!((mark, next.lost), (Mark::Stale, true));
    assert_eq!(scene.read(&next, Mark::Fresh).0, Mark::Lost);
}

#[test]
fn a_write_in_a_new_epoch_does_not_hide_that_an_earlier_one_is_lost() {
    let mut scene = restored();
    let written = scene.write(&token("us=3:980"), at("us=4:2"));
    assert_eq!(
        (written.vector.clone(), written.lost),
        (vector("us=4:2"), true)
    );
    let (mark, reissue) = scene.read(&written, Mark::Fresh);
    assert_eq!((mark, reissued(reissue).as_str()), (Mark::Lost, "us=4:2"));
    let kept = scene.write(&token("us=3:975"), at("us=4:2"));
    assert!(!kept.lost, "the new epoch includes it");
}

#[test]
fn a_loss_that_could_not_be_taken_away_around_a_write_is_still_told_once() {
    let mut scene = restored();
    let carried = token("us=3:980");
    scene.sessions.begin_write(7, scene.now.steady_ms);
    assert_eq!(
        scene.read(&carried, Mark::Fresh),
        (Mark::Lost, Reissue::Keep)
    );
    assert_eq!(
        scene.read(&carried, Mark::Fresh),
        (Mark::Fresh, Reissue::Keep)
    );
    let ended = scene.later();
    scene.sessions.end_write(7, ended.steady_ms);
    let (mark, reissue) = scene.read(&carried, Mark::Fresh);
    assert_eq!(
        (mark, reissued(reissue).as_str()),
        (Mark::Fresh, "us=3:975")
    );
    scene.says("eu", "us=4:1");
    assert_eq!(
        scene.read(&carried, Mark::Fresh),
        (Mark::Fresh, Reissue::TakeBack)
    );
}

/// The session has written here before `us` began epoch 4, and elsewhere after that.
#[test]
fn a_loss_that_another_edge_s_token_tells_of_is_told_once() {
    for (before, expected) in [("us=3:980", Mark::Lost), ("us=3:975", Mark::Fresh)] {
        let mut scene = Scene::new();
        scene.says("us", "us=3:980");
        scene.write(&token(""), at(before));
        let elsewhere = token("us=4:2");
        // Nobody can say yet whether anything is lost.
        let (mark, _) = scene.read(&elsewhere, Mark::Fresh);
        assert_eq!(mark, Mark::Fresh);
        // Where epoch 4 began is heard with the answer.
        let mut read = scene.begin_read(&elsewhere);
        scene.says("us", "us=4:2@3:975");
        let (mark, _) = scene.end_read(&mut read, Mark::Fresh);
        assert_eq!(mark, expected, "{before}");
        for _ in 0..3 {
            let (mark, reissue) = scene.read(&elsewhere, Mark::Fresh);
            assert_eq!((mark, reissued(reissue).as_str()), (Mark::Fresh, "kept"));
        }
    }
}

#[test]
fn a_loss_that_another_edge_s_token_tells_of_outlasts_a_stale_read_and_a_write() {
    let mut scene = Scene::new();
    scene.says("us", "us=3:980");
    scene.write(&token(""), at("us=3:980"));
    scene.says("us", "us=4:2@3:975");
    let elsewhere = token("us=4:2");
    let (mark, reissue) = scene.read(&elsewhere, Mark::Stale);
    let Reissue::Token(stale) = reissue else {
        panic!("the loss is forgotten: {reissue:?}")
    };
    assert_eq!((mark, stale.lost), (Mark::Stale, true));
    let written = scene.write(&elsewhere, at("us=4:3"));
    assert!(written.lost);
    let (mark, reissue) = scene.read(&written, Mark::Fresh);
    let Reissue::Token(told) = reissue else {
        panic!("it is told for ever: {reissue:?}")
    };
    assert_eq!((mark, told.lost), (Mark::Lost, false));
    assert_eq!(scene.read(&told, Mark::Fresh).0, Mark::Fresh);
}

#[test]
fn a_loss_is_told_though_all_have_what_was_written_since_and_the_read_turned_out_to_write() {
    let mut scene = Scene::new();
    scene.says("us", "us=3:980");
    scene.write(&token(""), at("us=3:980"));
    scene.says("us", "us=4:2@3:975");
    scene.says("eu", "us=4:2@3:975");
    let mut read = scene.begin_read(&token("us=4:2"));
    let written = scene.end_write(&mut read, at("eu=2"));
    assert!(written.lost);
    assert_eq!(scene.read(&written, Mark::Fresh).0, Mark::Lost);
}

/// Found by the simulator, seed 1643.

#[test]
fn what_a_region_left_behind_with_an_epoch_is_told_once_and_asked_for_by_no_token() {
    let mut scene = Scene::new();
    let carried = token("us=1:1");
    let left = || Some(vector("us=5"));
    let mut stale = scene.begin_read(&carried);
    stale.note_left_behind(left());
    let (mark, reissue) = scene.end_read(&mut stale, Mark::Stale);
    assert_eq!((mark, reissued(reissue).as_str()), (Mark::Stale, "kept"));
    for expected in [Mark::Lost, Mark::Fresh] {
        let mut read = scene.begin_read(&carried);
        read.note_left_behind(left());
        let (mark, reissue) = scene.end_read(&mut read, Mark::Fresh);
        assert_eq!((mark, reissued(reissue).as_str()), (expected, "kept"));
    }
}

#[test]
fn what_was_left_behind_is_told_once_however_long_its_client_reads_on() {
    let mut scene = Scene::new();
    let carried = token("us=1:1");
    for expected in [Mark::Lost, Mark::Fresh, Mark::Fresh, Mark::Fresh] {
        let mut read = scene.begin_read(&carried);
        read.note_left_behind(Some(vector("us=5")));
        let (mark, _) = scene.end_read(&mut read, Mark::Fresh);
        assert_eq!(mark, expected);
        scene.now.steady_ms += 50_000;
    }
}
