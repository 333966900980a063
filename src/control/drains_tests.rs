use super::*;

fn drain(region: &str, service: Option<&str>, since_ms: u64, until_ms: Option<u64>) -> Drain {
    Drain {
        region: region.into(),
        service: service.map(Into::into),
        since_ms,
        until_ms,
        over_ms: 0,
        paces: Vec::new(),
        by: None,
        reason: None,
    }
}

/// Has a drain of `eu` asked for.
fn ask(drains: &mut Drains, since_ms: u64, until_ms: Option<u64>, over_ms: Option<u64>) {
    let drain = DrainRequest {
        region: "eu".into(),
        service: None,
        since_ms,
        until_ms,
        over_ms,
        by: None,
        reason: None,
    };
    drains.put(drains.asked(drain).unwrap());
}

#[test]
fn asking_again_does_not_begin_again() {
    let mut drains = Drains::default();
    ask(&mut drains, 10, None, None);
    ask(&mut drains, 90, Some(100), None);
    assert_eq!(
        drains.iter().cloned().collect::<Vec<_>>(),
        [drain("eu", None, 10, Some(100))]
    );
}

#[test]
fn of_a_drain_that_is_hurried_again_and_again_16_paces_are_kept() {
    let mut drains = Drains::default();
    for times in 0..100 {
        ask(&mut drains, times, None, Some(1_000_000 - times));
    }
    let paces = &drains.of("eu", None).unwrap().paces;
    let first = (paces[0].over_ms, paces[0].until_ms);
    assert_eq!((paces.len(), first), (16, (1_000_000, 84)));
}

#[test]
fn of_a_drain_that_is_hurried_too_often_no_session_ends_sooner() {
    const HOUR: u64 = 3_600_000;
    let mut drains = Drains::default();
    ask(&mut drains, 0, None, Some(4 * HOUR));
    let mut all = drains.of("eu", None).unwrap().clone();
    for minute in 1..40 {
        let (at_ms, over_ms) = (minute * 60_000, 4 * HOUR - minute * 120_000);
        ask(&mut drains, at_ms, None, Some(over_ms));
        all.paces.push(Pace {
            over_ms: all.over_ms,
            until_ms: at_ms,
        });
        all.over_ms = over_ms;
    }
    let capped = drains.of("eu", None).unwrap();
    let grace = Duration::from_secs(600);
    for now_ms in (0..4 * HOUR).step_by(60_000) {
        let (fresh, sessions) = capped.leaves(grace, now_ms);
        assert!(sessions >= all.leaves(grace, now_ms).1, "at {now_ms}");
        assert_eq!(fresh, all.leaves(grace, now_ms).0, "at {now_ms}");
    }
}

#[test]
fn a_clock_that_is_set_back_takes_no_hurry_back() {
    const HOUR: u64 = 3_600_000;
    let mut drains = Drains::default();
    ask(&mut drains, 0, None, Some(4 * HOUR));
    ask(&mut drains, HOUR / 2, None, Some(HOUR));
    let (fresh, _) = drains
        .of("eu", None)
        .unwrap()
        .leaves(Duration::ZERO, HOUR / 4);
    assert_eq!(fresh, drain_over(HOUR).leaves(Duration::ZERO, HOUR / 4).0);
}

fn drain_over(over_ms: u64) -> Drain {
    let mut drains = Drains::default();
    ask(&mut drains, 0, None, Some(over_ms));
    drains.of("eu", None).unwrap().clone()
}

#[test]
fn a_drain_ends_when_its_time_is_over_and_not_before() {
    let mut drains = Drains::default();
    drains.put(drain("eu", None, 10, Some(100)));
    assert_eq!(drains.expire(99), []);
    assert_eq!(drains.expire(100).len(), 1);
    assert_eq!(drains.iter().count(), 0);
}

#[test]
fn a_service_s_drain_is_not_the_region_s() {
    let mut drains = Drains::default();
    drains.put(drain("eu", Some("api"), 10, None));
    assert_eq!(drains.take("eu", None), None);
    assert!(drains.take("eu", Some("api")).is_some());
}
