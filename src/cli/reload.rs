//! `meridian reload`.
#![expect(
    clippy::indexing_slicing,
    reason = "a JSON value indexed by a key it lacks gives null"
)]

use std::time::Duration;

use clap::Args;
use reqwest::Method;

use super::client::fetch_json;
use super::{Done, Running, runtime};

/// Files are read, for up to two minutes, and zones signed, before the answer begins.
const ANSWERS_WITHIN: Duration = Duration::from_secs(180);

/// Makes a running edge load its configuration anew
#[derive(Debug, Args)]
pub(super) struct Reload {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    running: Running,
}

impl Reload {
    pub(super) fn run(self) -> Done {
        let client = self.running.client_for(ANSWERS_WITHIN)?;
        let reloaded =
            runtime()?.block_on(fetch_json(client.request(Method::POST, "/api/v1/reload")))?;
        if self.json {
            say!("{reloaded:#}");
            return Ok(());
        }
        say!("configuration {} is in force", reloaded["generation"]);
        for change in reloaded["changes"].as_array().into_iter().flatten() {
            say!("  {}", change.as_str().unwrap_or_default());
        }
        Ok(())
    }
}
