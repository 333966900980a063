//! Which regions' replication is behind, so that it is told once when it begins and once when it ends.
//!
//! Pure but for the gauges. Behind is a lag over the shortest `max_lag` of the domain's services.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::world::DomainLag;
use crate::config::plan::Domain;
use crate::positions::{Denied, RegionName};

/// The regions that are behind, and those that deny what they acknowledged, by domain.
#[derive(Debug, Default)]
pub(super) struct Laggards {
    behind: HashSet<(Arc<str>, Arc<str>)>,
    denying: HashSet<(Arc<str>, Arc<str>)>,
    /// Domain → the logs of no region that were told of.
    strange: HashMap<Arc<str>, BTreeSet<RegionName>>,
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

    /// Takes in what a region denies. What there is to tell, if that has just lasted for `max_lag`, or is over.
    pub(super) fn note_denial(
        &mut self,
        domain: &Domain,
        region: &Arc<str>,
        denied: Option<Denied>,
        max_lag: Duration,
    ) -> Option<String> {
        let name = &domain.name;
        let key = (name.clone(), region.clone());
        let Some(denied) = denied else {
            return self.denying.remove(&key).then(|| {
                format!("{region} denies nothing in domain {name} any more that it acknowledged")
            });
        };
        let is_news = denied.ago > max_lag && self.denying.insert(key);
        is_news.then(|| {
            format!(
                "{region} denies in domain {name} what it acknowledged: {} of its own log, {} ms ago, and it shows {}: that write is lost, or Meridian-Committed says too much",
                denied.acknowledged.show(domain.version),
                denied.ago.as_millis(),
                denied.shown.show(domain.version)
            )
        })
    }

    /// Takes in of which logs of no region a domain's origins speak; what there is to tell of those that are new.
    pub(super) fn note_strange(
        &mut self,
        domain: &Arc<str>,
        logs: &BTreeSet<RegionName>,
    ) -> impl Iterator<Item = String> + use<> {
        let told = self.strange.entry(domain.clone()).or_default();
        let before = std::mem::replace(told, logs.clone());
        let new: Vec<RegionName> = logs.difference(&before).cloned().collect();
        let domain = domain.clone();
        new.into_iter().map(move |log| {
            format!(
                "origins of domain {domain} speak of the log of {log}, which is no region of the configuration: what they say of it counts for nothing, and writes in it are only pinned"
            )
        })
    }

    /// Forgets domains and regions that a reload has taken away.
    pub(super) fn retain(
        &mut self,
        domains: impl Fn(&str) -> bool,
        regions: impl Fn(&str) -> bool,
    ) {
        for told in [&mut self.behind, &mut self.denying] {
            told.retain(|(domain, region)| domains(domain) && regions(region));
        }
        self.strange.retain(|domain, _| domains(domain));
    }
}

/// Shows every lag in the metrics: domain × region × writer.
pub(super) fn publish_lags(lags: &[DomainLag]) {
    for of_domain in lags {
        for row in &of_domain.regions {
            for lag in &row.behind {
                // Past 2^32 the count only has to be large; unknown (another epoch) shows as no number.
                let positions = lag.positions.map_or(f64::NAN, |count| {
                    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
                });
                let of = [&of_domain.domain.name, &row.region, &lag.writer];
                publish_lag(of, lag.time.as_secs_f64(), positions);
            }
            if row.behind.iter().all(|lag| lag.writer != row.region) {
                let of = [&of_domain.domain.name, &row.region, &row.region];
                publish_lag(of, 0.0, 0.0);
            }
        }
    }
}

fn publish_lag([domain, region, writer]: [&Arc<str>; 3], seconds: f64, positions: f64) {
    let of = |name: &Arc<str>| metrics::SharedString::from(name.clone());
    let (domain, region, writer) = (of(domain), of(region), of(writer));
    metrics::gauge!("meridian_replication_lag_seconds", "domain" => domain.clone(), "region" => region.clone(), "writer" => writer.clone())
        .set(seconds);
    metrics::gauge!("meridian_replication_lag_positions", "domain" => domain, "region" => region, "writer" => writer)
        .set(positions);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_of_no_region_is_told_of_once_while_it_is_spoken_of() {
        let mut laggards = Laggards::default();
        let domain = "orders".into();
        let mut told = |logs: &[&str]| {
            let logs = logs.iter().map(|log| RegionName::from(*log)).collect();
            laggards.note_strange(&domain, &logs).collect::<Vec<_>>()
        };
        assert_eq!(told(&[]), [""; 0]);
        let said = told(&["p"]);
        assert!(
            said[0]
                .starts_with("origins of domain orders speak of the log of p, which is no region")
        );
        assert_eq!(told(&["p"]), [""; 0]);
        assert_eq!(told(&["p", "q"]).len(), 1);
    }

    use crate::config::plan::VersionForm;
    use crate::positions::Position;

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

    #[test]
    fn a_denial_is_told_once_it_has_lasted_and_once_it_is_over() {
        let mut laggards = Laggards::default();
        let domain = Domain {
            name: "orders".into(),
            version: VersionForm::PgLsn,
            follow: None,
        };
        let at = |seq| Position { epoch: 0, seq };
        let denied = |ago_s| Denied {
            acknowledged: at(0x30),
            shown: at(0x20),
            ago: Duration::from_secs(ago_s),
        };
        let mut told =
            |denied| laggards.note_denial(&domain, &"eu".into(), denied, Duration::from_secs(5));
        assert_eq!(told(Some(denied(5))), None);
        assert_eq!(
            told(Some(denied(6))).unwrap(),
            "eu denies in domain orders what it acknowledged: 0/30 of its own log, 6000 ms ago, and it shows 0/20: that write is lost, or Meridian-Committed says too much"
        );
        assert_eq!(told(Some(denied(7))), None);
        assert_eq!(
            told(None).unwrap(),
            "eu denies nothing in domain orders any more that it acknowledged"
        );
        assert_eq!(told(None), None);
    }
}
