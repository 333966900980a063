//! `meridian events`.

use std::os::fd::AsFd;
use std::time::Duration;

use bytes::BytesMut;
use clap::Args;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde_json::Value;
use tokio::io::Interest;
use tokio::net::unix::pipe;

use super::client::Client;
use super::refusal::{self, broken_off, unreachable};
use super::{Done, Failed, Running, runtime};

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

/// Between two attempts to find an edge again.
const AGAIN: Duration = Duration::from_secs(1);

/// However long an edge asks to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

impl Events {
    pub(super) fn run(self) -> Done {
        let show: fn(&Value) -> String = if self.json {
            Value::to_string
        } else {
            event_line
        };
        runtime()?.block_on(async {
            let mut printing = Printing {
                client: self.running.client()?,
                last: self.since,
                show,
            };
            let printing = async {
                if self.follow {
                    printing.follow().await
                } else {
                    printing.kept().await
                }
            };
            tokio::select! {
                done = printing => done,
                () = reader_has_left() => Ok(()),
            }
        })
    }
}

/// Events on their way from the edge to the output.
struct Printing {
    client: Client,
    /// The number of the last that was printed.
    last: u64,
    show: fn(&Value) -> String,
}

/// Why there is no stream of events, or no more of it.
enum NoStream {
    /// The edge or the way to it is gone, or has too much to do: trying again after a while may help.
    Lost(Failed, Duration),
    /// Asking again would change nothing.
    Final(Failed),
}

impl From<NoStream> for Failed {
    fn from(why: NoStream) -> Self {
        match why {
            NoStream::Lost(failed, _) | NoStream::Final(failed) => failed,
        }
    }
}

impl Printing {
    /// Prints what is kept. A comment in the stream says that all of it has come.
    async fn kept(&mut self) -> Done {
        let mut lines = self.open().await?;
        loop {
            let line = lines.next().await?;
            if line.starts_with(b":") {
                return Ok(());
            }
            self.print(&line)?;
        }
    }

    /// Goes on for good: after a restart, or whatever else ends a stream, behind the last event that was printed.
    async fn follow(&mut self) -> Done {
        let mut lines = self.open().await?;
        loop {
            match lines.next().await {
                Ok(line) => self.print(&line)?,
                Err(Failed(why)) => {
                    eprintln!("{why} (trying again)");
                    lines = self.open_again().await?;
                    eprintln!("the edge answers again");
                }
            }
        }
    }

    async fn open_again(&self) -> Result<Lines, Failed> {
        let mut wait = AGAIN;
        loop {
            tokio::time::sleep(wait).await;
            match self.open().await {
                Ok(lines) => return Ok(lines),
                Err(NoStream::Lost(_, after)) => wait = after,
                Err(NoStream::Final(failed)) => return Err(failed),
            }
        }
    }

    async fn open(&self) -> Result<Lines, NoStream> {
        let request = self.client.get("/api/v1/events");
        let sent = request.query(&[("since", self.last)]).send().await;
        let response = sent.map_err(|error| NoStream::Lost(unreachable(&error), AGAIN))?;
        let (status, wait) = (response.status(), asked_to_wait(response.headers()));
        match refusal::of(response).await {
            Ok(response) => Ok(Lines {
                response,
                pending: BytesMut::new(),
            }),
            Err(refused) if is_of_now(status) => Err(NoStream::Lost(refused, wait)),
            Err(refused) => Err(NoStream::Final(refused)),
        }
    }

    /// Prints the event of a line, if it has one.
    fn print(&mut self, line: &[u8]) -> Done {
        let Some(event) = event_of(line) else {
            return Ok(());
        };
        self.last = event.get("id").and_then(Value::as_u64).unwrap_or(self.last);
        say!("{}", (self.show)(&event));
        Ok(())
    }
}

/// Whether a refusal may be over in a moment: the edge restarts, or others ask too much.
fn is_of_now(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

/// How long to wait before another attempt: what `Retry-After` says in seconds, as the edge does (RFC 9110 §10.2.3), if that is longer.
fn asked_to_wait(headers: &HeaderMap) -> Duration {
    let seconds = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    let seconds = seconds.and_then(|value| value.parse().ok());
    seconds.map_or(AGAIN, |seconds| {
        Duration::from_secs(seconds).clamp(AGAIN, LONGEST_WAIT)
    })
}

/// The lines of a stream.
struct Lines {
    response: Response,
    pending: BytesMut,
}

impl Lines {
    /// The next one, with its end.
    async fn next(&mut self) -> Result<BytesMut, Failed> {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                return Ok(self.pending.split_to(end + 1));
            }
            let chunk = self.response.chunk().await;
            match chunk.map_err(|error| broken_off(&error))? {
                Some(chunk) => self.pending.extend_from_slice(&chunk),
                None => return Err(Failed("error: the edge has ended its answer".to_owned())),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_that_has_too_much_to_do_is_left_alone_for_as_long_as_it_asks() {
        for (retry_after, expected) in [
            (None, 1),
            (Some("0"), 1),
            (Some("5"), 5),
            (Some("86400"), 60),
            (Some("Fri, 27 Nov 2026 18:00:00 GMT"), 1),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(seconds) = retry_after {
                headers.insert(RETRY_AFTER, seconds.parse().unwrap());
            }
            let wait = asked_to_wait(&headers);
            assert_eq!(wait, Duration::from_secs(expected), "{retry_after:?}");
        }
    }
}
