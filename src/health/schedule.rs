//! When a target is probed next.

use std::time::Duration;

/// Jitter around the interval, so that many checks do not fall into step (the contract: 10 %).
const JITTER: f64 = 0.1;

/// The pause until the next probe begins, counted from when the last one began: `interval` in calm,
/// `recheck` while results dissent, each within 10 %. `chance` is uniform from 0 to 1.
pub(super) fn pause(interval: Duration, recheck: Duration, dissent: bool, chance: f64) -> Duration {
    let base = if dissent {
        recheck.min(interval)
    } else {
        interval
    };
    base.mul_f64(1.0 + JITTER * (2.0 * chance - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_jittered_by_ten_percent() {
        let (interval, recheck) = (Duration::from_secs(10), Duration::from_secs(2));
        assert_eq!(pause(interval, recheck, false, 0.0), Duration::from_secs(9));
        assert_eq!(
            pause(interval, recheck, false, 1.0),
            Duration::from_secs(11)
        );
        assert_eq!(pause(interval, recheck, true, 0.5), Duration::from_secs(2));
    }

    #[test]
    fn a_recheck_is_never_slower_than_the_interval() {
        let (interval, recheck) = (Duration::from_secs(1), Duration::from_secs(2));
        assert_eq!(pause(interval, recheck, true, 0.5), interval);
    }
}
