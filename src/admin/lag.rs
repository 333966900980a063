//! Replication lag as the status shows it: for each domain a matrix of regions and writers.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::positions::{Lag, RegionLag};
use crate::steering::Snapshot;

/// Every domain's matrix.
pub(super) fn of_domains(snapshot: &Snapshot, steady_ms: u64) -> Vec<Value> {
    let domains = snapshot.plan.domains.iter();
    domains
        .map(|(id, domain)| {
            let rows = snapshot.positions.of(id).lags(steady_ms);
            json!({ "domain": &*domain.name, "regions": rows.iter().map(row).collect::<Vec<_>>() })
        })
        .collect()
}

fn row(row: &RegionLag) -> Value {
    let behind: Map<String, Value> = row
        .behind
        .iter()
        .map(|lag| (lag.writer.to_string(), cell(lag)))
        .collect();
    json!({ "region": &*row.region, "heard_ms": row.heard.as_millis(), "behind": behind })
}

fn cell(lag: &Lag) -> Value {
    json!({
        "positions": lag.positions,
        "ms": lag.time.as_millis(),
        "usual_ms": lag.usual.map(|usual: Duration| usual.as_millis()),
    })
}
