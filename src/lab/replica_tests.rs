//! Replicas that meet each other's entries in every order, come back from backups, and agree in the end.

use proptest::prelude::*;

use super::*;

const NAMES: [&str; 3] = ["us", "eu", "ap"];

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn replica(index: usize, bounds: Bounds) -> Replica {
    let peers = NAMES.iter().enumerate().filter(|(peer, _)| *peer != index);
    let peers = peers
        .map(|(_, name)| name.parse().unwrap())
        .collect::<Vec<Name>>();
    Replica::new(NAMES[index].parse().unwrap(), peers, bounds)
}

fn three() -> [Replica; 3] {
    [0, 1, 2].map(|index| replica(index, Bounds::default()))
}

fn next(from: &Replica, to: &Replica) -> Next {
    from.next_for(to.name.as_str(), Duration::ZERO, now())
}

fn lacking(from: &Replica, to: &Replica) -> Vec<Entry> {
    match next(from, to) {
        Next::Batch(entries) => entries,
        Next::Nothing | Next::At(_) | Next::State => Vec::new(),
    }
}

/// Sends what is lacking; only an acknowledged delivery is not sent again.
fn deliver(replicas: &mut [Replica; 3], from: usize, to: usize, acknowledge: bool) {
    let sender = replicas[from].clone();
    let receiver = &mut replicas[to];
    match next(&sender, receiver) {
        Next::State => {
            let mut states = Vec::new();
            let mut cursor = Some((super::super::delta::Kind::Register, None));
            while let Some(at) = cursor {
                let page = sender.store.page(&at, 200);
                states.extend(page.states);
                cursor = page.next;
            }
            assert!(receiver.take_over(&states, &sender.applied, 0));
        }
        Next::Batch(entries) => receiver.receive(&sender.name, &sender.forks(), entries, 0),
        Next::Nothing | Next::At(_) => receiver.receive(&sender.name, &sender.forks(), vec![], 0),
    }
    if acknowledge {
        let (peer, applied) = (receiver.name.clone(), receiver.applied.clone());
        replicas[from].acknowledge(&peer, &applied);
    }
}

/// Delivers until nobody lacks anything.
fn settle(replicas: &mut [Replica; 3]) {
    for _ in 0..100 {
        let before = replicas.each_ref().map(|replica| replica.applied.clone());
        for (from, to) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
            deliver(replicas, from, to, true);
        }
        let quiet = |index: usize| replicas[index].applied == before[index];
        let owes = |from: &Replica| replicas.iter().any(|to| next(from, to) != Next::Nothing);
        if (0..3).all(quiet) && !replicas.iter().any(owes) {
            return;
        }
    }
    panic!(
        "they never agree: {:#?}",
        replicas
            .each_ref()
            .map(|replica| replica.applied.to_string())
    );
}

fn write(replica: &mut Replica, key: &str, write: Write) -> Result<Commit, Refused> {
    replica.commit(key.into(), write, now(), 0)
}

fn put(replica: &mut Replica, key: &str, value: &str) -> Result<Commit, Refused> {
    write(replica, key, value_of(Some(value)))
}

fn value_of(value: Option<&str>) -> Write {
    Write::Put {
        value: value.map(Into::into),
        seen: None,
    }
}

fn value<'a>(replica: &'a Replica, key: &str) -> Option<&'a str> {
    replica.store.held(key).map(|held| held.value)
}

#[derive(Clone, Debug)]
enum Step {
    Write {
        at: usize,
        key: u8,
        what: Write,
    },
    Deliver {
        from: usize,
        to: usize,
        acknowledge: bool,
    },
    Backup {
        at: usize,
    },
    Rewind {
        at: usize,
    },
}

fn what() -> impl Strategy<Value = Write> {
    let member = || "[abc]".prop_map(|member| Arc::from(member.as_str()));
    prop_oneof![
        any::<u8>().prop_map(|value| value_of(Some(&value.to_string()))),
        Just(value_of(None)),
        any::<i8>().prop_map(|by| Write::Count(by.into())),
        member().prop_map(Write::Add),
        member().prop_map(Write::Remove),
    ]
}

