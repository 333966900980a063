//! Rules that an edge breaks on purpose, each of which must be found: a checker that cannot fail proves nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::run::Run;

/// How many runs a broken rule may take to be found.
const RUNS: u64 = 400;

/// One rule that the played edges break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// Every answer counts as showing all.
    BelievesEveryAnswer,
    /// What is stale is marked `fresh`.
    HidesStale,
    /// A write that got no answer is sent once more.
    SendsWritesAgain,
    /// A write's token has only that write.
    ForgetsTokens,
    /// Every read takes the token back.
    TakesTokensBack,
    /// Every read of a token that was taken back takes it back again.
    TakesBackAgain,
    /// Who is woken sleeps on.
    SleepsOn,
    /// Who waits goes to nobody else.
    StaysBehind,
    /// Waits have no end.
    NeverTimesOut,
    /// Who leaves keeps a place among those who wait.
    KeepsPlaces,
    /// What a reload adds is read from before it has said anything.
    TrustsNewcomers,
    /// A new region serves at once, whichever edges have it.
    ServesTooSoon,
    /// What a region wrote that a reload has removed is asked for no more.
    ForgetsTheRemoved,
}

impl Broken {
    fn is_found_at(self, seed: u64) -> bool {
        let played = catch_unwind(AssertUnwindSafe(|| {
            let mut run = Run::new(seed, false);
            run.broken = Some(self);
            run.play_out();
        }));
        played.is_err()
    }

    #[track_caller]
    fn check(self) {
        let found = (0..RUNS).find(|seed| self.is_found_at(*seed));
        println!("{self:?} is found at seed {found:?}");
        assert!(found.is_some(), "{self:?} is not found in {RUNS} runs");
    }
}

#[test]
fn an_edge_that_believes_every_answer_is_found() {
    Broken::BelievesEveryAnswer.check();
}

#[test]
fn an_edge_that_hides_what_is_stale_is_found() {
    Broken::HidesStale.check();
}

#[test]
fn an_edge_that_sends_writes_again_is_found() {
    Broken::SendsWritesAgain.check();
}

#[test]
fn an_edge_that_forgets_what_a_token_had_is_found() {
    Broken::ForgetsTokens.check();
}

#[test]
fn an_edge_that_takes_tokens_back_too_soon_is_found() {
    Broken::TakesTokensBack.check();
}

#[test]
fn an_edge_that_takes_back_what_it_has_taken_back_already_is_found() {
    Broken::TakesBackAgain.check();
}

#[test]
fn an_edge_that_does_not_wake_who_waits_is_found() {
    Broken::SleepsOn.check();
}

#[test]
fn an_edge_that_waits_for_one_region_while_another_has_it_is_found() {
    Broken::StaysBehind.check();
}

#[test]
fn an_edge_that_reads_from_what_a_reload_has_just_added_is_found() {
    Broken::TrustsNewcomers.check();
}

#[test]
fn a_region_that_serves_before_all_edges_have_it_is_found() {
    Broken::ServesTooSoon.check();
}

#[test]
fn an_edge_that_forgets_what_was_written_in_a_region_that_is_removed_is_found() {
    Broken::ForgetsTheRemoved.check();
}

#[test]
fn an_edge_whose_waits_do_not_end_is_found() {
    Broken::NeverTimesOut.check();
}

#[test]
fn an_edge_that_keeps_the_places_of_those_who_left_is_found() {
    Broken::KeepsPlaces.check();
}
