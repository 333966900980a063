//! Any MaxMind-format file: the nested schema (`country.iso_code`, `location.latitude`) and the flat
//! one (`country_code`, `latitude`). An empty field is unknown, never 0, 0.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;

use maxminddb::{Reader, WithinOptions};
use serde_json::Value;

use super::built_in::country_points;
use super::database::{Database, DatabaseInfo, GeoError, Interner, Location, LocationId};
use super::ranges::{Address, Family, Ranges};
use crate::clock;
use crate::earth::{Country, GeoPoint};

/// Reads and verifies a database.
pub(super) fn read(path: &Path, bytes: Vec<u8>) -> Result<Database, GeoError> {
    let damaged = |error: maxminddb::MaxMindDbError| GeoError::Damaged {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    // The crate's own `verify` also refuses metadata without a description, which many writers leave out.
    // Walking the whole tree and decoding every record, as below, finds what is damaged.
    let reader = Reader::from_source(bytes).map_err(damaged)?;
    let mut decoder = Decoder {
        points: country_points(),
        interner: Interner::new(),
        known: HashMap::new(),
    };
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for found in reader.networks(WithinOptions::default()).map_err(damaged)? {
        let found = found.map_err(damaged)?;
        let network = found.network().map_err(damaged)?;
        let id = decoder.id(&found).map_err(damaged)?;
        match (network.network(), network.broadcast()) {
            (IpAddr::V4(first), IpAddr::V4(last)) => v4.push((first.to_bits(), last.to_bits(), id)),
            (IpAddr::V6(first), IpAddr::V6(last)) => v6.push((first.to_bits(), last.to_bits(), id)),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
        }
    }
    let metadata = reader.metadata();
    if decoder.interner.locations.len() == 1 {
        return Err(GeoError::Foreign {
            path: path.to_owned(),
            kind: metadata.database_type.clone(),
        });
    }
    let built = clock::rfc3339(metadata.build_epoch.saturating_mul(1000));
    let info = DatabaseInfo {
        source: metadata.database_type.clone(),
        date: built.split('T').next().unwrap_or_default().to_owned(),
        license: None,
    };
    let ranges = Ranges {
        v4: cover(v4, Interner::UNKNOWN),
        v6: cover(v6, Interner::UNKNOWN),
    };
    Ok(Database::new(info, decoder.interner.locations, ranges))
}

/// Reads a database of autonomous systems.
pub(super) fn read_asns(path: &Path, bytes: Vec<u8>) -> Result<Ranges<Option<u32>>, GeoError> {
    let damaged = |error: maxminddb::MaxMindDbError| GeoError::Damaged {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let reader = Reader::from_source(bytes).map_err(damaged)?;
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for found in reader.networks(WithinOptions::default()).map_err(damaged)? {
        let found = found.map_err(damaged)?;
        let network = found.network().map_err(damaged)?;
        let record: Value = found.decode().map_err(damaged)?.unwrap_or(Value::Null);
        let Some(asn) = asn(&record) else { continue };
        match (network.network(), network.broadcast()) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                v4.push((first.to_bits(), last.to_bits(), Some(asn)));
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                v6.push((first.to_bits(), last.to_bits(), Some(asn)));
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
        }
    }
    if v4.is_empty() && v6.is_empty() {
        return Err(GeoError::WithoutAsns {
            path: path.to_owned(),
            kind: reader.metadata().database_type.clone(),
        });
    }
    Ok(Ranges {
        v4: cover(v4, None),
        v6: cover(v6, None),
    })
}

/// GeoLite2-ASN's number, or the text `AS64500` of others.
fn asn(record: &Value) -> Option<u32> {
    let number = |key: &str| u32::try_from(record.get(key)?.as_u64()?).ok();
    let text = || {
        record
            .get("asn")?
            .as_str()?
            .trim_start_matches("AS")
            .parse()
            .ok()
    };
    number("autonomous_system_number")
        .or_else(|| number("asn"))
        .or_else(text)
}

/// Ranges that cover the family, with gaps unknown.
fn cover<A: Address, V: Copy + PartialEq>(mut spans: Vec<(A, A, V)>, unknown: V) -> Family<A, V> {
    spans.sort_unstable_by_key(|(first, ..)| *first);
    let mut family = Family::uniform(unknown);
    for (first, last, id) in spans {
        family.push(first, id);
        if let Some(next) = last.next() {
            family.0.push((next, unknown)); // Replaced if the next span starts right there.
        }
    }
    family
}

/// Decodes each distinct record once.
struct Decoder {
    points: HashMap<Country, GeoPoint>,
    interner: Interner,
    known: HashMap<usize, LocationId>,
}

impl Decoder {
    fn id<S: AsRef<[u8]>>(
        &mut self,
        found: &maxminddb::LookupResult<'_, S>,
    ) -> Result<LocationId, maxminddb::MaxMindDbError> {
        let Some(offset) = found.offset() else {
            return Ok(Interner::UNKNOWN);
        };
        if let Some(id) = self.known.get(&offset) {
            return Ok(*id);
        }
        let record: Value = found.decode()?.unwrap_or(Value::Null);
        let id = self.interner.id(self.location(&record));
        self.known.insert(offset, id);
        Ok(id)
    }

    fn location(&self, record: &Value) -> Location {
        let first = |paths: &[&str]| paths.iter().find_map(|path| record.pointer(path));
        let country = first(&["/country/iso_code", "/country_code"])
            .and_then(Value::as_str)
            .and_then(|code| code.parse().ok());
        let degrees = |paths| first(paths).and_then(number);
        let lat = degrees(&["/location/latitude", "/latitude"]);
        let lon = degrees(&["/location/longitude", "/longitude"]);
        let point = lat
            .zip(lon)
            .and_then(|(lat, lon)| GeoPoint::new(lat, lon).ok());
        Location {
            country,
            point: point.or_else(|| self.points.get(country.as_ref()?).copied()),
        }
    }
}

/// Degrees as a number or as a text.
fn number(value: &Value) -> Option<f64> {
    value
        .as_f64()
        .or_else(|| value.as_str()?.trim().parse().ok())
}
