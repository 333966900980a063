//! `latency`: what is measured of clients' round trips.

use std::sync::Arc;

use super::FileRef;
use crate::units::Share;

/// What is measured of clients' round trips. Regions are named, because what is measured outlives Plans.
#[derive(Clone, Debug, PartialEq)]
pub struct Latency {
    /// Files of what others have measured.
    pub imports: Vec<FileRef>,
    /// Whether the kernel's round trips of clients' connections count.
    pub connections: bool,
    /// What browsers are asked to measure; none: nothing.
    pub beacon: Option<Beacon>,
    /// How many samples a figure needs.
    pub min_samples: u32,
    /// How many distinct addresses a network's figure needs.
    pub quorum: u8,
}

impl Default for Latency {
    /// Nothing is measured.
    fn default() -> Self {
        Self {
            imports: Vec::new(),
            connections: false,
            beacon: None,
            min_samples: 10,
            quorum: 3,
        }
    }
}

impl Latency {
    /// Whether anything is sampled here.
    pub fn is_sampled(&self) -> bool {
        self.connections || self.beacon.is_some()
    }
}

/// What browsers are asked to measure.
#[derive(Clone, Debug, PartialEq)]
pub struct Beacon {
    /// Which share of page views measures.
    pub sample: Share,
    /// URLs that answer quickly, each in the region of its name.
    pub probes: Vec<(Arc<str>, String)>,
}
