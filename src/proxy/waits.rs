//! What reads waited for a region of a service to have their client's writes, told as metrics.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Counter, Histogram};

/// The metrics of a region of a service; begun with the first read that waits, because most never do.
#[derive(Default)]
pub(super) struct Waits {
    took: OnceLock<Histogram>,
    refused: OnceLock<Counter>,
}

impl Waits {
    /// A read waited this long for the region, whatever came of it.
    pub(super) fn took(&self, region: &str, time: Duration) {
        let begin =
            || metrics::histogram!("meridian_read_wait_seconds", "region" => region.to_owned());
        self.took.get_or_init(begin).record(time.as_secs_f64());
    }

    /// A read did not wait: too many did.
    pub(super) fn refused(&self, domain: &str, region: &str) {
        let begin = || {
            metrics::counter!("meridian_waits_refused_total",
                "domain" => domain.to_owned(), "region" => region.to_owned())
        };
        self.refused.get_or_init(begin).increment(1);
    }
}
