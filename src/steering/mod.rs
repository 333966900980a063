//! The decision: which region a client should use, and why.
//!
//! Pure: no clock, no chance, no I/O. DNS, HTTP, `explain`, the dashboard and the tests all call
//! [`steer()`], and nothing else in the tree chooses a region. Affinity, freshness, residency and
//! write homes are constraints of the [`Ask`].

mod ask;
mod chances;
mod decision;
mod draw;
mod fresh;
mod lasting;
mod rank;
mod reopen;
mod share;
mod snapshot;
mod steer;
#[cfg(test)]
mod tests;

pub use ask::{Ask, Require, Vantage};
pub use chances::{Chances, chances, chances_in};
pub use decision::{Choice, Decision, FailOpen, Reason, Refusal, Rule, Step, Verdict};
pub use draw::{Draw, stable_hash};
pub use reopen::reopen;
pub use share::{Percent, Spread};
pub use snapshot::{Admin, Edge, Forced, Left, MemberState, ServiceState, Snapshot, is_fit};
pub use steer::{is_allowed, steer, steer_among};
