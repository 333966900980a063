//! What an operator sees and does: status, explain, events, drains, reload, positions, metrics, page.
//!
//! Shows Decisions and Snapshots; decides nothing itself.

mod access;
mod explain;
mod lag;
mod metrics;
mod page;
mod serve;
mod state;
mod status;
mod writes;

pub use explain::{Explanation, Question, QuestionError, explain};
pub use metrics::{Metrics, describe};
pub use serve::serve;
pub use state::{AdminState, Readiness};
