//! Emulated regions with real asynchronous replication on loopback, and faults on demand.
//!
//! Each region is an HTTP server with a key-value store, a log of its own writes and a link to
//! every peer that pushes the log after a lag. An operator kills and restores regions, sets lags
//! and parts regions from each other. This room speaks HTTP and knows nothing of the edge.
//!
//! Pure: `name`, `vector`, `log`, `store`, `replica`, `conditions`, `state`. Around them on tokio:
//! `region` (one server, `face`, `follow` and `demo` being its pages), `link` (replication), `emulation` (all
//! regions), `control` and `control_api` (commands from another terminal).

mod berth;
mod conditions;
mod control;
mod control_api;
mod demo;
mod emulation;
mod error;
mod face;
mod follow;
mod life;
mod link;
mod log;
mod name;
mod region;
mod replica;
mod state;
mod store;
mod vector;
mod watched;

#[cfg(test)]
mod tests;

pub use conditions::DELAY_MAX;
pub use control::{Command, DEFAULT_CONTROL, send, state};
pub use emulation::{Lab, RegionConfig};
pub use error::{Change, LabError};
pub use name::NotAName;
pub use state::{LabState, RegionState};
