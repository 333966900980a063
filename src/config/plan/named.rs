//! What a name stands for in a Plan: a region, a service, a host, a name of a zone.

use hickory_proto::rr::{Name, RData, RecordType};
use hickory_proto::serialize::binary::BinDecodable;

use super::{HostPattern, Plan, Zone, ZoneRecord};
use crate::ids::{RegionId, ServiceId};

/// How many CNAMEs are followed, as in answers.
const LONGEST_CHAIN: usize = 12;

/// Why DNS answers for a name with no service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSteered {
    /// It is in no zone.
    #[error("no zone of this edge has the name: DNS refuses it")]
    NoZone,
    /// Another server answers for it.
    #[error("its zone delegates the name: DNS refers to other servers")]
    Delegated,
    /// It stands for something else.
    #[error(
        "its zone says something else of the name, or of names below it: DNS answers with that alone"
    )]
    OtherRecords,
    /// An alias leads elsewhere.
    #[error(
        "the name is an alias of one that is not this edge's to answer for: DNS answers with the alias"
    )]
    LeadsOut,
    /// An alias leads to a name that there is not.
    #[error(
        "the name is an alias of one that its zone does not have: DNS answers with the alias and denies the other"
    )]
    LeadsNowhere,
    /// There is no such name.
    #[error("its zone has no such name: DNS denies it")]
    NoName,
}

/// What a zone says of a name.
enum Place {
    Steered(ServiceId),
    Alias(Name),
}

impl Zone {
    /// What cuts a name off from its zone: a delegation at it or above, or a DNAME above (RFC 6672 §2.3), whichever is first from
    /// the apex.
    fn cut_above(&self, name: &Name) -> Result<Option<Place>, NotSteered> {
        let is_cut = |record: &&ZoneRecord| {
            let (owner, of) = (&record.owner, record.data.record_type());
            let is_delegation = of == RecordType::NS && *owner != self.origin;
            is_delegation || (of == RecordType::DNAME && owner != name)
        };
        let above = self
            .records
            .iter()
            .filter(|record| record.owner.zone_of(name));
        let cut = above
            .filter(is_cut)
            .min_by_key(|record| record.owner.num_labels());
        let Some(cut) = cut else {
            return Ok(None);
        };
        let target = dname(&cut.data).ok_or(NotSteered::Delegated)?;
        let own = name.iter().count() - cut.owner.iter().count();
        let below = Name::from_labels(name.iter().take(own));
        let moved = below.and_then(|below| below.append_name(&target));
        moved.map_or(Err(NotSteered::OtherRecords), |moved| {
            Ok(Some(Place::Alias(moved)))
        })
    }

    /// What stands at an owner name; `None`: nothing.
    fn at(&self, owner: &Name) -> Option<Result<Place, NotSteered>> {
        let mut steered = self.steered.iter();
        if let Some((_, service)) = steered.find(|(steered, _)| steered == owner) {
            return Some(Ok(Place::Steered(*service)));
        }
        let mut records = self.records.iter().filter(|record| record.owner == *owner);
        let first = records.next()?;
        Some(if let RData::CNAME(target) = &first.data {
            Ok(Place::Alias(target.0.clone()))
        } else {
            Err(NotSteered::OtherRecords)
        })
    }

    /// The longest ancestor of a name that exists, or the name itself, by itself or by names below it (RFC 4592 §2.2.2, §3.3.1),
    /// those of other zones among them.
    fn encloser_of(&self, name: &Name, zones: &[Self]) -> Name {
        let owners = self.records.iter().map(|record| &record.owner);
        let owners = owners.chain(self.steered.iter().map(|(owner, _)| owner));
        let owners = owners.chain(zones.iter().map(|zone| &zone.origin));
        let shared = owners.map(|owner| {
            let labels = owner.iter().rev().zip(name.iter().rev());
            labels.take_while(|(a, b)| a == b).count()
        });
        let longest = shared.max().unwrap_or(0);
        let longest = longest.max(usize::from(self.origin.num_labels()));
        name.trim_to(longest)
    }
}

