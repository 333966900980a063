//! `meridian healthcheck`.

use std::time::Duration;

use clap::Args;

use super::refusal::unreachable;
use super::{Done, Failed, Running, runtime};

/// A container's health check is to have failed before the next one: an edge that hangs is not ready.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// Exits with 0 if a running edge is ready, for container health checks
#[derive(Debug, Args)]
pub(super) struct Healthcheck {
    #[command(flatten)]
    running: Running,
}

impl Healthcheck {
    pub(super) fn run(self) -> Done {
        let client = self.running.client_for(ANSWERS_WITHIN)?;
        let sent = runtime()?.block_on(async { client.get("/readyz").send().await });
        let status = sent.map_err(|error| unreachable(&error))?.status();
        if status.is_success() {
            Ok(())
        } else {
            Err(Failed(format!("error: the edge answers {status}")))
        }
    }
}
