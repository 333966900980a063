//! The promise of read-your-writes, played through with edges, regions, clients and faults in virtual time.
//!
//! Everything that decides is the real code: steering, knowledge of positions, places and turns of reads that
//! wait, tokens, session memory, judging, minting, and what a state file holds. Stores, networks and clients are
//! played, and everything that happens follows from a seed. After each step it is checked that no read that is marked `fresh`, `waited` or `routed` misses a write that was
//! acknowledged to its client, that tokens lose entries only by expiry, retirement or loss, that `lost` is said
//! only of what was left behind at a fork, that no write is made twice, that waiting ends, that nobody reads from who has lacked
//! for longer than a token lives what others show, and that whoever shows all is read from.
//!
//! `MERIDIAN_SIMULATOR_SEED=N` plays one run again and prints it; `MERIDIAN_SIMULATOR_RUNS=N` plays so many, from
//! seed `MERIDIAN_SIMULATOR_FROM` on. `broken.rs` shows that each check can fail.

mod broken;
mod client;
mod edge;
mod fault;
mod floor;
mod moments;
mod newcomers;
mod pusher;
mod random;
mod repeat;
mod run;
mod shown;
mod speech;
mod store;
mod terms;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};

use run::{Run, Seen};

/// Seeds of runs that failed once, for each of the causes that are mended. What is mended changes the run, so the
/// causes have tests of their own in `positions`. All failed before regions held reads or dawdled.
const FAILED_ONCE: [u64; 21] = [
    1_372, 2_683, 2_768, 2_978, 3_351, 4_004, 4_805, 5_054, 7_054, 7_968, 7_984, 10_893, 12_920,
    13_360, 17_614, 18_236, 20_747, 23_855, 25_063, 25_459, 28_377,
];

/// Runs of a test, unless `MERIDIAN_SIMULATOR_RUNS` says otherwise.
const RUNS: u64 = 2_000;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// Plays a run; what it saw, or why it failed.
fn play(mut run: Run) -> Result<Seen, String> {
    let seed = run.seed;
    let played = catch_unwind(AssertUnwindSafe(|| {
        run.play_out();
        run.seen
    }));
    played.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.unwrap_or_else(|| format!("seed {seed} stopped"))
    })
}

#[test]
fn no_client_misses_its_own_writes_whatever_fails() {
    if let Some(seed) = number("MERIDIAN_SIMULATOR_SEED") {
        let mut run = Run::new(seed, true);
        run.play_out();
        println!("{run:?}{:?}", run.seen);
        return;
    }
    let runs = number("MERIDIAN_SIMULATOR_RUNS").unwrap_or(RUNS);
    let mut all = Seen::default();
    let first = number("MERIDIAN_SIMULATOR_FROM").unwrap_or(0);
    for seed in first..first + runs {
        match play(Run::new(seed, false)) {
            Ok(seen) => all.add(seen),
            Err(why) => panic!("MERIDIAN_SIMULATOR_SEED={seed} plays this again:\n{why}"),
        }
    }
    println!("{runs} runs: {all:?}");
    let happened = [
        all.writes,
        all.fresh,
        all.waited,
        all.routed,
        all.stale,
        all.lost,
        all.failed,
        all.taken_back,
        all.faults,
        all.woken,
        all.timed_out,
        all.left,
        all.crashes,
        all.repeated,
        all.waived,
        all.held,
        all.found,
        all.grown,
        all.opened,
        all.closed,
        all.shrunk,
        all.rolled_out,
    ];
    assert!(happened.iter().all(|times| *times > runs / 20), "{all:?}");
}

#[test]
fn no_run_that_failed_once_fails_again() {
    for seed in FAILED_ONCE {
        if let Err(why) = play(Run::plain(seed, false)) {
            panic!("the plain run of seed {seed}:\n{why}");
        }
    }
}

#[test]
fn a_seed_plays_the_same_run_again() {
    let play = || {
        let mut run = Run::new(7, true);
        run.play_out();
        run.trace
    };
    assert_eq!(play(), play());
}
