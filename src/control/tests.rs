//! What becomes of probe reports, drains and reloads: tables over a [`World`](super::World) that
//! takes its time from the tests, and the one writer with real tasks.

mod draining;
mod ejecting;
mod folding;
mod forcing;
mod guarding;
mod lagging;
mod measuring;
mod ramping;
mod reloading;
mod running;
mod saving;
mod scene;
mod sharing;
mod storing;
mod writer;
