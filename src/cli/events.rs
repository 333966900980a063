//! `meridian events`.

use clap::Args;
use futures_util::StreamExt;
use serde_json::Value;

use super::refusal::{self, unreachable};
use super::{Done, Running, runtime};

/// Prints what happened on a running edge
#[derive(Debug, Args)]
pub(super) struct Events {
    /// Go on with what happens next
    #[arg(long)]
    follow: bool,
    /// Only events after this number
    #[arg(long, value_name = "ID", default_value_t = 0)]
    since: u64,
    /// Print JSON, a line for each event
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    running: Running,
}

/// Without --follow, a pause this long in the stream means that all that is kept has come.
const QUIET: std::time::Duration = std::time::Duration::from_millis(300);

impl Events {
    pub(super) fn run(self) -> Done {
        let show: fn(&Value) -> String = if self.json {
            Value::to_string
        } else {
            event_line
        };
        runtime()?.block_on(async {
            let client = self.running.client()?;
            let request = client.get("/api/v1/events").query(&[("since", self.since)]);
            let response = request.send().await.map_err(|error| unreachable(&error))?;
            if !response.status().is_success() {
                return refusal::read(response).await.map(|_| ());
            }
            let mut stream = response.bytes_stream();
            let mut pending = String::new();
            loop {
                let next = if self.follow {
                    stream.next().await
                } else {
                    tokio::time::timeout(QUIET, stream.next())
                        .await
                        .unwrap_or(None)
                };
                let Some(chunk) = next.transpose()? else {
                    return Ok(());
                };
                pending.push_str(&String::from_utf8_lossy(&chunk));
                while let Some((line, rest)) = pending.split_once('\n') {
                    if let Some(event) = event_of(line) {
                        say!("{}", show(&event));
                    }
                    pending = rest.to_owned();
                }
            }
        })
    }
}

/// The event of a line of the stream, if it has one.
fn event_of(line: &str) -> Option<Value> {
    serde_json::from_str(line.strip_prefix("data:")?).ok()
}

fn event_line(event: &Value) -> String {
    let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
    format!(
        "{:>5}  {}  {:8}  {}",
        event["id"].to_string(),
        text("at"),
        text("kind"),
        text("message")
    )
}
