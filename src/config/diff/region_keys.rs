//! What a region says, key by key in the operator's words.

use super::keys::{Key, word};
use crate::config::plan::{Plan, Region};

/// All keys of a region of this Plan.
pub(super) fn keys(plan: &Plan, region: &Region) -> Vec<Key> {
    let addresses = region.addresses.iter().map(ToString::to_string);
    let origins = region
        .origins
        .iter()
        .map(|id| plan.origins.of(*id).url.to_string());
    let mut keys = vec![
        Key::list("addresses", addresses),
        Key::list("origins", origins),
        Key::shown("weight", region.weight),
    ];
    let place = region.location.iter();
    keys.extend(place.map(|at| Key::shown("location", format!("[{}, {}]", at.lat(), at.lon()))));
    let spoken = region.proxy_protocol.iter();
    keys.extend(spoken.map(|version| Key::shown("proxy_protocol", word(version))));
    let jurisdiction = region.jurisdiction.iter();
    keys.extend(jurisdiction.map(|given| Key::shown("jurisdiction", given)));
    keys.extend(region.alias.iter().map(|alias| Key::shown("alias", alias)));
    keys
}
