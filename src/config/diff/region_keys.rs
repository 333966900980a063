//! What a region says, key by key in the operator's words.

use super::keys::Key;
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
        Key::hidden("location", &region.location),
        Key::hidden("proxy_protocol", &region.proxy_protocol),
    ];
    let jurisdiction = region.jurisdiction.iter();
    keys.extend(jurisdiction.map(|given| Key::shown("jurisdiction", given)));
    keys.extend(region.alias.iter().map(|alias| Key::shown("alias", alias)));
    keys
}
