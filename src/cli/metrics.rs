//! `meridian metrics`.

use clap::Args;

use super::{Done, Running, refusal, runtime};

/// Prints the numbers of a running edge, as Prometheus reads them
#[derive(Debug, Args)]
pub(super) struct Metrics {
    #[command(flatten)]
    running: Running,
}

impl Metrics {
    pub(super) fn run(self) -> Done {
        let client = self.running.client()?;
        let text = runtime()?.block_on(refusal::text(client.get("/metrics")))?;
        say!("{text}");
        Ok(())
    }
}
