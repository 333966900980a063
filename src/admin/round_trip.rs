//! The round trip that decided a region's place for a client: which figure, whose, how old.

use serde_json::{Value, json};

use super::explain::ExplainedStep;
use crate::geo::{ClientEstimate, Location};
use crate::ids::RegionId;
use crate::latency::{Estimate, Measurement, Network, Networks, is_real_gain};
use crate::steering::{Reason, Step};

/// Figures that are nearer to each other look the same.
const LEAST_TOLD_MS: f64 = 0.05;

/// A figure in words and as data.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Why the region has its place.
    reason: String,
    /// Why it stands before one of a smaller figure.
    note: Option<String>,
    of: Of,
}

/// Whose round trip.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Of {
    Client {
        estimate: ClientEstimate,
        age_secs: u64,
    },
    Edge {
        estimate: Estimate,
        /// None: not known, or not measured.
        age_secs: Option<u64>,
    },
}

impl Figure {
    /// The figure behind a step, if it is one of round trips.
    pub(super) fn of<'e>(
        step: &Step,
        mut estimates: impl Iterator<Item = &'e (RegionId, ClientEstimate)>,
        now_ms: u64,
    ) -> Option<Self> {
        if let Reason::RoundTrip { estimate } = step.reason {
            let of = Of::Edge {
                estimate,
                age_secs: None,
            };
            let reason = step.reason.to_string();
            let note = None;
            return Some(Self { reason, note, of });
        }
        let Reason::ClientRoundTrip { place } = step.reason else {
            return None;
        };
        let (_, estimate) = *estimates.find(|(region, _)| *region == step.region)?;
        let age_secs = match estimate {
            ClientEstimate::Measured { measurement, .. } => {
                now_ms.saturating_sub(measurement.at_ms) / 1_000
            }
            ClientEstimate::Modelled(_) | ClientEstimate::Unknown => 0,
        };
        let how = match estimate {
            ClientEstimate::Measured {
                ms,
                network,
                measurement,
            } => measured(ms, network, measurement, age_secs),
            ClientEstimate::Modelled(ms) => format!(", modelled from distance: {ms:.0} ms"),
            ClientEstimate::Unknown => ", which nobody knows".to_owned(),
        };
        Some(Self {
            reason: format!("number {place} by round trip from the client{how}"),
            note: None,
            of: Of::Client { estimate, age_secs },
        })
    }

    /// All of it.
    pub(super) fn words(&self) -> String {
        let note = self.note.as_deref().unwrap_or_default();
        format!("{}{note}", self.reason)
    }

    /// In ms, if anything is known.
    fn ms(&self) -> Option<f64> {
        match self.of {
            Of::Client { estimate, .. } => estimate.ms(),
            Of::Edge { estimate, .. } => estimate.ms(),
        }
    }

    /// Says why its region stands before another, to which it is so many ms. `otherwise`: what decides between near-equals of a
    /// client.
    fn stand_before(&mut self, other: &str, ms: f64, otherwise: &str) {
        let Some(own_ms) = self.ms() else { return };
        let why = match (is_real_gain(own_ms, ms), self.of) {
            (false, Of::Client { .. }) => {
                format!("is not less by more than 5 ms and a tenth, so {otherwise} decides")
            }
            (false, Of::Edge { .. }) => {
                "is not less by more than 5 ms and a tenth, so their order stays as it was"
                    .to_owned()
            }
            (true, Of::Client { .. }) => {
                format!(
                    "does not count: there are too many measured networks, and {otherwise} decides for this one"
                )
            }
            (true, Of::Edge { .. }) => {
                "does not count until a probe of each able region was answered: distance decides"
                    .to_owned()
            }
        };
        self.note = Some(format!("; {other}'s {ms:.1} ms {why}"));
    }

    /// Whether it is of the edge's own probes, and nobody has said of when.
    pub(super) fn wants_age(&self) -> bool {
        let estimate = match self.of {
            Of::Edge {
                estimate,
                age_secs: None,
            } => estimate,
            Of::Edge { .. } | Of::Client { .. } => return false,
        };
        matches!(estimate, Estimate::Measured(_))
    }

    /// The last probe was so long ago.
    pub(super) fn date(&mut self, ago_secs: u64) {
        if let Of::Edge { age_secs, .. } = &mut self.of {
            *age_secs = Some(ago_secs);
            self.reason += &format!(", last {} ago", age(ago_secs));
        }
    }

    /// As the API has it.
    pub(super) fn to_json(&self) -> Value {
        match self.of {
            Of::Client { estimate, age_secs } => client_json(estimate, age_secs),
            Of::Edge { estimate, age_secs } => match estimate {
                Estimate::Measured(ms) => json!({
                    "ms": ms, "measured_ms": ms, "source": "probes", "age_seconds": age_secs,
                }),
                Estimate::Modelled(ms) => json!({ "ms": ms, "source": "distance" }),
                Estimate::Unknown => Value::Null,
            },
        }
    }
}

/// Says of each region that stands before one of a smaller figure why that is so. `steps`: of a decision among the able.
pub(super) fn tell_near_equals(steps: &mut [ExplainedStep], location: &Location) {
    let otherwise = match location.point {
        Some(_) => "distance",
        None => "the order of the service",
    };
    let mut quickest: Option<(String, f64)> = None;
    for step in steps.iter_mut().rev() {
        let Some(figure) = &mut step.figure else {
            continue;
        };
        let Some(ms) = figure.ms() else { continue };
        match &quickest {
            Some((behind, least_ms)) if ms > *least_ms => {
                if ms - least_ms >= LEAST_TOLD_MS {
                    figure.stand_before(behind, *least_ms, otherwise);
                    step.reason = figure.words();
                }
            }
            Some(_) | None => quickest = Some((step.region.clone(), ms)),
        }
    }
}

fn client_json(estimate: ClientEstimate, age_secs: u64) -> Value {
    match estimate {
        ClientEstimate::Measured {
            ms,
            network,
            measurement,
        } => json!({
                "ms": ms,
                "measured_ms": measurement.ms,
                "source": measurement.source.as_str(),
                "network": network.to_string(),
                "samples": measurement.samples,
                "networks": measurement.networks.map(Networks::count),
            "age_seconds": age_secs,
        }),
        ClientEstimate::Modelled(ms) => json!({ "ms": ms, "source": "distance" }),
        ClientEstimate::Unknown => Value::Null,
    }
}

fn measured(ms: f64, network: Network, measurement: Measurement, age_secs: u64) -> String {
    let networks = match measurement.networks {
        Some(networks) => format!(", {networks}"),
        None => String::new(),
    };
    let samples = match measurement.samples {
        Some(1) => ", 1 sample".to_owned(),
        Some(samples) => format!(", {samples} samples"),
        None => String::new(),
    };
    let weighed = if measurement.trust < 1.0 {
        format!(", counted as {ms:.0} ms for its age")
    } else {
        String::new()
    };
    format!(
        ", measured {:.0} ms for {network} ({}{networks}{samples}, {} old{weighed})",
        measurement.ms,
        measurement.source.as_str(),
        age(age_secs)
    )
}

fn age(secs: u64) -> String {
    match secs {
        0..120 => format!("{secs} s"),
        120..7_200 => format!("{} min", secs / 60),
        7_200..172_800 => format!("{} h", secs / 3_600),
        _ => format!("{} days", secs / 86_400),
    }
}
