//! Meridian: one binary that brings every user to the right region.
#![cfg_attr(
    test,
    allow(
        clippy::as_conversions,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used,
        reason = "a test that cannot go on should stop loudly"
    )
)]

pub mod admin;
pub mod chance;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
mod disk;
pub mod dns;
pub mod earth;
pub mod edge;
pub mod geo;
pub mod health;
pub mod http2;
pub mod ids;
pub mod lab;
pub mod latency;
pub mod normal_path;
pub mod per_core;
pub mod positions;
pub mod prefix;
pub mod proxy;
pub mod proxy_protocol;
pub mod redact;
mod registered;
mod regular;
#[cfg(test)]
mod simulator;
pub mod steering;
mod terminal;
pub mod units;