fn step(rewinds: bool) -> impl Strategy<Value = Step> {
    let write = (0..3usize, 0..4u8, what());
    let write = write.prop_map(|(at, key, what)| Step::Write { at, key, what });
    let deliver =
        (0..3usize, 1..3usize, any::<bool>()).prop_map(|(from, by, acknowledge)| Step::Deliver {
            from,
            to: (from + by) % 3,
            acknowledge,
        });
    let weight = u32::from(rewinds);
    prop_oneof![
        6 => write,
        6 => deliver,
        weight => (0..3usize).prop_map(|at| Step::Backup { at }),
        weight => (0..3usize).prop_map(|at| Step::Rewind { at }),
    ]
}

fn take(replicas: &mut [Replica; 3], backups: &mut [Replica; 3], step: &Step) {
    match step {
        Step::Write { at, key, what } => {
            match write(&mut replicas[*at], &key.to_string(), what.clone()) {
                Ok(_) | Err(Refused::NoMember) => {}
                Err(refused) => panic!("{refused}"),
            }
        }
        Step::Deliver {
            from,
            to,
            acknowledge,
        } => deliver(replicas, *from, *to, *acknowledge),
        Step::Backup { at } => backups[*at] = replicas[*at].clone(),
        Step::Rewind { at } => replicas[*at].rewind(&backups[*at].clone(), Rewind::NewEpoch),
    }
}

fn positions(replicas: &[Replica; 3]) -> Vec<Position> {
    let each = |replica: &Replica| NAMES.map(|name| replica.applied().lineage(name).current());
    replicas.iter().flat_map(each).collect()
}

proptest! {
    #[test]
    fn replicas_converge_whatever_was_delivered_when(steps in prop::collection::vec(step(false), 0..80)) {
        let mut replicas = three();
        let mut backups = three();
        for step in &steps {
            let before = positions(&replicas);
            take(&mut replicas, &mut backups, step);
            let after = positions(&replicas);
            prop_assert!(before.iter().zip(&after).all(|(old, new)| old <= new), "ran backwards");
        }
        settle(&mut replicas);
        prop_assert_eq!(&replicas[0].store, &replicas[1].store);
        prop_assert_eq!(&replicas[0].store, &replicas[2].store);
        let ends = positions(&replicas);
        prop_assert!(ends.chunks(3).all(|vector| vector == &ends[..3]), "{:?}", ends);
        prop_assert!(replicas.iter().all(|replica| replica.log.bytes() == 0), "what all have is forgotten");
    }

    #[test]
    fn replicas_converge_over_restores_from_backups_that_begin_epochs(steps in prop::collection::vec(step(true), 0..80)) {
        let mut replicas = three();
        let mut backups = three();
        for step in &steps {
            take(&mut replicas, &mut backups, step);
        }
        settle(&mut replicas);
        prop_assert_eq!(&replicas[0].store, &replicas[1].store);
        prop_assert_eq!(&replicas[0].store, &replicas[2].store);
        let told = replicas.each_ref().map(|replica| NAMES.map(|name| replica.applied.lineage(name).to_string()));
        prop_assert_eq!(&told[0], &told[1]);
        prop_assert_eq!(&told[0], &told[2]);
    }

    #[test]
    fn one_log_in_any_order_and_twice_is_applied_as_a_prefix(order in prop::collection::vec(0..6usize, 0..40)) {
        let [mut us, mut eu, _] = three();
        for index in 0..6 {
            put(&mut us, "key", &index.to_string()).unwrap();
        }
        let entries = lacking(&us, &eu);
        for index in order {
            eu.receive(&us.name, &[], vec![entries[index].clone()], 0);
            let applied = eu.applied.lineage("us").current().seq;
            let seen = eu.store().held("key").map_or(0, |held| held.position.seq);
            prop_assert_eq!(seen, applied, "a read sees what the vector says and no more");
        }
    }
}

#[test]
fn a_write_that_has_seen_another_wins_over_it() {
    let mut replicas = three();
    for value in ["1", "2", "3"] {
        put(&mut replicas[0], "key", value).unwrap();
    }
    deliver(&mut replicas, 0, 1, true);
    put(&mut replicas[1], "key", "after").unwrap();
    deliver(&mut replicas, 1, 0, true);
    assert_eq!(value(&replicas[0], "key"), Some("after"));
}

