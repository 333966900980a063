use super::*;
use crate::positions::Reported;
use crate::positions::fixtures::{report, vector};

#[test]
fn a_region_stands_by_what_it_reported() {
    let applied = Applied::default();
    let behind = Standing::Behind { expected: None };
    assert_eq!(applied.standing("eu", &vector("us=5"), 0), behind);
    assert_eq!(report(&applied, "a", "us=5", 0, 1), Reported::Advanced);
    assert_eq!(
        applied.standing("eu", &vector("us=5"), 1),
        Standing::Dominates
    );
    assert_eq!(applied.standing("eu", &vector("us=6"), 1), behind);
}

#[test]
fn a_region_dominates_its_own_writes_before_it_says_so() {
    let applied = Applied::default();
    assert_eq!(
        applied.standing("eu", &vector("eu=9"), 0),
        Standing::Dominates
    );
}

#[test]
fn a_region_has_applied_what_the_least_of_its_origins_has() {
    let applied = Applied::default();
    report(&applied, "a", "us=6,ap=2", 0, 1);
    report(&applied, "b", "us=4", 0, 1);
    assert_eq!(applied.region("eu"), vector("us=4"));
    assert_eq!(
        applied.standing("eu", &vector("us=6"), 1),
        Standing::Dominates
    );
    assert!(!applied.origin_may_answer("eu", "b", &vector("us=6")));
    assert!(applied.origin_may_answer("eu", "a", &vector("us=6")));
}

#[test]
fn of_several_origins_one_that_has_said_nothing_does_not_have_what_its_region_committed() {
    let applied = Applied::default();
    let origins = ["a", "b"].map(Into::into).to_vec();
    let regions = [("eu".into(), origins)].into();
    let ttl = Duration::from_secs(300);
    applied.adopt(Membership { regions, ttl }, None);
    let has = |origin| applied.origin_has("eu", origin, &vector("eu=9"));
    assert!(has("a") && has("b"), "nobody has said anything");
    report(&applied, "a", "eu=9", 0, 1);
    assert!(has("a") && !has("b"));
    report(&applied, "b", "eu=9", 1, 2);
    assert!(has("b"));
}

#[test]
fn a_reload_forgets_the_writes_of_regions_that_are_gone_and_keeps_those_of_regions_without_origins()
{
    let applied = Applied::default();
    report(&applied, "a", "eu=0", 0, 1);
    for writer in ["us", "ap"] {
        applied.committed(&writer.into(), Position { epoch: 0, seq: 1 }, 1);
    }
    let regions = [("eu".into(), vec!["a".into()])].into();
    let ttl = Duration::from_secs(300);
    applied.adopt(
        Membership { regions, ttl },
        Some(["eu".into(), "us".into()].into()),
    );
    let lags = applied.lags(9);
    let writers: Vec<&str> = lags
        .iter()
        .flat_map(|row| row.behind.iter().map(|lag| &*lag.writer))
        .collect();
    assert_eq!(writers, ["us"]);
}
