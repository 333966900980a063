//! The geography table that is compiled in: decoding of `data/geo`, whose script describes the layout.

use std::collections::HashMap;
use std::io::Read;
use std::sync::LazyLock;

use super::database::{Database, DatabaseInfo, Interner, Location, LocationId};
use super::ranges::{Address, Family, Ranges};
use crate::earth::{Country, GeoPoint};

static TABLE: &[u8] = include_bytes!("../../data/geo/countries.bin.zst");
static POINTS: &str = include_str!("../../data/geo/points.tsv");

/// IPv6 ranges start at multiples of 2^64.
const V6_UNIT_BITS: u32 = 64;

/// Decodes the table.
#[expect(
    clippy::expect_used,
    reason = "the table is part of the binary, and a test decodes it"
)]
pub(super) fn decode() -> Database {
    let mut bytes = Vec::new();
    ruzstd::decoding::StreamingDecoder::new(TABLE)
        .expect("the built-in table is zstd")
        .read_to_end(&mut bytes)
        .expect("the built-in table is whole");
    read(&bytes).expect("the built-in table is well-formed")
}

/// Whether a country has this code.
pub fn is_country(country: Country) -> bool {
    country_point(country).is_some()
}

/// The point that stands for a country: its most populous time zone's city.
pub fn country_point(country: Country) -> Option<GeoPoint> {
    static POINTS: LazyLock<HashMap<Country, GeoPoint>> = LazyLock::new(country_points);
    POINTS.get(&country).copied()
}

/// The point that stands for each country.
pub(super) fn country_points() -> HashMap<Country, GeoPoint> {
    POINTS
        .lines()
        .filter_map(|line| {
            let mut fields = line.split('\t');
            let country = fields.next()?.parse().ok()?;
            let (lat, lon) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
            Some((country, GeoPoint::new(lat, lon).ok()?))
        })
        .collect()
}

fn read(bytes: &[u8]) -> Option<Database> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (head, rest) = bytes.split_at(end);
    let mut fields = std::str::from_utf8(head)
        .ok()?
        .split('\t')
        .map(str::to_owned);
    let info = DatabaseInfo {
        source: fields.next()?,
        date: fields.next()?,
        license: fields.next(),
    };
    let mut reader = Reader(rest.get(1..)?);
    let points = country_points();
    let mut interner = Interner::new();
    let mut ids = vec![Interner::UNKNOWN];
    for _ in 0..u16::from_le_bytes(reader.array()?) {
        let code: [u8; 2] = reader.array()?;
        let country: Country = std::str::from_utf8(&code).ok()?.parse().ok()?;
        ids.push(interner.id(Location {
            country: Some(country),
            point: points.get(&country).copied(),
        }));
    }
    let ranges = Ranges {
        v4: reader.family(&ids, 0)?,
        v6: reader.family(&ids, V6_UNIT_BITS)?,
    };
    Some(Database::new(info, interner.locations, ranges))
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn varint(&mut self) -> Option<u128> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let [byte] = self.array()?;
            value |= u128::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn family<A: Address>(
        &mut self,
        ids: &[LocationId],
        unit_bits: u32,
    ) -> Option<Family<A, LocationId>> {
        let count = usize::try_from(u32::from_le_bytes(self.array()?)).ok()?;
        // A varint ends with the byte whose highest bit is clear.
        let ends = self.0.iter().enumerate().filter(|(_, byte)| **byte < 0x80);
        let behind = ends.map(|(at, _)| at + 1).nth(count.checked_sub(1)?)?;
        let (starts, rest) = self.0.split_at_checked(behind)?;
        let (countries, rest) = rest.split_at_checked(count)?;
        self.0 = rest;
        let (mut starts, mut start) = (Reader(starts), 0_u128);
        let mut ranges = Vec::with_capacity(count);
        for country in countries {
            start += starts.varint()?;
            let id = *ids.get(usize::from(*country))?;
            ranges.push((A::from_wide(start << unit_bits), id));
        }
        Some(Family(ranges))
    }
}
