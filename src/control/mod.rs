//! Folds probe reports, drains and reloads into snapshots, and publishes them.
//!
//! `world`, `drains`, `ranking` and `events` are pure; `task` is the one writer, and the only one
//! that holds a [`World`]; `follow` are the tasks that hear of positions beside it. Knows no wire format.

mod audit;
mod bequest;
mod drains;
mod ejected;
mod events;
mod follow;
mod forced;
mod lag;
mod ramps;
mod ranking;
mod reload;
mod retired;
mod sealed;
mod slope;
mod store;
mod task;
#[cfg(test)]
mod tests;
mod told;
mod trouble;
mod world;

pub use audit::Audit;
pub use drains::{Drain, DrainRefused, DrainRequest, Drains, Pace};
pub use events::{Event, EventLog, Kind};
pub use forced::ForcedState;
pub use reload::{ConfigProblem, ConfigStatus, ReloadOutcome, ReloadRequests, Reloaded, Reloader};
pub use retired::Replaced;
pub use store::{Store, StoreError};
#[cfg(test)]
pub(crate) use store::{remember, restore};
pub use task::{Adoption, Changed, Closed, Control, Inbox, Memory, Probers, Publish};
pub use trouble::{Trouble, Troubles};
pub use world::{
    EjectedStatus, Folded, Judged, LastProbe, TargetProbes, TargetStatus, Witnessed, World,
    WorldStatus,
};
