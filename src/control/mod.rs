//! Folds probe reports, drains and reloads into snapshots, and publishes them.
//!
//! `world`, `drains`, `ranking` and `events` are pure; `task` is the one writer, and the only one
//! that holds a [`World`]; `follow` are the tasks that hear of positions beside it. Knows no wire format.

mod bequest;
mod drains;
mod events;
mod follow;
mod lag;
mod ranking;
mod reload;
mod retired;
mod store;
mod task;
#[cfg(test)]
mod tests;
mod world;

pub use drains::{Drain, DrainRefused, Drains};
pub use events::{Event, EventLog, Kind};
pub use reload::{ConfigProblem, ConfigStatus, ReloadOutcome, ReloadRequests, Reloaded, Reloader};
pub use retired::Replaced;
pub use store::{Store, StoreError};
pub use task::{Adoption, Closed, Control, Inbox, Memory, Probers, Publish};
pub use world::{
    EjectedStatus, Folded, Judged, LastProbe, TargetStatus, Witnessed, World, WorldStatus,
};
