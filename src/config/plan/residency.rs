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

/// What residency goes by.
#[derive(Clone, Debug, PartialEq)]
pub enum ResidencyBy {
    /// A request header's value.
    Header(http::HeaderName),
    /// The client's country.
    ClientCountry,
}
