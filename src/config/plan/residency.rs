//! `residency` of a service: what never leaves a set of regions.

use std::sync::Arc;

use crate::ids::RegionId;

/// What never leaves a set of regions.
#[derive(Clone, Debug, PartialEq)]
pub struct Residency {
    /// What decides.
    pub by: ResidencyBy,
    /// Label (a header's value or a country, upper case) → regions.
    pub allow: Vec<(Arc<str>, Vec<RegionId>)>,
}

impl Residency {
    /// The regions of a label; none for one that is not listed.
    pub fn list_of(&self, label: &str) -> Option<&[RegionId]> {
        let mut lists = self.allow.iter();
        let (_, regions) = lists.find(|(name, _)| name.eq_ignore_ascii_case(label))?;
        Some(regions)
    }
}

/// What residency goes by.
#[derive(Clone, Debug, PartialEq)]
pub enum ResidencyBy {
    /// A request header's value.
    Header(http::HeaderName),
    /// The client's country.
    ClientCountry,
}
