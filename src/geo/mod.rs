//! Address → location → place: the geography database, the well-known cloud regions, the client map,
//! and what is measured of clients (`measured`).
//!
//! Knows nothing of health. `unplaced` counts whose place nobody knows; `ranges`, `prefix_map` and `trie` are the pure tables that the map is
//! made of.

mod asn;
mod built_in;
mod client_map;
mod clouds;
mod countries;
mod database;
mod measured;
#[cfg(test)]
mod measured_tests;
mod mmdb;
mod prefix_map;
mod ranges;
mod trie;
mod unplaced;

pub use asn::AsnDatabase;
pub use built_in::{country_point, is_country};
pub use client_map::{ClientMap, Place, PlaceId};
pub use clouds::well_known;
pub use countries::CountryClient;
pub use database::{Database, DatabaseInfo, GeoError, Location};
pub use measured::ClientEstimate;
pub use prefix_map::Seek;
