//! Probe results → state: thresholds, schedules, and from a region's targets to the region.
//!
//! `machine`, `schedule`, `target` and `region` are pure; `probe` makes the connections and
//! `checker` is the task that runs one check. Nobody here knows who is asking.

mod checker;
mod machine;
mod probe;
mod region;
mod schedule;
mod target;

pub use checker::{Checker, Report};
pub use machine::{Machine, Outcome, Thresholds, Verdict};
pub use probe::{Failure, Phases, ProbeResult, Prober};
pub use region::{Health, of_targets};
pub use target::{Target, TargetKey, TargetProtocol, targets};
