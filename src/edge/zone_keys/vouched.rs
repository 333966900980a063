//! Whether the zone above, where it is served here too, vouches for the keys that sign a zone.

use hickory_proto::rr::RecordType;
use hickory_proto::serialize::binary::BinEncodable;

use super::{AllKeys, listed};
use crate::config::Problem;
use crate::config::plan::{Plan, Zone};
use crate::dns::{Key, ZoneKeys};

/// The zones whose DS records of the zone above are of other keys than they have.
pub(super) fn unvouched(plan: &Plan, all: &AllKeys, now: u32) -> Vec<Problem> {
    let zones = plan.zones.iter().zip(all.iter());
    let signed = zones.filter_map(|(zone, keys)| Some((zone, keys.as_deref()?)));
    signed
        .filter_map(|(zone, keys)| doubt(plan, zone, keys, now))
        .collect()
}

fn doubt(plan: &Plan, zone: &Zone, keys: &ZoneKeys, now: u32) -> Option<Problem> {
    let own = keys.for_parent(now);
    let own: Vec<&Key> = own.filter(|key| key.times.is_active(now)).collect();
    let records = ds_records(plan, zone);
    let is_known = |ds: &Vec<u8>| own.iter().any(|key| key.is_meant_by(&zone.origin, ds));
    if own.is_empty() || records.is_empty() || records.iter().any(is_known) {
        return None;
    }
    let origin = &zone.origin;
    let tags = own.iter().map(|key| key.tag());
    let told = records.iter().filter_map(|ds| ds.first_chunk::<2>());
    let told = told.map(|tag| u16::from_be_bytes(*tag));
    let message = format!(
        "{origin} is signed with {}, and the zone above has no DS record of that, but of {}: whoever validates refuses the zone. `meridian check --ds` prints what the zone above needs; or put the keys back that it knows",
        listed(&tags.collect::<Vec<_>>()),
        listed(&told.collect::<Vec<_>>())
    );
    let at = zone.dnssec.as_ref().map(|dnssec| dnssec.keys.at.clone());
    Some(Problem::new(at, message))
}

/// The data of the DS records that the zone above has of a zone, if it is signed: else nobody goes by them.
fn ds_records(plan: &Plan, zone: &Zone) -> Vec<Vec<u8>> {
    let above = plan.zones.iter();
    let above = above.filter(|above| above.origin != zone.origin);
    let above = above.filter(|above| above.origin.zone_of(&zone.origin));
    let above = above.max_by_key(|above| above.origin.num_labels());
    let Some(above) = above.filter(|above| above.dnssec.is_some()) else {
        return Vec::new();
    };
    let of_zone = above.records.iter();
    let of_zone = of_zone.filter(|record| record.owner == zone.origin);
    let ds = of_zone.filter(|record| record.data.record_type() == RecordType::DS);
    ds.filter_map(|record| record.data.to_bytes().ok())
        .collect()
}
