//! Address → location → place: the geography database, the well-known cloud regions and the client map.

mod client_map;
mod place_id;

pub use client_map::{ClientMap, Place, PlaceId};
