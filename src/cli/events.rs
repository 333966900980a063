//! `meridian events`.

use std::os::fd::AsFd;

use bytes::{Bytes, BytesMut};
use clap::Args;
use futures_util::{Stream, StreamExt};
use serde_json::Value;
use tokio::io::Interest;
use tokio::net::unix::pipe;

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
            let printing = print(response.bytes_stream(), self.follow, show);
            tokio::select! {
                done = printing => done,
                () = reader_has_left() => Ok(()),
            }
        })
    }
}

async fn print(
    mut stream: impl Stream<Item = reqwest::Result<Bytes>> + Unpin,
    follow: bool,
    show: fn(&Value) -> String,
) -> Done {
    let mut pending = BytesMut::new();
    loop {
        let next = if follow {
            stream.next().await
        } else {
            let next = tokio::time::timeout(QUIET, stream.next()).await;
            next.unwrap_or(None)
        };
        let Some(chunk) = next.transpose()? else {
            return Ok(());
        };
        pending.extend_from_slice(&chunk);
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            if let Some(event) = event_of(&pending.split_to(end + 1)) {
                say!("{}", show(&event));
            }
        }
    }
}

/// Waits until nobody reads the output any more: `head` has what it wanted, and the next event may come tomorrow.
async fn reader_has_left() {
    let output = std::io::stdout().as_fd().try_clone_to_owned();
    // It is written without it: nothing but the end of its readers is waited for.
    match output.and_then(pipe::Sender::from_owned_fd_unchecked) {
        // That the wait fails says as little as a reader that stays.
        Ok(output) if output.ready(Interest::ERROR).await.is_ok() => {}
        // A file has no reader that could leave.
        Ok(_) | Err(_) => std::future::pending().await,
    }
}

/// The event of a line of the stream, if it has one.
fn event_of(line: &[u8]) -> Option<Value> {
    serde_json::from_slice(line.strip_prefix(b"data:")?).ok()
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
