//! What a name stands for in a Plan: a region, a service, a host, a name of a zone.

use hickory_proto::rr::{Name, RData};

use super::{HostPattern, Plan};
use crate::ids::{RegionId, ServiceId};

/// How many CNAMEs are followed, as in answers.
const LONGEST_CHAIN: usize = 12;

impl Plan {
    /// The region of this name.
    pub fn region(&self, name: &str) -> Option<RegionId> {
        self.regions
            .iter()
            .find(|(_, region)| &*region.name == name)
            .map(|(id, _)| id)
    }

    /// The service of this name.
    pub fn service(&self, name: &str) -> Option<ServiceId> {
        self.services
            .iter()
            .find(|(_, service)| &*service.name == name)
            .map(|(id, _)| id)
    }

    /// The service that a name of the zones is steered by: one of its own, the end of its CNAMEs, or a
    /// wildcard's (RFC 4592 §3.3.1, without the names that stand between).
    pub fn service_for_name(&self, name: &str) -> Option<ServiceId> {
        let mut name = Name::from_ascii(name).ok()?.to_lowercase();
        name.set_fqdn(true);
        let steered = |wanted: &Name| {
            let mut names = self.zones.iter().flat_map(|zone| &zone.steered);
            let found = names.find(|(owner, _)| owner == wanted);
            found.map(|(_, service)| *service)
        };
        let alias = |owner: &Name| {
            let mut records = self.zones.iter().flat_map(|zone| &zone.records);
            records.find_map(|record| {
                let RData::CNAME(target) = &record.data else {
                    return None;
                };
                (record.owner == *owner).then(|| target.0.to_lowercase())
            })
        };
        for _ in 0..LONGEST_CHAIN {
            if let Some(service) = steered(&name) {
                return Some(service);
            }
            match alias(&name) {
                Some(target) => name = target,
                None => break,
            }
        }
        let above = std::iter::successors(Some(name), |name| {
            (!name.is_root()).then(|| name.base_name())
        });
        let mut wildcards = above
            .skip(1)
            .filter_map(|name| name.prepend_label("*").ok());
        wildcards.find_map(|wildcard| steered(&wildcard))
    }

    /// The service that answers for a host name: an exact host first, then the longest wildcard.
    /// A wildcard stands for one or more labels (RFC 4592 §2.1).
    pub fn service_for_host(&self, host: &str) -> Option<ServiceId> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let hosts = || {
            self.services
                .iter()
                .flat_map(|(id, service)| service.hosts.iter().map(move |h| (id, h)))
        };
        hosts()
            .find(|(_, pattern)| matches!(pattern, HostPattern::Exact(name) if **name == host))
            .or_else(|| {
                hosts()
                    .filter(|(_, pattern)| pattern.is_wildcard() && pattern.matches(&host))
                    .max_by_key(|(_, pattern)| pattern.name().len())
            })
            .map(|(id, _)| id)
    }
}
