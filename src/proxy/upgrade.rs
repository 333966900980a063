//! WebSockets and other upgrades: after 101 both sides are joined byte by byte.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Response;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::access_log::Line;
use super::activity::Activity;
use super::body::Source;
use super::context::Live;
use super::routes::Admitted;
use super::tunnel::{ClientSide, Tunnel};

/// Bytes that are read from one side before they are written to the other.
const CHUNK: usize = 16 << 10;

/// How long a side may take to read what was said last and to end as well.
const PARTING: Duration = Duration::from_secs(1);

/// How often a connection looks whether its route is still there.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why a joined pair came apart before both sides had ended.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the client's side broke off: {0}")]
    Client(io::Error),
    #[error("the origin's side broke off: {0}")]
    Origin(io::Error),
}

/// What a connection was made by.
pub(super) struct Route {
    pub(super) live: Arc<ArcSwap<Live>>,
    pub(super) service: Arc<str>,
    pub(super) region: Arc<str>,
}

impl Route {
    /// Returns when a reload has taken it away and `drain_timeout` has passed since.
    async fn over(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if !self.is_gone() {
                continue;
            }
            let limit = self.live.load().snapshot.plan.node.drain_timeout;
            tokio::time::sleep(limit).await;
            // Another reload may have brought it back.
            if self.is_gone() {
                return;
            }
        }
    }

    fn is_gone(&self) -> bool {
        let live = self.live.load();
        let plan = &live.snapshot.plan;
        let region = plan.region(&self.region);
        let mut services = plan.services.values();
        let service = services.find(|service| service.name == self.service);
        !service.is_some_and(|service| {
            let mut members = service.regions.iter();
            members.any(|member| Some(member.region) == region)
        })
    }
}

/// Joins both sides until both have ended, neither has said anything for `idle` (zero: any time), or their route is
/// over; counts as in flight as long as that lasts, and its line is written when it is over.
pub(super) async fn join(
    client: ClientSide,
    response: Response<Source>,
    idle: Duration,
    route: Route,
    admitted: Admitted,
    line: Option<Line>,
) {
    let _admitted = admitted;
    let Ok(client) = client.await else {
        return tracing::debug!("the client has gone before it left HTTP");
    };
    let origin = tunnel(response);
    let journal = line.as_ref().map(Line::journal);
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_origin, mut to_origin) = tokio::io::split(origin);
    let activity = Activity::new();
    let count_up = |bytes| {
        activity.touch();
        journal.inspect(|journal| journal.received(bytes));
    };
    let count_down = |bytes| {
        activity.touch();
        journal.inspect(|journal| journal.sent(bytes));
    };
    let both = async {
        tokio::try_join!(
            pass(
                &mut from_client,
                &mut to_origin,
                count_up,
                Broken::Client,
                Broken::Origin
            ),
            pass(
                &mut from_origin,
                &mut to_client,
                count_down,
                Broken::Origin,
                Broken::Client
            ),
        )
    };
    let (how, by, why) = tokio::select! {
        ended = activity.unless_quiet(idle, both) => ending(ended.map(|both| both.err())),
        () = route.over() => ("drain-timeout", "edge", None),
    };
    tracing::debug!(how, why, "upgraded connection ended");
    if let Some(journal) = journal {
        journal.ended(how, by, why);
    }
    if how != "completed" {
        let client = part(from_client, to_client);
        tokio::join!(client, part(from_origin, to_origin));
    }
}

/// Ends a side that the other has left, so that what was said last is not lost: a stream of HTTP/2 that is given up is reset
/// before what waits in it.
async fn part(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let parting = async {
        to.shutdown().await?;
        tokio::io::copy(&mut from, &mut tokio::io::sink()).await
    };
    // Who broke off fails at once, and who does not end in time is cut off.
    let _ = tokio::time::timeout(PARTING, parting).await;
}

/// The connection, or stream, of an origin that has left HTTP.
fn tunnel(response: Response<Source>) -> Tunnel {
    match response.into_body() {
        Source::Http1(reading) => reading.into_tunnel(),
        Source::Http2(receiving) => receiving.into_tunnel(),
        Source::Client(_) | Source::Nothing => Tunnel::closed(),
    }
}

/// How it ended, who ended it, and why; `None`: nobody said anything any more.
fn ending(ended: Option<Option<Broken>>) -> (&'static str, &'static str, Option<String>) {
    match ended {
        Some(None) => ("completed", "origin", None),
        Some(Some(error @ Broken::Client(_))) => {
            ("client-closed", "client", Some(error.to_string()))
        }
        Some(Some(error @ Broken::Origin(_))) => {
            ("origin-closed", "origin", Some(error.to_string()))
        }
        None => ("idle-timeout", "edge", None),
    }
}

/// Passes bytes on until the one side ends, and says so to the other.
async fn pass(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    count: impl Fn(usize),
    reading: impl Fn(io::Error) -> Broken,
    writing: impl Fn(io::Error) -> Broken,
) -> Result<(), Broken> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = from.read(&mut chunk).await.map_err(&reading)?;
        count(length);
        let Some(read @ [_, ..]) = chunk.get(..length) else {
            return to.shutdown().await.map_err(&writing);
        };
        to.write_all(read).await.map_err(&writing)?;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[tokio::test]
    async fn no_more_than_16_kib_are_read_before_they_are_written_on() {
        let sent: Vec<u8> = (0..=250).cycle().take(100_000).collect();
        let (mut from, mut to) = (sent.as_slice(), Vec::new());
        let lengths = RefCell::new(Vec::new());
        let count = |length| lengths.borrow_mut().push(length);
        let passed = pass(&mut from, &mut to, count, Broken::Client, Broken::Origin).await;
        assert!(passed.is_ok() && to == sent);
        assert_eq!(lengths.borrow().iter().max(), Some(&16_384));
    }
}
