//! Address → autonomous system, from a MaxMind-format file such as GeoLite2-ASN.

use std::net::IpAddr;
use std::path::Path;

use super::database::GeoError;
use super::mmdb;
use super::ranges::Ranges;

/// Which autonomous system announces an address.
#[derive(Debug, PartialEq)]
pub struct AsnDatabase(Ranges<Option<u32>>);

impl AsnDatabase {
    /// Reads a file whole.
    pub fn open(path: &Path) -> Result<Self, GeoError> {
        let bytes = std::fs::read(path).map_err(|error| GeoError::Unreadable {
            path: path.to_owned(),
            error,
        })?;
        mmdb::read_asns(path, bytes).map(Self)
    }

    /// The number of an address's system.
    pub fn lookup(&self, address: IpAddr) -> Option<u32> {
        self.0.get(address).flatten()
    }

    pub(super) fn ranges(&self) -> &Ranges<Option<u32>> {
        &self.0
    }
}
