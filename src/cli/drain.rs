//! `meridian drain` and `undrain`.

use clap::Args;
use reqwest::Method;
use serde_json::json;

use super::client::{duration, fetch_json, segment};
use super::undo::Undo;
use super::{Done, Running, foreseen, runtime, said};

/// Takes a region out of service
///
/// DNS stops answering with it at once; HTTP clients with affinity to it stay until the service's
/// drain time has passed.
#[derive(Debug, Args)]
pub(super) struct Drain {
    /// The region
    region: String,
    /// Only for this service
    #[arg(long)]
    service: Option<String>,
    /// For how long, such as 30m
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    lasts: Option<String>,
    /// Little by little: so long until it takes no new client, such as 10m; 0s takes the rest of one that goes on at once
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    over: Option<String>,
    /// Why, for whoever looks at the page later
    #[arg(long)]
    reason: Option<String>,
    /// Even if guards.min_regions forbids it
    #[arg(long)]
    force: bool,
    /// Show whose traffic would move, and where to, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    running: Running,
}

impl Drain {
    pub(super) fn run(self) -> Done {
        let client = self.running.client()?;
        let path = format!("/api/v1/drains/{}", segment(&self.region));
        let body = json!({
            "service": self.service, "for": self.lasts, "over": self.over, "reason": self.reason,
            "force": self.force,
        });
        let mut request = client.request(Method::PUT, &path).json(&body);
        if self.dry_run {
            request = request.query(&[("dry_run", "true")]);
        }
        let answer = runtime()?.block_on(fetch_json(request))?;
        if self.json {
            say!("{answer:#}");
        } else if self.dry_run {
            say!("{}", foreseen::show(&answer));
        } else {
            say!("{}", said::drain(&answer));
        }
        said::warn_if_unsaved(&answer);
        Ok(())
    }
}

/// Puts a drained region back into service
#[derive(Debug, Args)]
pub(super) struct Undrain {
    #[command(flatten)]
    undo: Undo,
}

impl Undrain {
    pub(super) fn run(self) -> Done {
        self.undo.run("drains", "is not drained any more")
    }
}
