//! The corpus of HTTP/1.1 messages, and the peers that it is played to: origins that record or recite, and
//! nginx and HAProxy as judges.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should stop loudly"
)]

mod case;
mod judge;
mod peers;

pub use case::{Back, Case, Front, Method, cases};
pub use judge::{Judge, haproxy, nginx};
pub use peers::{Reciter, Recorder, Seen, ask, say};
