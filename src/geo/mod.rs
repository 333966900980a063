//! Address → location → place: the geography database, the well-known cloud regions and the client map.

mod client_map;

pub use client_map::{ClientMap, Place, PlaceId};
