//! A geography database in the one form that the rest reads, wherever it came from.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use super::built_in;
use super::mmdb;
use super::ranges::Ranges;
use crate::earth::{Country, GeoPoint};
use crate::prefix::Prefix;

/// What is known of an address; both empty: unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Location {
    /// The country.
    pub country: Option<Country>,
    /// The best point that the database has, or the country's.
    pub point: Option<GeoPoint>,
}

/// A location of one database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LocationId(pub(super) u32);

/// Where a database comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseInfo {
    /// Its name.
    pub source: String,
    /// When it was made, as YYYY-MM-DD.
    pub date: String,
    /// Under which terms; none: the operator's own affair.
    pub license: Option<String>,
}

impl std::fmt::Display for DatabaseInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.source, self.date)?;
        match &self.license {
            Some(license) => write!(f, " ({license})"),
            None => Ok(()),
        }
    }
}

/// A database that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GeoError {
    /// It cannot be read.
    #[error("geography database {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is no database, or a broken one.
    #[error("geography database {}: not a MaxMind-format database, or a damaged one: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What its reader says.
        reason: String,
    },
    /// It knows no autonomous systems.
    #[error(
        "geography database {}: it is a `{kind}` database without autonomous systems; one such as GeoLite2-ASN is expected",
        path.display()
    )]
    WithoutAsns {
        /// The file.
        path: PathBuf,
        /// What it calls itself.
        kind: String,
    },
    /// It is a database of something else.
    #[error(
        "geography database {}: it is a `{kind}` database without countries or locations; one such as GeoLite2-Country or GeoLite2-City is expected",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it calls itself.
        kind: String,
    },
}

/// A geography database: addresses to locations.
#[derive(Debug, PartialEq)]
pub struct Database {
    info: DatabaseInfo,
    locations: Vec<Location>,
    ranges: Ranges<LocationId>,
}

impl Database {
    /// The table that is compiled in; decoded once.
    pub fn built_in() -> Arc<Self> {
        static BUILT_IN: LazyLock<Arc<Database>> = LazyLock::new(|| Arc::new(built_in::decode()));
        BUILT_IN.clone()
    }

    /// Reads a MaxMind-format file whole: a page fault or a truncated file must not stop anybody later.
    pub fn open(path: &Path) -> Result<Self, GeoError> {
        let bytes = std::fs::read(path).map_err(|error| GeoError::Unreadable {
            path: path.to_owned(),
            error,
        })?;
        mmdb::read(path, bytes)
    }

    pub(super) fn new(
        info: DatabaseInfo,
        locations: Vec<Location>,
        ranges: Ranges<LocationId>,
    ) -> Self {
        Self {
            info,
            locations,
            ranges,
        }
    }

    /// Where it comes from.
    pub fn info(&self) -> &DatabaseInfo {
        &self.info
    }

    /// What is known of an address; an IPv4-mapped IPv6 address counts as the IPv4 address.
    pub fn lookup(&self, address: IpAddr) -> Location {
        self.ranges
            .get(address)
            .map_or_else(Location::default, |id| self.location(id))
    }

    /// What is known of every address of a prefix, if that is the same of all of them.
    pub fn lookup_all(&self, prefix: Prefix) -> Option<Location> {
        self.ranges.get_all(prefix).map(|id| self.location(id))
    }

    pub(super) fn location(&self, id: LocationId) -> Location {
        usize::try_from(id.0)
            .ok()
            .and_then(|index| self.locations.get(index).copied())
            .unwrap_or_default()
    }

    pub(super) fn ranges(&self) -> &Ranges<LocationId> {
        &self.ranges
    }
}

/// A location by the bits of its coordinates.
type LocationKey = (Option<Country>, Option<(u64, u64)>);

/// Gives equal locations one id; the first is unknown.
#[derive(Debug)]
pub(super) struct Interner {
    pub(super) locations: Vec<Location>,
    ids: HashMap<LocationKey, LocationId>,
}

impl Interner {
    pub(super) const UNKNOWN: LocationId = LocationId(0);

    pub(super) fn new() -> Self {
        let mut interner = Self {
            locations: Vec::new(),
            ids: HashMap::new(),
        };
        interner.id(Location::default());
        interner
    }

    pub(super) fn id(&mut self, location: Location) -> LocationId {
        let point = location
            .point
            .map(|point| (point.lat().to_bits(), point.lon().to_bits()));
        let next = LocationId(u32::try_from(self.locations.len()).unwrap_or(u32::MAX));
        let id = *self.ids.entry((location.country, point)).or_insert(next);
        if id == next {
            self.locations.push(location);
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, country: Option<&str>) {
        let location = Database::built_in().lookup(address.parse().unwrap());
        let found = location.country.map(|country| country.to_string());
        assert_eq!(found.as_deref(), country, "{address}");
        assert_eq!(location.point.is_some(), country.is_some(), "{address}");
    }

    #[test]
    fn well_known_networks_land_where_they_should() {
        check("193.0.6.139", Some("NL")); // RIPE NCC, Amsterdam
        check("203.178.141.194", Some("JP")); // WIDE
        check("18.9.22.69", Some("US")); // MIT
        check("200.160.2.3", Some("BR")); // Registro.br
        check("2001:4860:4860::8888", Some("US"));
        check("2001:200::1", Some("JP")); // WIDE
        check("::ffff:193.0.6.139", Some("NL"));
    }

    #[test]
    fn a_prefix_has_a_place_if_all_of_it_has_that_one() {
        let of_all = |prefix: &str| {
            let location = Database::built_in().lookup_all(prefix.parse().unwrap())?;
            Some(location.country?.to_string())
        };
        assert_eq!(of_all("193.0.6.0/24").as_deref(), Some("NL"));
        assert_eq!(of_all("2001:4860:4860::/48").as_deref(), Some("US"));
        assert_eq!(of_all("193.0.0.0/8"), None);
        assert_eq!(of_all("0.0.0.0/0"), None);
    }

    #[test]
    fn what_nobody_announces_stays_unknown() {
        for address in [
            "10.0.0.1",
            "127.0.0.1",
            "192.0.2.1",
            "240.0.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "::1",
            "fd00::1",
        ] {
            check(address, None);
        }
    }

    #[test]
    fn the_database_says_where_it_comes_from() {
        let info = Database::built_in().info().to_string();
        assert!(
            info.starts_with("IPtoASN of 20") && info.ends_with("(PDDL 1.0)"),
            "{info}"
        );
    }

    #[test]
    fn every_country_but_a_registry_s_code_has_a_point() {
        let database = Database::built_in();
        let without: Vec<String> = database
            .locations
            .iter()
            .filter(|location| location.point.is_none())
            .filter_map(|location| Some(location.country?.to_string()))
            .collect();
        assert_eq!(without, ["AP"]);
    }
}
