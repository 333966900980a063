//! Which regions' replication is behind, so that it is told once when it begins and once when it ends.
//!
//! Pure. Behind is a lag over the service's `max_lag`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// The regions that are behind, by domain.
#[derive(Debug, Default)]
pub(super) struct Laggards {
    behind: HashSet<(Arc<str>, Arc<str>)>,
}

impl Laggards {
    /// Takes in a region's lag. What there is to tell, if it has just crossed `max_lag`.
    pub(super) fn note(
        &mut self,
        domain: &Arc<str>,
        region: &Arc<str>,
        lag: Duration,
        max_lag: Duration,
    ) -> Option<String> {
        let key = (domain.clone(), region.clone());
        if lag > max_lag {
            let lag = lag.as_millis();
            let most = max_lag.as_millis();
            self.behind.insert(key).then(|| {
                format!("{region} is behind in domain {domain}: replication lags {lag} ms, over max_lag of {most} ms")
            })
        } else {
            self.behind
                .remove(&key)
                .then(|| format!("{region} has caught up in domain {domain}"))
        }
    }

    /// Forgets domains and regions that a reload has taken away.
    pub(super) fn retain(&mut self, keep: impl Fn(&str, &str) -> bool) {
        self.behind.retain(|(domain, region)| keep(domain, region));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn being_behind_is_told_once_and_catching_up_once() {
        let mut laggards = Laggards::default();
        let (domain, region) = ("orders".into(), "eu-west-1".into());
        let max_lag = Duration::from_secs(5);
        let mut told = |ms: u64| {
            laggards
                .note(&domain, &region, Duration::from_millis(ms), max_lag)
                .is_some()
        };
        let lags = [0, 5_000, 5_001, 9_000, 5_000, 0, 6_000];
        let expected = [false, false, true, false, true, false, true];
        assert_eq!(lags.map(&mut told), expected);
    }
}