/// Where a DNAME leads.
fn dname(data: &RData) -> Option<Name> {
    let RData::Unknown { code, rdata } = data else {
        return None;
    };
    let target = || Name::from_bytes(&rdata.anything).ok();
    (*code == RecordType::DNAME).then(target).flatten()
}

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

    /// The service that DNS answers for a name with: the name's own, that at the end of its aliases, or a wildcard's (RFC 4592
    /// §3.3.1). Looks through all zones.
    pub fn service_for_name(&self, name: &str) -> Result<ServiceId, NotSteered> {
        let mut name = Name::from_ascii(name).map_err(|_| NotSteered::NoZone)?;
        name = name.to_lowercase();
        name.set_fqdn(true);
        let mut place = self.place_of(&name);
        for _ in 0..LONGEST_CHAIN {
            match place? {
                Place::Steered(service) => return Ok(service),
                Place::Alias(target) => name = target.to_lowercase(),
            }
            place = match self.place_of(&name) {
                Err(NotSteered::NoZone | NotSteered::Delegated) => Err(NotSteered::LeadsOut),
                Err(NotSteered::NoName) => Err(NotSteered::LeadsNowhere),
                other => other,
            };
        }
        match place? {
            Place::Steered(service) => Ok(service),
            Place::Alias(_) => Err(NotSteered::OtherRecords),
        }
    }

    fn place_of(&self, name: &Name) -> Result<Place, NotSteered> {
        let around = self.zones.iter().filter(|zone| zone.origin.zone_of(name));
        let zone = around.max_by_key(|zone| zone.origin.num_labels());
        let zone = zone.ok_or(NotSteered::NoZone)?;
        if let Some(place) = zone.cut_above(name)? {
            return Ok(place);
        }
        if let Some(found) = zone.at(name) {
            return found;
        }
        let encloser = zone.encloser_of(name, &self.zones);
        if encloser == *name {
            return Err(NotSteered::OtherRecords);
        }
        let wildcard = encloser.prepend_label("*").ok();
        wildcard
            .and_then(|wildcard| zone.at(&wildcard))
            .unwrap_or(Err(NotSteered::NoName))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_text;

    const YAML: &str = "
regions: { a: { addresses: [192.0.2.1] } }
services:
  www: { hosts: [www.example.com, www.elsewhere.test] }
  any: { hosts: ['*.any.example.com'] }
zones:
  example.com:
    nameservers: { ns1: [192.0.2.53] }
    records:
      '@': { service: www }
      alias: { CNAME: www }
      two: { CNAME: alias }
      out: { CNAME: 'www.elsewhere.test.' }
      away: { CNAME: x.sub.any }
      nowhere: { CNAME: other }
      mail: { A: 192.0.2.25 }
      mail.any: { A: 192.0.2.26 }
      x.ent.any: { A: 192.0.2.27 }
      sub.any: { NS: 'ns.elsewhere.test.' }
      '*.wild': { CNAME: www }
      moved: { DNAME: example.com. }
  deep.between.any.example.com: { nameservers: { ns1: [192.0.2.53] } }
";

    #[track_caller]
    fn check(plan: &Plan, name: &str, expected: Result<&str, NotSteered>) {
        let found = plan.service_for_name(name);
        let found = found.map(|id| &*plan.services.of(id).name);
        assert_eq!(found, expected, "{name}");
    }

    #[test]
    fn a_name_is_steered_where_dns_answers_with_its_service_and_nowhere_else() {
        let plan = load_text("edge.yaml", YAML, &|_| None).unwrap().plan;
        for (name, service) in [
            ("WWW.example.com.", "www"),
            ("example.com", "www"),
            ("two.example.com", "www"),
            ("x.wild.example.com", "www"),
            ("www.moved.example.com", "www"),
            ("*.any.moved.example.com", "any"),
            ("x.y.any.example.com", "any"),
        ] {
            check(&plan, name, Ok(service));
        }
        for (name, why) in [
            ("www.elsewhere.test", NotSteered::NoZone),
            ("out.example.com", NotSteered::LeadsOut),
            ("mail.example.com", NotSteered::OtherRecords),
            ("moved.example.com", NotSteered::OtherRecords),
            ("mail.any.example.com", NotSteered::OtherRecords),
            ("ent.any.example.com", NotSteered::OtherRecords),
            ("y.ent.any.example.com", NotSteered::NoName),
            ("between.any.example.com", NotSteered::OtherRecords),
            ("y.between.any.example.com", NotSteered::NoName),
            ("sub.any.example.com", NotSteered::Delegated),
            ("x.sub.any.example.com", NotSteered::Delegated),
            ("other.example.com", NotSteered::NoName),
            ("away.example.com", NotSteered::LeadsOut),
            ("nowhere.example.com", NotSteered::LeadsNowhere),
        ] {
            check(&plan, name, Err(why));
        }
    }
}
