//! Whether a region's health paths say anything of positions: those that do not are not asked all the time.
//!
//! Pure: times are in milliseconds of the steady clock.

use std::sync::atomic::{AtomicU64, Ordering};

/// How long a region's health paths are not asked for positions after they said nothing of them.
const SILENT_FOR_MS: u64 = 1_000;

/// Until when they are left alone.
#[derive(Debug, Default)]
pub(super) struct Silence(AtomicU64);

impl Silence {
    /// None of them says anything.
    pub(super) fn begin(&self, now_ms: u64) {
        let until_ms = now_ms.saturating_add(SILENT_FOR_MS);
        self.0.store(until_ms, Ordering::Relaxed);
    }

    /// Whether none did of late.
    pub(super) fn holds(&self, now_ms: u64) -> bool {
        now_ms < self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_paths_that_say_nothing_are_left_alone_for_a_second_and_asked_again_after_it() {
        let silence = Silence::default();
        assert!(!silence.holds(0));
        silence.begin(5_000);
        assert!(silence.holds(5_999));
        assert!(!silence.holds(6_000));
    }
}
