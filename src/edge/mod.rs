//! The composition root: loads, binds, spawns, wires, drains. The only room that sees every other.

mod listeners;
mod materials;
mod reload;
mod run;
mod signatures;
mod watch;
mod zone_keys;

pub use materials::{Materials, load_materials};
pub use run::{Addresses, Edge, Source, StartError};
pub use zone_keys::MissingKeys;
