//! `meridian force` and `unforce`.

use clap::{Args, ValueEnum};
use reqwest::Method;
use serde_json::json;

use super::client::{duration, fetch_json, segment};
use super::undo::Undo;
use super::{Done, Running, runtime, said};

/// As what a region is to count.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    /// Healthy
    Up,
    /// Unhealthy
    Down,
}

/// Has a region count as healthy or unhealthy, whatever its probes say
///
/// Down, it is left by everybody at once, clients with affinity to it included. It stays so through
/// restarts, until --for is over or `meridian unforce`.
#[derive(Debug, Args)]
pub(super) struct Force {
    /// The region
    region: String,
    /// As what it is to count
    state: State,
    /// Only for this service
    #[arg(long)]
    service: Option<String>,
    /// For how long, such as 30m
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    lasts: Option<String>,
    /// Why, for whoever looks at the page later
    #[arg(long)]
    reason: Option<String>,
    /// Even if guards.min_regions forbids it
    #[arg(long)]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    running: Running,
}

impl Force {
    pub(super) fn run(self) -> Done {
        let client = self.running.client()?;
        let path = format!("/api/v1/forced/{}", segment(&self.region));
        let state = match self.state {
            State::Up => "up",
            State::Down => "down",
        };
        let body = json!({
            "state": state, "service": self.service, "for": self.lasts, "reason": self.reason,
            "force": self.force,
        });
        let request = client.request(Method::PUT, &path).json(&body);
        let answer = runtime()?.block_on(fetch_json(request))?;
        if self.json {
            say!("{answer:#}");
        } else {
            say!("{}", said::forced(&answer));
        }
        said::warn_if_unsaved(&answer);
        Ok(())
    }
}

/// Leaves a forced region to its probes again
#[derive(Debug, Args)]
pub(super) struct Unforce {
    #[command(flatten)]
    undo: Undo,
}

impl Unforce {
    pub(super) fn run(self) -> Done {
        self.undo.run("forced", "is left to its probes again")
    }
}
