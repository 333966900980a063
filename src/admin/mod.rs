//! What an operator sees and does: status, explain, events, drains, reload, positions, metrics, page.
//!
//! Shows Decisions and Snapshots; decides nothing itself.

mod access;
mod aside;
mod attempts;
mod audit;
mod body;
mod by_type;
mod caller;
mod countries;
mod denied;
mod desk;
mod door;
mod estimated;
mod explain;
mod explained_token;
mod files;
mod follow;
mod force;
mod foresee;
mod histogram;
mod lag;
mod live_traffic;
mod metrics;
mod minute;
mod moves;
mod object;
mod pace;
mod page;
mod page_plain;
mod pages;
mod parameters;
mod positions;
mod present;
mod probes;
mod question;
mod recent;
mod recorder;
mod refusals;
mod right;
mod round_trip;
mod serve;
mod state;
mod status;
mod writes;

pub use access::Access;
pub use countries::Atlas;
pub use explain::{Explanation, explain};
pub use explained_token::TokenReader;
pub use live_traffic::{TrafficBoard, watch_traffic};
pub use metrics::{Metrics, describe};
pub use minute::Minute;
pub use question::{Field, NotAField, Question, QuestionError};
pub use serve::serve;
pub use state::{AdminState, Readiness};
