//! What an operator sees and does: status, explain, events, drains, reload, positions, metrics, page.
//!
//! Shows Decisions and Snapshots; decides nothing itself.

mod access;
mod attempts;
mod audit;
mod caller;
mod explain;
mod force;
mod foresee;
mod metrics;
mod page;
mod serve;
mod state;
mod status;
mod traffic;
mod writes;

pub use access::Access;
pub use explain::{Explanation, Question, QuestionError, explain};
pub use metrics::{Metrics, describe};
pub use serve::serve;
pub use state::{AdminState, Readiness};
pub use traffic::{RecentTraffic, watch_traffic};
