//! `GET /api/v1/traffic`: what the last seconds brought, made once a second for all who look.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Duration, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::recent::{Flow, Pulse, Recent};
use super::state::AdminState;
use crate::clock;
use crate::config::plan::Plan;
use crate::dns::Sample;
use crate::earth::Country;

/// How often samples are taken: as often as the room for those that wait is sized for.
const TAKE_EVERY: Duration = Duration::from_millis(250);

/// Takings to a report.
const TAKINGS: u32 = 4;

/// Countries and regions in a report: those that most goes to and from.
const MOST_FLOWS: usize = 400;

/// The last report, as JSON.
#[derive(Debug)]
pub struct TrafficBoard(watch::Sender<Arc<str>>);

impl Default for TrafficBoard {
    fn default() -> Self {
        Self(watch::Sender::new("{}".into()))
    }
}

impl TrafficBoard {
    /// The reports to come.
    pub(super) fn follow(&self) -> watch::Receiver<Arc<str>> {
        self.0.subscribe()
    }
}

/// Keeps the report and the last minute true until `stop`.
pub async fn watch_traffic(state: Arc<AdminState>, stop: CancellationToken) {
    let mut recent = Recent::default();
    let mut samples = Vec::new();
    let mut tick = tokio::time::interval(TAKE_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for taking in 1_u32.. {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        samples.extend(placed(&state, state.dns.load().samples.take()));
        if taking % TAKINGS == 0 {
            let totals = state.proxy.live.load().routes.served().totals();
            recent.tick(samples.drain(..), totals);
            let report = report(&recent, &state.snapshot().plan).to_string();
            state.traffic.0.send_replace(report.into());
        }
        state.remember_traffic();
    }
}

fn placed(
    state: &AdminState,
    samples: Vec<Sample>,
) -> impl Iterator<Item = (Option<Country>, Sample)> {
    let database = state.database.load_full();
    samples
        .into_iter()
        .map(move |sample| (database.lookup(sample.client).country, sample))
}

/// `GET /api/v1/traffic`.
pub(super) async fn traffic(State(state): State<Arc<AdminState>>) -> Response {
    let json = [("content-type", "application/json")];
    let report = state.traffic.0.borrow().to_string();
    (json, report).into_response()
}

fn report(recent: &Recent, plan: &Plan) -> Value {
    let flows = recent.flows();
    let all = flows.iter().fold(0.0, |sum, flow| sum + flow.per_second);
    let regions: Vec<Value> = plan
        .regions
        .values()
        .map(|region| {
            let answered = flows.iter().filter(|flow| *flow.region == *region.name);
            // The sum of nothing is -0.
            let answered = answered.fold(0.0, |sum, flow| sum + flow.per_second);
            pulse(&region.name, answered, all, recent.pulse(&region.name))
        })
        .collect();
    // What would be told as 0.0 has faded.
    let is_told = |flow: &&Flow| rounded(flow.per_second) > 0.0;
    let flows = flows.iter().filter(is_told).take(MOST_FLOWS);
    let flows: Vec<Value> = flows.map(flow).collect();
    json!({
        "at": clock::rfc3339(clock::unix_ms()),
        "dns_answers_per_s": rounded(all),
        "regions": regions,
        "flows": flows,
    })
}

fn pulse(name: &str, answered: f64, all: f64, pulse: Pulse) -> Value {
    let share = if rounded(all) > 0.0 {
        answered / all
    } else {
        0.0
    };
    let [p50, p95, p99] = pulse.quantiles_ms.map_or([None; 3], |ms| ms.map(Some));
    json!({
        "name": name,
        "dns_answers_per_s": rounded(answered),
        "dns_share": (share * 1e4).round() / 1e4,
        "requests_per_s": rounded(pulse.answers_per_second),
        "errors_per_s": rounded(pulse.errors_per_second),
        "first_byte_ms": { "p50": p50.map(rounded), "p95": p95.map(rounded), "p99": p99.map(rounded) },
    })
}

fn flow(flow: &Flow) -> Value {
    json!({
        "country": flow.country.as_ref().map(Country::as_str),
        "region": &*flow.region,
        "per_s": rounded(flow.per_second),
    })
}

fn rounded(number: f64) -> f64 {
    // A sum of nothing is -0.0, which JSON would show.
    (number * 100.0).round() / 100.0 + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_text;

    #[test]
    fn the_400_largest_flows_are_told_and_the_sum_is_of_all() {
        let yaml = "regions: { a: { addresses: [192.0.2.1] } }\nservices: { www: { hosts: [www.example.com] } }";
        let plan = load_text("edge.yaml", yaml, &|_| None).unwrap().plan;
        let sample = |region: u64| Sample {
            client: [192, 0, 2, 1].into(),
            region: format!("region-{region}").into(),
            answers: 1_000 * region,
        };
        let told = |regions: u64| {
            let mut recent = Recent::default();
            recent.tick((1..=regions).map(|region| (None, sample(region))), vec![]);
            let report = report(&recent, &plan);
            let flows: Vec<String> = report["flows"]
                .as_array()
                .unwrap()
                .iter()
                .map(|flow| flow["region"].as_str().unwrap().to_owned())
                .collect();
            let all: f64 = recent.flows().iter().map(|flow| flow.per_second).sum();
            assert_eq!(report["dns_answers_per_s"], rounded(all));
            flows
        };
        assert_eq!(told(400).len(), 400);
        let flows = told(401);
        assert_eq!(flows.len(), 400);
        assert_eq!(flows[0], "region-401");
        assert!(!flows.contains(&"region-1".to_owned()), "the smallest");
    }

    #[test]
    fn what_has_faded_is_no_flow_and_no_share() {
        let yaml = "regions: { a: { addresses: [192.0.2.1] } }\nservices: { www: { hosts: [www.example.com] } }";
        let plan = load_text("edge.yaml", yaml, &|_| None).unwrap().plan;
        let sample = Sample {
            client: [192, 0, 2, 1].into(),
            region: "a".into(),
            answers: 100,
        };
        let mut recent = Recent::default();
        recent.tick([(None, sample)], vec![]);
        let told = |recent: &Recent| {
            let report = report(recent, &plan);
            let flows = report["flows"].as_array().unwrap().len();
            (flows, report["regions"][0]["dns_share"].as_f64().unwrap())
        };
        assert_eq!(told(&recent), (1, 1.0));
        for _ in 0..120 {
            recent.tick([], vec![]);
        }
        assert!(!recent.flows().is_empty());
        assert_eq!(told(&recent), (0, 0.0));
    }
}
