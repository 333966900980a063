//! How far every region is behind every writer of its domain, and what there is to tell of it.
//!
//! Looked at once a second, so that it counts whichever way positions are heard, and when nothing is.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{World, event};
use crate::config::plan::{Domain, Plan};
use crate::control::events::{Event, Kind};
use crate::ids::DomainId;
use crate::positions::{RegionLag, RegionName};

/// The lag of one domain's regions.
#[derive(Clone, Debug)]
pub(in crate::control) struct DomainLag {
    pub(in crate::control) domain: Domain,
    /// The shortest `max_lag` of its services.
    max_lag: Duration,
    pub(in crate::control) regions: Vec<RegionLag>,
    /// Logs of no region, of which its origins speak.
    strange_logs: BTreeSet<RegionName>,
}

impl World {
    /// The lag of every domain.
    pub(in crate::control) fn lags(&self, steady_ms: u64) -> Vec<DomainLag> {
        let domains = self.plan.domains.iter();
        domains
            .filter_map(|(id, domain)| self.domain_lag(id, domain, steady_ms))
            .collect()
    }

    fn domain_lag(&self, id: DomainId, domain: &Domain, steady_ms: u64) -> Option<DomainLag> {
        let applied = self.positions.get(&domain.name)?;
        Some(DomainLag {
            domain: domain.clone(),
            max_lag: max_lag(&self.plan, id)?,
            regions: applied.lags(steady_ms),
            strange_logs: applied.strange_logs(),
        })
    }

    /// What there is to tell of regions that have just come to be behind, or caught up.
    pub(in crate::control) fn note_lags(&mut self, lags: &[DomainLag], now_ms: u64) -> Vec<Event> {
        let mut events = Vec::new();
        for of_domain in lags {
            let name = &of_domain.domain.name;
            let strange = self.laggards.note_strange(name, &of_domain.strange_logs);
            events
                .extend(strange.map(|message| event(Kind::Position, now_ms, None, None, message)));
            for row in &of_domain.regions {
                let lag = row.behind.iter().map(|lag| lag.time).max();
                let (domain, region, most) = (&of_domain.domain, &row.region, of_domain.max_lag);
                let (lag, laggards) = (lag.unwrap_or_default(), &mut self.laggards);
                let messages = [
                    laggards.note(&domain.name, region, lag, most),
                    laggards.note_denial(domain, region, row.denied, most),
                ];
                let tell = |message| event(Kind::Position, now_ms, Some(region), None, message);
                events.extend(messages.into_iter().flatten().map(tell));
            }
        }
        events
    }
}

/// The shortest of a domain's services.
pub(super) fn max_lag(plan: &Plan, domain: DomainId) -> Option<Duration> {
    let services = plan.services.values();
    services
        .filter_map(|service| service.consistency.as_ref())
        .filter(|consistency| consistency.domain == domain)
        .map(|consistency| consistency.max_lag)
        .min()
}
