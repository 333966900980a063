//! What a region of a service answered, counted by class of status and, of reads with a token, by how they were
//! served.

use std::sync::{Arc, OnceLock};

use http::StatusCode;
use metrics::Counter;

use crate::positions::Mark;

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

const MARKS: [Mark; 5] = [
    Mark::Fresh,
    Mark::Waited,
    Mark::Routed,
    Mark::Stale,
    Mark::Lost,
];

/// The counters of a region of a service.
pub(super) struct Answered {
    service: Arc<str>,
    region: Arc<str>,
    /// By class.
    responses: [Counter; 5],
    /// By class and mark; begun with the first, because most never come.
    reads: [[OnceLock<Counter>; 5]; 5],
}

impl Answered {
    pub(super) fn new(service: &Arc<str>, region: &Arc<str>) -> Self {
        let responses = CLASSES.map(|class| {
            metrics::counter!("meridian_http_responses_total",
                "service" => service.to_string(), "region" => region.to_string(), "class" => class)
        });
        Self {
            service: service.clone(),
            region: region.clone(),
            responses,
            reads: Default::default(),
        }
    }

    /// Counts an answer; `mark` says how a read with a token was served.
    pub(super) fn count(&self, status: StatusCode, mark: Option<Mark>) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(counter) = self.responses.get(class) {
            counter.increment(1);
        }
        let Some(mark) = mark else { return };
        let at = MARKS.iter().position(|known| *known == mark);
        let of_class = self.reads.get(class).zip(CLASSES.get(class));
        if let Some((reads, class)) = of_class
            && let Some(counter) = at.and_then(|at| reads.get(at))
        {
            counter.get_or_init(|| self.read(class, mark)).increment(1);
        }
    }

    fn read(&self, class: &'static str, mark: Mark) -> Counter {
        metrics::counter!("meridian_reads_total",
            "service" => self.service.to_string(), "region" => self.region.to_string(),
            "class" => class, "consistency" => mark.as_str())
    }
}