#[test]
fn a_write_wins_over_what_it_has_seen_however_slow_its_clock_is() {
    let mut replicas = three();
    let mut at = |index: usize, text: &str, unix_ms| {
        replicas[index]
            .commit("key".into(), value_of(Some(text)), now(), unix_ms)
            .unwrap();
        deliver(&mut replicas, index, 1 - index, true);
    };
    at(0, "by a clock that is ahead", 9_000);
    at(1, "by one that is behind", 1_000);
    for replica in &replicas[..2] {
        assert_eq!(value(replica, "key"), Some("by one that is behind"));
        assert_eq!(replica.store.register("key").unwrap().siblings().len(), 1);
    }
}

#[test]
fn says_what_a_write_did() {
    let [mut us, ..] = three();
    let mut check = |what: Write, effect| {
        assert_eq!(write(&mut us, "key", what).unwrap().effect, effect);
    };
    check(value_of(Some("a")), Effect::Created);
    check(value_of(Some("b")), Effect::Replaced);
    check(value_of(None), Effect::Deleted);
    check(value_of(Some("c")), Effect::Created);
    check(Write::Count(1), Effect::Created);
    check(Write::Count(-1), Effect::Replaced);
    check(Write::Add("m".into()), Effect::Created);
    check(Write::Add("m".into()), Effect::Replaced);
    check(Write::Remove("m".into()), Effect::Deleted);
    assert_eq!(
        write(&mut us, "key", Write::Remove("m".into())),
        Err(Refused::NoMember)
    );
}

#[test]
fn a_write_that_names_what_it_has_seen_replaces_that_and_nothing_else() {
    let mut replicas = three();
    put(&mut replicas[0], "key", "west").unwrap();
    put(&mut replicas[1], "key", "east").unwrap();
    let seen_east = replicas[1].store.register("key").unwrap().seen.clone();
    deliver(&mut replicas, 0, 1, true);
    let siblings = |replica: &Replica| replica.store.register("key").unwrap().siblings().len();
    assert_eq!(siblings(&replicas[1]), 2);
    let only_east = Write::Put {
        value: Some("east again".into()),
        seen: Some(seen_east),
    };
    write(&mut replicas[1], "key", only_east).unwrap();
    assert_eq!(siblings(&replicas[1]), 2, "west was not seen");
    let seen = Some(replicas[1].store.register("key").unwrap().seen.clone());
    let merge = Write::Put {
        value: Some("both".into()),
        seen: seen.clone(),
    };
    let elsewhere = write(&mut replicas[2], "key", merge.clone());
    assert_eq!(elsewhere, Err(Refused::Unseen));
    write(&mut replicas[1], "key", merge).unwrap();
    settle(&mut replicas);
    for replica in &replicas {
        assert_eq!(
            (value(replica, "key"), siblings(replica)),
            (Some("both"), 1)
        );
    }
}

/// Bounds of which all but these are out of reach.
fn only(adjust: impl Fn(&mut Bounds)) -> Replica {
    let mut bounds = Bounds {
        log_bytes: usize::MAX,
        store_bytes: usize::MAX,
        key_bytes: usize::MAX,
    };
    adjust(&mut bounds);
    replica(0, bounds)
}

#[test]
fn takes_writes_up_to_its_bounds_and_none_past_them() {
    let mut us = only(|bounds| bounds.log_bytes = 1);
    assert!(
        put(&mut us, "k", "").is_ok(),
        "below the bound when it came"
    );
    assert_eq!(put(&mut us, "k", ""), Err(Refused::Log));

    let mut us = only(|bounds| bounds.store_bytes = 1);
    assert!(put(&mut us, "k", "").is_ok());
    assert_eq!(put(&mut us, "k", ""), Err(Refused::Store));
    let emptied = write(&mut us, "k", value_of(None));
    assert!(emptied.is_ok(), "a full store can be emptied");

    let mut us = only(|bounds| bounds.key_bytes = 1000);
    let sibling = || Write::Put {
        value: Some("x".repeat(100).into()),
        seen: Some(Dots::default()),
    };
    while write(&mut us, "k", sibling()).is_ok() {}
    assert_eq!(write(&mut us, "k", sibling()), Err(Refused::Key));
    assert!(
        put(&mut us, "k", "all of them").is_ok(),
        "siblings can be merged"
    );
    assert!(write(&mut us, "k", sibling()).is_ok());
}

