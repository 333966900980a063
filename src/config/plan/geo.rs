//! `geo`: where clients are.

use super::FileRef;
use crate::ids::RegionId;
use crate::prefix::Prefix;

/// Where clients are.
#[derive(Clone, Debug, PartialEq)]
pub struct Geo {
    /// A MaxMind-format file; none: the built-in table.
    pub database: Option<FileRef>,
    /// Clients of these networks are at that region. The longest match decides.
    pub networks: Vec<(Prefix, RegionId)>,
    /// Which autonomous system announces an address; none: nobody knows.
    pub asns: Option<FileRef>,
}
