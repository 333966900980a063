//! A snapshot shares what did not change with the last one, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::scene::{
    AP, EU, US_A, US_B, YAML, applied, drain, failed, failures, fold, passed, reload, see, told,
    world,
};
use crate::control::{Drain, DrainRequest, Event, World};
use crate::health::{Verdict, Word};
use crate::steering::{ServiceState, Snapshot};

fn state<'a>(snapshot: &'a Snapshot, service: &str) -> &'a Arc<ServiceState> {
    let id = snapshot.plan.service(service).unwrap();
    snapshot.services.of(id)
}

/// Which of both services' states are the very same before and after something.
#[track_caller]
fn check_shared(mut world: World, change: impl FnOnce(&mut World), expected: [bool; 2]) {
    let (before, _) = world.snapshot(10);
    change(&mut world);
    let (after, _) = world.snapshot(20);
    let shared =
        ["api", "shop"].map(|service| Arc::ptr_eq(state(&before, service), state(&after, service)));
    assert_eq!(shared, expected);
}

#[test]
fn a_service_that_did_not_change_is_the_last_snapshot_s() {
    check_shared(world(YAML), |_| {}, [true, true]);
    let shop_fails = |world: &mut World| {
        fold(world, failed("shop", EU), 15);
    };
    check_shared(world(YAML), shop_fails, [true, false]);
    let shop_is_drained = |world: &mut World| {
        world.drain(drain("eu", Some("shop"), 15), true).unwrap();
    };
    check_shared(world(YAML), shop_is_drained, [true, false]);
    let suspicion = |world: &mut World| {
        world.suspect(&"ap".into(), "it ran backwards".into(), 15);
    };
    check_shared(world(YAML), suspicion, [false, true]);
}

#[test]
fn what_changes_nothing_shares_all() {
    let there_and_back = |world: &mut World| {
        world.drain(drain("eu", None, 15), true).unwrap();
        world.undrain("eu", None, 16).unwrap();
    };
    check_shared(world(YAML), there_and_back, [true, true]);
    let mut failing = world(YAML);
    fold(&mut failing, failed("shop", EU), 5);
    let fails_again = |world: &mut World| {
        fold(world, failed("shop", EU), 15);
    };
    check_shared(failing, fails_again, [true, true]);
}

/// The scene; one with its services in another order, another region and other times for sessions; one
/// without much of it.
fn configurations() -> [String; 3] {
    let (head, services) = YAML.split_once("services:\n").unwrap();
    let (api, shop) = services.split_at(services.find("  shop:").unwrap());
    let turned = format!("{head}services:\n{shop}{api}")
        .replace("drain: 10m", "drain: 1m")
        .replace("regions: [us, eu]", "regions: [ap, eu]");
    let less = YAML
        .replace("'http://10.1.0.1:80', ", "")
        .replace("affinity: { by: cookie, drain: 10m }", "");
    [YAML.to_owned(), turned, less]
}

