//! Taking back what an operator said of a region.

use clap::Args;
use reqwest::Method;

use super::client::{fetch_json, segment};
use super::{Done, Running, runtime, said};

/// What is taken back.
#[derive(Debug, Args)]
pub(super) struct Undo {
    /// The region
    region: String,
    /// Only for this service
    #[arg(long)]
    service: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    running: Running,
}

impl Undo {
    /// Deletes it below `/api/v1/WHAT`; the region then is `undone`.
    pub(super) fn run(self, what: &str, undone: &str) -> Done {
        let client = self.running.client()?;
        let path = format!("/api/v1/{what}/{}", segment(&self.region));
        let query = self.service.as_ref().map(|service| ("service", service));
        let request = client.request(Method::DELETE, &path);
        let request = request.query(query.as_slice());
        let answer = runtime()?.block_on(fetch_json(request))?;
        if self.json {
            say!("{answer:#}");
        } else {
            say!("{}", said::undone(&answer, self.service.as_deref(), undone));
        }
        said::warn_if_unsaved(&answer);
        Ok(())
    }
}
