//! The limit of pushes that nobody can order, and that it ends where their pusher numbers them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::pusher::Numbering;
use super::run::Run;

/// A run in which a push of before a loss comes after one of after it, and looks like growth: one of the first thousands. Should a
/// change of the simulator make another run of it, another one has to be found; `positions/push_tests.rs` has the same by hand.
const LOOKS_LIKE_GROWTH: u64 = 3_351;

/// Plays it with no excuse for that; whether no read misses anything.
fn passes(numbering: Numbering) -> bool {
    let played = catch_unwind(AssertUnwindSafe(|| {
        let mut run = Run::plain(LOOKS_LIKE_GROWTH, false);
        run.is_strict = true;
        run.pushers.numbering = numbering;
        run.play_out();
    }));
    played.is_ok()
}

#[test]
fn a_late_push_hides_a_loss_only_where_pushes_have_no_numbers() {
    assert!(!passes(Numbering::None), "this run does not show the limit");
    assert!(passes(Numbering::All));
}
