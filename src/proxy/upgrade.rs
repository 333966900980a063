//! WebSockets and other upgrades: after 101 both sides are joined byte by byte.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderMap, Response};
use tokio::io::AsyncWriteExt;

use super::access_log::Line;
use super::activity::Activity;
use super::body::Source;
use super::context::Live;
use super::host::Host;
use super::inbound;
use super::relay::{Broken, relay};
use super::routes::Admitted;
use super::tunnel::{ClientSide, Tunnel};
use crate::config::plan::Access;
use crate::steering::{Ask, is_allowed};

/// How long a side may take to read what was said last and to end as well.
const PARTING: Duration = Duration::from_secs(1);

/// How often a connection looks whether it may still have its route.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a connection was made by.
pub(super) struct Route {
    pub(super) live: Arc<ArcSwap<Live>>,
    pub(super) host: Arc<Host>,
    pub(super) service: Arc<str>,
    pub(super) region: Arc<str>,
    pub(super) client: IpAddr,
    /// Those of the client's request.
    pub(super) fields: HeaderMap,
}

impl Route {
    /// Returns when a reload has taken it away, or residency forbids it, and `drain_timeout` has passed since.
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
        let snapshot = &live.snapshot;
        let plan = &snapshot.plan;
        let id = live.routes.service(&self.host.name);
        let (Some(id), Some(region)) = (id, plan.region(&self.region)) else {
            return true;
        };
        let service = plan.services.of(id);
        let mut members = service.regions.iter();
        if service.name != self.service || !members.any(|member| member.region == region) {
            return true;
        }
        let (place, _) = snapshot.clients.locate(id, self.client);
        let residency = inbound::residency(service, &self.fields);
        let ask = Ask {
            residency: residency.as_deref(),
            ..Ask::http(id, place, Access::Read)
        };
        !is_allowed(snapshot, &ask, region)
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
    let Ok(mut client) = client.await else {
        return tracing::debug!("the client has gone before it left HTTP");
    };
    let mut origin = tunnel(response);
    let journal = line.as_ref().map(Line::journal);
    let activity = Activity::new();
    let count_up = |bytes| {
        activity.touch();
        journal.inspect(|journal| journal.received(bytes));
    };
    let count_down = |bytes| {
        activity.touch();
        journal.inspect(|journal| journal.sent(bytes));
    };
    let both = relay(&mut client, &mut origin, count_up, count_down, PARTING);
    let (how, by, why) = tokio::select! {
        biased; // Bytes that never stop do not hold up the end.
        () = route.over() => ("drain-timeout", "edge", None),
        ended = activity.unless_quiet(idle, both) => ending(ended),
    };
    tracing::debug!(how, why, "upgraded connection ended");
    if let Some(journal) = journal {
        journal.ended(how, by, why);
    }
    if how != "completed" {
        tokio::join!(part(client), part(origin));
    }
}

/// Ends a side that the other has left, so that what was said last is not lost: a stream of HTTP/2 that is given up is reset
/// before what waits in it.
async fn part(mut side: Tunnel) {
    let parting = async {
        side.shutdown().await?;
        tokio::io::copy(&mut side, &mut tokio::io::sink()).await
    };
    // Who broke off fails at once, and who does not end in time is cut off.
    let _ = tokio::time::timeout(PARTING, parting).await;
}

/// The connection, or stream, of an origin that has left HTTP.
fn tunnel(response: Response<Source>) -> Tunnel {
    match response.into_body() {
        Source::Http1(reading) => reading.into_tunnel(),
        Source::Http2(receiving) => receiving.into_tunnel(),
        Source::Client(_) | Source::Upload(_) | Source::Nothing => Tunnel::closed(),
    }
}

/// How it ended, who ended it, and why; `None`: nobody said anything any more.
fn ending(ended: Option<Result<(), Broken>>) -> (&'static str, &'static str, Option<String>) {
    match ended {
        Some(Ok(())) => ("completed", "origin", None),
        Some(Err(error @ Broken::Client(_))) => {
            ("client-closed", "client", Some(error.to_string()))
        }
        Some(Err(error @ Broken::Origin(_))) => {
            ("origin-closed", "origin", Some(error.to_string()))
        }
        None => ("idle-timeout", "edge", None),
    }
}
