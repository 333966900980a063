//! The composition root: loads, binds, spawns, wires, drains. The only room that sees every other.

mod answers;
mod before;
mod beginning;
mod door;
mod handover;
mod inherited;
mod kernel;
mod listeners;
mod materials;
mod measured;
mod named;
mod one_load;
mod passing;
mod reload;
mod run;
mod sampling;
mod signatures;
mod signed_before;
mod source;
mod succession;
mod supervisor;
mod watch;
mod wiring;
mod zone_keys;

pub use before::Start;
pub use materials::{Materials, load_materials};
pub use run::{Addresses, Edge, StartError};
pub use source::Source;
pub use supervisor::{News, tell};
pub use zone_keys::MissingKeys;
