//! YAML → `Spec` → [`Plan`]: what an operator wrote, checked whole and compiled once.
//!
//! Serde shapes live here and nowhere else. Knows no socket and no live state.

pub mod plan;
