//! What tests measure.

use super::{Measurement, Row, Source};

/// What a file says of a network and a region.
pub(crate) fn row(network: &str, region: &str, ms: f64) -> Row {
    Row {
        network: network.parse().unwrap(),
        region: region.into(),
        measurement: Measurement {
            ms,
            samples: None,
            at_ms: 0,
            source: Source::Import,
            trust: 1.0,
            networks: None,
        },
    }
}
