//! `meridian healthcheck`.

use clap::Args;

use super::refusal::unreachable;
use super::{Done, Failed, Running, runtime};

/// Exits with 0 if a running edge is ready, for container health checks
#[derive(Debug, Args)]
pub(super) struct Healthcheck {
    #[command(flatten)]
    running: Running,
}

impl Healthcheck {
    pub(super) fn run(self) -> Done {
        let client = self.running.client()?;
        let sent = runtime()?.block_on(client.get("/readyz").send());
        let status = sent.map_err(|error| unreachable(&error))?.status();
        if status.is_success() {
            Ok(())
        } else {
            Err(Failed(format!("error: the edge answers {status}")))
        }
    }
}
