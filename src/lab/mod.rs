//! Emulated regions with real asynchronous replication on loopback, and faults on demand.
//!
//! Each region is an HTTP server with a store, a log of its own writes and a link to every peer that
//! pushes the log after a lag. All regions take writes: conflicting ones are kept side by side and the last is
//! shown, counters and sets add up. An operator kills, crashes, restores and rewinds regions, sets lags and
//! clocks, and parts regions from each other. This room speaks HTTP and knows nothing of the edge.
//!
//! Pure: `name`, `position`, `vector`, `hlc`, `causal` with `register` and `orset`, `counter`, `delta`, `wire`, `log`,
//! `store`, `arriving`, `replica`, `disk`, `conditions`, `state`. Around them on tokio: `region` (one server; `face`, `crdt_face`, `follow`
//! and `demo` are its pages), `link` (replication), `emulation` (all regions), `control` and `control_api`
//! (commands from another terminal), `sample` (clients that count what they miss).

mod arriving;
mod berth;
mod causal;
mod conditions;
mod control;
mod control_api;
mod counter;
mod crdt_face;
mod delta;
mod demo;
mod disk;
mod emulation;
mod error;
mod face;
mod follow;
mod hlc;
mod life;
mod link;
mod log;
mod name;
mod orset;
mod position;
mod region;
mod register;
mod replica;
mod sample;
mod state;
mod store;
mod tally;
mod vector;
mod watched;
mod wire;

#[cfg(test)]
mod tests;

pub use conditions::{DELAY_MAX, Skew};
pub use control::{Command, DEFAULT_CONTROL, send, state};
pub use emulation::{Lab, RegionConfig};
pub use error::{Change, LabError};
pub use name::NotAName;
pub use replica::Rewind;
pub use sample::Sample;
pub use state::{LabState, RegionState};