#[derive(Clone, Debug)]
enum Step {
    Probe {
        service: &'static str,
        target: &'static str,
        verdict: Verdict,
        flip_in: Option<u64>,
    },
    Applied(&'static str, u8),
    Traffic {
        service: &'static str,
        target: &'static str,
        failed: u32,
        word: Option<u64>,
    },
    Drain(&'static str, Option<&'static str>, Option<u64>),
    Undrain(&'static str, Option<&'static str>),
    Suspect(&'static str),
    RememberVerdict(&'static str),
    RememberDrain(&'static str, u64),
    Expire,
    Reload(usize),
    Look,
}

const TARGETS: [&str; 4] = [US_A, US_B, EU, AP];
const REGIONS: [&str; 3] = ["us", "eu", "ap"];
const SERVICES: [&str; 2] = ["api", "shop"];

fn step() -> impl Strategy<Value = Step> {
    let target = || prop::sample::select(&TARGETS[..]);
    let region = || prop::sample::select(&REGIONS[..]);
    let service = || prop::sample::select(&SERVICES[..]);
    let verdict = prop::sample::select(vec![Verdict::Healthy, Verdict::Unhealthy]);
    let probe = (service(), target(), verdict, prop::option::of(0_u64..40)).prop_map(
        |(service, target, verdict, flip_in)| Step::Probe {
            service,
            target,
            verdict,
            flip_in,
        },
    );
    let word = prop::option::weighted(0.2, 1_u64..100);
    let traffic =
        (service(), target(), 0_u32..12, word).prop_map(|(service, target, failed, word)| {
            Step::Traffic {
                service,
                target,
                failed,
                word,
            }
        });
    let of = || prop::option::of(service());
    let soon = prop::option::of(1_u64..900_000);
    prop_oneof![
        8 => probe,
        6 => traffic,
        2 => (target(), 0_u8..3).prop_map(|(target, seq)| Step::Applied(target, seq)),
        3 => (region(), of(), soon).prop_map(|(region, of, until)| Step::Drain(region, of, until)),
        2 => (region(), of()).prop_map(|(region, of)| Step::Undrain(region, of)),
        1 => region().prop_map(Step::Suspect),
        1 => target().prop_map(Step::RememberVerdict),
        1 => (region(), 0_u64..2_000_000).prop_map(|(region, since)| Step::RememberDrain(region, since)),
        2 => Just(Step::Expire),
        1 => (0_usize..3).prop_map(Step::Reload),
        8 => Just(Step::Look),
    ]
}

/// Steps with how the clock moves before each: mostly on, sometimes to the very end of a session or a
/// suspicion, sometimes back.
fn steps() -> impl Strategy<Value = Vec<(i64, Step)>> {
    let pause = prop_oneof![
        4 => Just(0_i64),
        4 => 1_i64..100_000,
        2 => prop::sample::select(vec![60_000_i64, 600_000, 59_999, 599_999]),
        1 => -700_000_i64..0,
    ];
    prop::collection::vec((pause, step()), 1..60)
}

/// Takes a step; what it tells.
fn take(world: &mut World, step: &Step, now_ms: u64) -> Vec<Event> {
    match step {
        Step::Probe {
            service,
            target,
            verdict,
            flip_in,
        } => {
            let mut report = passed(service, target);
            report.verdict = *verdict;
            report.flip_in = flip_in.map(Duration::from_secs);
            fold(world, report, now_ms).events
        }
        Step::Applied(target, seq) => {
            let report = applied(target, &format!("us={seq}"));
            fold(world, report, now_ms).events
        }
        Step::Traffic {
            service,
            target,
            failed,
            word,
        } => {
            let mut shown = failures(*failed);
            shown.word = word.map(|secs| Word::Drain(Duration::from_secs(secs)));
            see(world, service, target, shown, now_ms).folded.events
        }
        Step::Drain(region, service, for_ms) => {
            let until_ms = for_ms.map(|for_ms| now_ms + for_ms);
            let drain = DrainRequest {
                until_ms,
                ..drain(region, *service, now_ms)
            };
            world.drain(drain, false).into_iter().collect()
        }
        Step::Undrain(region, service) => {
            let undone = world.undrain(region, *service, now_ms);
            undone.into_iter().collect()
        }
        Step::Suspect(region) => {
            let event = world.suspect(&(*region).into(), "it ran backwards".into(), now_ms);
            vec![event]
        }
        Step::RememberVerdict(target) => {
            let key = format!("api/{target}").into();
            world.remember_verdict(&key, Verdict::Unhealthy, now_ms);
            Vec::new()
        }
        Step::RememberDrain(region, since_ms) => {
            world.remember_drain(Drain {
                region: (*region).into(),
                service: None,
                since_ms: *since_ms,
                until_ms: None,
                over_ms: 0,
                paces: Vec::new(),
                by: None,
                reason: None,
            });
            Vec::new()
        }
        Step::Expire => world.expire(now_ms),
        Step::Reload(at) => {
            reload(world, &configurations()[*at]);
            Vec::new()
        }
        Step::Look => Vec::new(),
    }
}

proptest! {
    #[test]
    fn a_snapshot_is_what_it_would_be_if_all_were_made_anew(steps in steps()) {
        let (mut sharing, mut forgetful) = (world(YAML), world(YAML));
        let mut now_ms = 1_000_000_u64;
        for (pause, step) in &steps {
            now_ms = now_ms.saturating_add_signed(*pause);
            let events = [&mut sharing, &mut forgetful].map(|world| take(world, step, now_ms));
            prop_assert_eq!(told(&events[0]), told(&events[1]));
            // Changes also come several to a snapshot.
            if !matches!(step, Step::Look | Step::Expire) {
                continue;
            }
            let (shared, events) = sharing.snapshot(now_ms);
            forgetful.forget_shown();
            let (anew, expected) = forgetful.snapshot(now_ms);
            prop_assert_eq!(&shared.services, &anew.services);
            prop_assert_eq!(&shared.edge, &anew.edge);
            prop_assert_eq!(events, expected);
            prop_assert_eq!(sharing.status().since_ms, forgetful.status().since_ms);
        }
    }
}
