//! How much traffic regions have had of late, by the numbers that `/metrics` shows: what a dry run measures
//! present traffic by.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::state::AdminState;

/// How often the numbers are read.
pub(super) const EVERY_MS: u64 = 5_000;

/// How far back the oldest is kept.
const WINDOW_MS: u64 = 60_000;

/// Requests answered, and DNS answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Served {
    pub(super) http_requests: u64,
    pub(super) dns_answers: u64,
}

/// By the names of service and region.
pub(super) type ByRegion = BTreeMap<(String, String), Served>;

/// The numbers of the last minute.
#[derive(Debug, Default)]
pub struct RecentTraffic(Mutex<VecDeque<(u64, ByRegion)>>);

impl RecentTraffic {
    /// Takes in what `/metrics` shows now.
    pub(super) fn sample(&self, metrics: &str, now_ms: u64) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back((now_ms, read(metrics)));
        // One that is older than the window is kept, so that what is left spans it.
        while samples
            .get(1)
            .is_some_and(|(at_ms, _)| at_ms + WINDOW_MS <= now_ms)
        {
            samples.pop_front();
        }
    }

    /// What was served between the oldest of the numbers and the newest, and how many ms lie between.
    pub(super) fn of_late(&self) -> (u64, ByRegion) {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some((from_ms, before)), Some((until_ms, now))) = (samples.front(), samples.back())
        else {
            return (0, ByRegion::new());
        };
        let since = |(key, now): (&(String, String), &Served)| {
            let before = before.get(key).copied().unwrap_or_default();
            let served = Served {
                http_requests: now.http_requests.saturating_sub(before.http_requests),
                dns_answers: now.dns_answers.saturating_sub(before.dns_answers),
            };
            (key.clone(), served)
        };
        (until_ms - from_ms, now.iter().map(since).collect())
    }
}

/// Reads the numbers until `stop`.
pub async fn sample_traffic(state: Arc<AdminState>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(Duration::from_millis(EVERY_MS));
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        state.sample_traffic();
    }
}

/// Adds up what is told of services and regions. Their names need no escapes.
fn read(metrics: &str) -> ByRegion {
    let mut found = ByRegion::new();
    for line in metrics.lines() {
        let Some((name, rest)) = line.split_once('{') else {
            continue;
        };
        let Some((labels, number)) = rest.rsplit_once("} ") else {
            continue;
        };
        let label = |key: &str| {
            let begin = format!("{key}=\"");
            labels
                .split(',')
                .find_map(|label| label.strip_prefix(&begin)?.strip_suffix('"'))
        };
        let (Some(service), Some(region)) = (label("service"), label("region")) else {
            continue;
        };
        let number: u64 = number.trim().parse().unwrap_or(0);
        let served = found
            .entry((service.to_owned(), region.to_owned()))
            .or_default();
        match name {
            "meridian_http_responses_total" => served.http_requests += number,
            "meridian_dns_steered_answers_total" => served.dns_answers += number,
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(http: u64, dns: u64) -> String {
        format!(
            "# HELP meridian_http_responses_total x\n\
             meridian_http_responses_total{{service=\"www\",region=\"eu\",class=\"2xx\"}} {http}\n\
             meridian_http_responses_total{{service=\"www\",region=\"eu\",class=\"5xx\"}} 1\n\
             meridian_dns_steered_answers_total{{service=\"www\",region=\"eu\",reason=\"policy\"}} {dns}\n\
             meridian_config_generation 1\n"
        )
    }

    #[test]
    fn what_counts_is_what_came_within_the_window() {
        let traffic = RecentTraffic::default();
        assert_eq!(traffic.of_late(), (0, ByRegion::new()));
        for step in 0..100 {
            traffic.sample(&metrics(step * 10, step * 3), step * EVERY_MS);
        }
        let (span_ms, served) = traffic.of_late();
        let expected = Served {
            http_requests: 120,
            dns_answers: 36,
        };
        assert_eq!(span_ms, WINDOW_MS);
        assert_eq!(
            served.into_iter().collect::<Vec<_>>(),
            [(("www".to_owned(), "eu".to_owned()), expected)]
        );
    }
}
