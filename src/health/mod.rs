//! Probe results → state: thresholds, schedules, and from a region's targets to the region.
//!
//! `machine`, `passive`, `load`, `ejection`, `schedule`, `target` and `region` are pure; `line` makes the connections for
//! `probe` and `long_poll`, `checker` is the task that runs one check, and `tally` counts what traffic shows. Nobody here knows who is asking.

mod checker;
mod ejection;
mod line;
mod load;
mod long_poll;
mod machine;
mod passive;
mod probe;
mod region;
mod schedule;
mod tally;
mod target;

pub use checker::{Checker, Report};
pub use ejection::{OriginStanding, RegionStanding, Spared, may_eject};
pub use load::Load;
pub use long_poll::LongPoll;
pub use machine::{Machine, Outcome, Thresholds, Verdict};
pub use passive::{Cause, Ejection, Inherited, Lately, Passive, Seen, Word};
pub use probe::{Failure, Phases, ProbeResult, Prober};
pub use region::{Health, of_targets};
pub use schedule::{Calm, Polled};
pub use tally::{Tally, Traffic};
pub use target::{Target, TargetKey, TargetProtocol, of_origin, origin_key, targets};
