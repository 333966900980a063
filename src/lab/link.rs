//! Replication from one region to one peer, over HTTP.
//!
//! A link pushes the entries that the peer has not acknowledged, in order, none of them earlier
//! than the peer's lag after its commit, as `POST /replicate`. The answer is the peer's word for
//! what it has applied, so a lost answer or a repeated delivery does no harm. What cannot be
//! delivered stays in the log and is tried again for as long as the sending region lives.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::sync::watch::error::RecvError;
use tokio::time::Instant;

use super::conditions::Conditions;
use super::log::{Entry, Next};
use super::name::Name;
use super::region::Region;
use super::replica::Replica;

/// A batch on the wire; `log` keeps batches below it.
const WIRE_BYTES_MAX: usize = 8 << 20;
/// Before another try to reach a peer that did not take a batch.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// A peer that has not answered by then is asked again.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Another region, as this one sees it.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) name: Name,
    pub(super) address: SocketAddr,
}

/// Entries of one region's log, on their way to another.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) from: Name,
    pub(super) entries: Vec<Entry>,
}

impl Batch {
    fn to_json(&self) -> Value {
        let entries: Vec<Value> = self.entries.iter().map(Entry::to_json).collect();
        json!({ "from": self.from.as_str(), "entries": entries })
    }

    fn from_json(batch: &Value) -> Option<Self> {
        let entries = batch.get("entries")?.as_array()?;
        Some(Self {
            from: batch.get("from")?.as_str()?.parse().ok()?,
            entries: entries
                .iter()
                .map(Entry::from_json)
                .collect::<Option<_>>()?,
        })
    }
}

/// The receiving end: `POST /replicate`, without the emulated round trip, since lag stands for it.
pub(super) fn router(region: Arc<Region>) -> Router {
    Router::new()
        .route(
            "/replicate",
            post(receive).layer(DefaultBodyLimit::max(WIRE_BYTES_MAX)),
        )
        .with_state(region)
}

async fn receive(
    State(region): State<Arc<Region>>,
    Json(batch): Json<Value>,
) -> Result<Json<Value>, StatusCode> {
    let batch = Batch::from_json(&batch).ok_or(StatusCode::UNPROCESSABLE_ENTITY)?;
    let applied = region.receive(batch).ok_or(StatusCode::FORBIDDEN)?;
    Ok(Json(json!({ "applied": applied })))
}

/// The sending end.
pub(super) struct Link {
    region: Arc<Region>,
    peer: Peer,
    client: reqwest::Client,
    replica: watch::Receiver<Replica>,
    conditions: watch::Receiver<Conditions>,
}

impl Link {
    pub(super) fn new(region: Arc<Region>, peer: Peer, client: reqwest::Client) -> Self {
        let (replica, conditions) = (region.watch_replica(), region.watch_conditions());
        Self {
            region,
            peer,
            client,
            replica,
            conditions,
        }
    }

    /// Replicates until it is dropped, or the lab is.
    pub(super) async fn run(mut self) {
        while self.round().await.is_ok() {}
    }

    /// Does what is next, or waits for it. A change of conditions begins a new round, and so cuts
    /// a delivery that a partition no longer lets through.
    async fn round(&mut self) -> Result<(), RecvError> {
        let next = self.next();
        let Self {
            region,
            peer,
            client,
            replica,
            conditions,
        } = self;
        let act = async {
            match next {
                Next::Nothing => replica.changed().await?,
                Next::At(due) => tokio::time::sleep_until(due.into()).await,
                Next::Batch(entries) => deliver(region, peer, client, entries).await,
            }
            Ok(())
        };
        tokio::select! {
            biased;
            changed = conditions.changed() => changed,
            done = act => done,
        }
    }

    fn next(&mut self) -> Next {
        let conditions = self.conditions.borrow_and_update();
        if conditions.parted(self.region.name(), &self.peer.name) {
            return Next::Nothing;
        }
        let lag = conditions.lag(self.peer.name.as_str());
        let now = Instant::now().into_std();
        self.replica
            .borrow_and_update()
            .log()
            .next_for(self.peer.name.as_str(), lag, now)
    }
}

async fn deliver(region: &Region, peer: &Peer, client: &reqwest::Client, entries: Vec<Entry>) {
    let batch = Batch {
        from: region.name().clone(),
        entries,
    };
    match push(client, peer, &batch).await {
        Ok(applied) => region.acknowledge(&peer.name, applied),
        Err(error) => {
            tracing::debug!(from = %batch.from, to = %peer.name, %error, "replication waits");
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}

/// How far the peer has applied this region's log.
async fn push(client: &reqwest::Client, peer: &Peer, batch: &Batch) -> reqwest::Result<u64> {
    let request = client
        .post(format!("http://{}/replicate", peer.address))
        .json(&batch.to_json());
    let receipt: Value = request.send().await?.error_for_status()?.json().await?;
    // A receipt that says nothing acknowledges nothing: the batch is sent again.
    Ok(receipt.get("applied").and_then(Value::as_u64).unwrap_or(0))
}
