//! `meridian status`.
#![expect(
    clippy::indexing_slicing,
    reason = "a JSON value indexed by a key it lacks gives null"
)]

use clap::Args;
use serde_json::Value;

use super::client::fetch_json;
use super::{Done, Running, refusal, runtime, said};

/// Shows how a running edge and its regions are
#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    running: Running,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn run(self) -> Done {
        let client = self.running.client()?;
        let status = runtime()?.block_on(fetch_json(client.get("/api/v1/status")))?;
        if self.json {
            say!("{status:#}");
        } else {
            say!("{}", show(&status));
        }
        Ok(())
    }
}

fn show(status: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let ready = if status["ready"] == true {
        "ready"
    } else {
        "not ready"
    };
    let mut out = trouble(status);
    out.push_str(&format!(
        "{} {} is {ready}, configuration {} since {}\n",
        text(&status["node"]),
        text(&status["version"]),
        status["config"]["generation"],
        text(&status["config"]["loaded_at"])
    ));
    let refused = &status["config"]["error"];
    if !refused.is_null() {
        let why = refusal::place_of(refused);
        out.push_str(&format!("the last reload was refused: {why}\n"));
    }
    out.push_str(&said::outages(status));
    out.push_str(&said::by_operators(status));
    for region in list(&status["regions"]) {
        let rtt = region["rtt_ms"]
            .as_f64()
            .map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms"));
        let suspect = region["suspect_until"].as_str();
        let suspect = suspect.map_or_else(String::new, |until| {
            format!(", degraded until {until}: its positions ran backwards")
        });
        out.push_str(&format!(
            "{:20} {:10} {rtt}{suspect}\n",
            text(&region["name"]),
            text(&region["state"])
        ));
        for service in list(&region["services"]) {
            let (state, since) = (text(&service["state"]), text(&service["since"]));
            // Since when is told of the health, which a drain leaves as it is.
            let health = match &*state {
                "draining" => format!("{} ", text(&service["health"])),
                _ => String::new(),
            };
            let is_left_out = service["read_from"] == Value::Bool(false);
            let reads = if is_left_out { ", not read from" } else { "" };
            out.push_str(&format!(
                "  {:18} {state:10} {health}since {since}{}{reads}\n",
                text(&service["name"]),
                said_by_operators(&service)
            ));
            for origin in list(&service["origins"]) {
                out.push_str(&format!(
                    "    {:36} {:10} {}\n",
                    text(&origin["url"]),
                    text(&origin["state"]),
                    said::detail(&origin)
                ));
            }
        }
    }
    out
}

/// What there is to mend, a line each.
fn trouble(status: &Value) -> String {
    let told = status["trouble"].as_array().into_iter().flatten();
    let lines = told.filter_map(|sentence| Some(format!("{}\n", sentence.as_str()?)));
    lines.collect()
}

/// What an operator said of a region of a service, if anything.
fn said_by_operators(service: &Value) -> String {
    let forced = service["forced"].as_str();
    let forced = forced.map_or(String::new(), |state| format!(", forced {state}"));
    let takes = service["state"] != "unhealthy";
    match service["share"].as_u64().filter(|_| takes) {
        Some(share @ 1..100) => format!("{forced}, takes {share} % of clients"),
        Some(_) | None => forced,
    }
}