#[test]
fn a_write_after_a_region_s_fall_wins_over_those_it_had_not_passed_on() {
    let mut replicas = three();
    let mut write = |at: usize, value: &str, unix_ms| {
        replicas[at]
            .commit("k".into(), value_of(Some(value)), now(), unix_ms)
            .unwrap();
    };
    for (value, unix_ms) in [("v1", 1_000), ("v2", 2_000), ("v3", 3_000)] {
        write(1, value, unix_ms); // Not passed on before the fall.
    }
    write(0, "v4", 4_000);
    deliver(&mut replicas, 0, 1, true);
    deliver(&mut replicas, 1, 0, true);
    for replica in &replicas[..2] {
        assert_eq!(value(replica, "k"), Some("v4"));
    }
}

#[test]
fn a_forged_clock_is_not_applied() {
    let [mut us, mut eu, _] = three();
    let unix_ms = u64::MAX / 2;
    us.commit("k".into(), value_of(Some("forged")), now(), unix_ms)
        .unwrap();
    let forged = lacking(&us, &eu);
    eu.receive(&us.name, &[], forged.clone(), 0);
    assert_eq!(eu.applied.to_string(), "eu=0");
    let states: Vec<_> = forged.into_iter().map(|entry| entry.change).collect();
    assert!(!eu.take_over(&states, &us.applied, 0));
    assert_eq!(eu.applied.to_string(), "eu=0");
    assert!(put(&mut eu, "k", "v").is_ok());
}

#[test]
fn a_restore_that_begins_an_epoch_gets_back_what_the_others_have_and_loses_the_rest() {
    let mut replicas = three();
    put(&mut replicas[0], "kept", "1").unwrap();
    settle(&mut replicas);
    let backup = replicas[0].clone();
    put(&mut replicas[0], "passed on", "2").unwrap();
    put(&mut replicas[1], "of another", "3").unwrap();
    settle(&mut replicas);
    put(&mut replicas[0], "lost", "4").unwrap();

    replicas[0].rewind(&backup, Rewind::NewEpoch);
    assert_eq!(replicas[0].applied.to_string(), "us=1:0@0:1");
    assert_eq!(value(&replicas[0], "passed on"), None);
    settle(&mut replicas);
    for replica in &replicas {
        assert_eq!(replica.applied.lineage("us").to_string(), "1:0@0:2");
        assert_eq!(replica.applied.lineage("eu").to_string(), "1");
        assert_eq!(value(replica, "passed on"), Some("2"));
        assert_eq!(value(replica, "of another"), Some("3"));
        assert_eq!(value(replica, "lost"), None);
    }
    let commit = put(&mut replicas[0], "after", "5").unwrap();
    assert_eq!(commit.position.to_string(), "1:1");
    settle(&mut replicas);
    assert_eq!(value(&replicas[2], "after"), Some("5"));
    replicas[0].rewind(&backup, Rewind::NewEpoch);
    assert_eq!(replicas[0].applied.to_string(), "us=2:0@0:1");
    settle(&mut replicas);
    assert_eq!(value(&replicas[0], "after"), Some("5"));
}

#[test]
fn a_restore_that_says_nothing_gives_positions_out_twice_and_nobody_takes_them() {
    let mut replicas = three();
    let backup = replicas[0].clone();
    put(&mut replicas[0], "before", "1").unwrap();
    put(&mut replicas[0], "before", "2").unwrap();
    settle(&mut replicas);
    replicas[0].rewind(&backup, Rewind::Silent);
    assert_eq!(replicas[0].applied.to_string(), "us=0");
    let commit = put(&mut replicas[0], "after", "3").unwrap();
    assert_eq!(commit.position.to_string(), "1", "given out before");
    settle(&mut replicas);
    assert_eq!(value(&replicas[1], "after"), None);
    assert_eq!(replicas[1].applied.to_string(), "eu=0,us=2");
}
