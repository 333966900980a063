//! Replication from one region to one peer, over HTTP.
//!
//! A link pushes the entries that the peer has not acknowledged, in order, none of them earlier
//! than the peer's lag after its commit, as `POST /replicate`. The answer is the peer's word for
//! what it has applied, so a lost answer or a repeated delivery does no harm. What cannot be
//! delivered stays in the log and is tried again for as long as the sending region lives. A link that has
//! nothing to say asks the peer now and then: it may have been put back to a backup.
//!
//! What no log has any more travels as the whole state, in parts (`POST /replicate/state`), lag or no lag.

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
use super::delta::{Change, Kind};
use super::log::{Entry, Next};
use super::name::Name;
use super::position::{Position, forks_from_json, forks_to_json};
use super::region::Region;
use super::replica::Replica;
use super::vector::Applied;

/// A batch or a part of a state on the wire. Batches stay below 8 MiB; a part has one state past its
/// bound at most, of all siblings that as many regions wrote at once.
const WIRE_BYTES_MAX: usize = 32 << 20;
/// Bytes of keys and values after which a part of a state takes no further key.
const PART_BYTES: usize = 1 << 20;
/// Before another try to reach a peer that did not take a batch.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// How long a link is silent at most.
const ASK_EVERY: Duration = Duration::from_millis(500);
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
    /// Where the sender's epochs began.
    pub(super) forks: Vec<(u64, Position)>,
    pub(super) entries: Vec<Entry>,
}

impl Batch {
    fn to_json(&self) -> Value {
        let entries: Vec<Value> = self.entries.iter().map(Entry::to_json).collect();
        let forks = forks_to_json(self.forks.iter().copied());
        json!({ "from": self.from.as_str(), "forks": forks, "entries": entries })
    }

    fn from_json(batch: &Value) -> Option<Self> {
        let entries = batch.get("entries")?.as_array()?;
        Some(Self {
            from: batch.get("from")?.as_str()?.parse().ok()?,
            forks: forks_from_json(batch.get("forks")?)?,
            entries: entries
                .iter()
                .map(Entry::from_json)
                .collect::<Option<_>>()?,
        })
    }
}

/// A part of one region's whole state, on its way to another.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) from: Name,
    /// To whom: none but the incarnation that lacked something.
    pub(super) incarnation: u64,
    /// How many parts went before it.
    pub(super) number: u64,
    pub(super) states: Vec<Change>,
    /// With the last part: what the sender had applied before the first.
    pub(super) applied: Option<Applied>,
}

impl Part {
    fn to_json(&self) -> Value {
        let states: Vec<Value> = self.states.iter().map(Change::to_json).collect();
        let applied = self.applied.as_ref().map(Applied::to_json);
        json!({
            "from": self.from.as_str(), "incarnation": self.incarnation, "number": self.number,
            "states": states, "applied": applied,
        })
    }

    fn from_json(part: &Value) -> Option<Self> {
        let states = part.get("states")?.as_array()?.iter();
        let applied = part.get("applied")?;
        let applied = if applied.is_null() {
            None
        } else {
            Some(Applied::from_json(applied)?)
        };
        Some(Self {
            from: part.get("from")?.as_str()?.parse().ok()?,
            incarnation: part.get("incarnation")?.as_u64()?,
            number: part.get("number")?.as_u64()?,
            states: states.map(Change::from_json).collect::<Option<_>>()?,
            applied,
        })
    }
}

/// What a peer has applied, and which of its incarnations says so.
#[derive(Debug)]
pub(super) struct Receipt {
    pub(super) applied: Applied,
    pub(super) incarnation: u64,
}

impl Receipt {
    fn to_json(&self) -> Value {
        json!({ "applied": self.applied.to_json(), "incarnation": self.incarnation })
    }

    fn from_json(receipt: &Value) -> Option<Self> {
        Some(Self {
            applied: Applied::from_json(receipt.get("applied")?)?,
            incarnation: receipt.get("incarnation")?.as_u64()?,
        })
    }
}

/// The receiving end, without the emulated round trip, since lag stands for it.
pub(super) fn router(region: Arc<Region>) -> Router {
    Router::new()
        .route("/replicate", post(receive))
        .route("/replicate/state", post(take_over))
        .layer(DefaultBodyLimit::max(WIRE_BYTES_MAX))
        .with_state(region)
}

async fn receive(
    State(region): State<Arc<Region>>,
    Json(batch): Json<Value>,
) -> Result<Json<Value>, StatusCode> {
    let batch = Batch::from_json(&batch).ok_or(StatusCode::UNPROCESSABLE_ENTITY)?;
    let receipt = region.receive(batch).ok_or(StatusCode::FORBIDDEN)?;
    Ok(Json(receipt.to_json()))
}

async fn take_over(
    State(region): State<Arc<Region>>,
    Json(part): Json<Value>,
) -> Result<Json<Value>, StatusCode> {
    let part = Part::from_json(&part).ok_or(StatusCode::UNPROCESSABLE_ENTITY)?;
    let receipt = region.take_over(part).ok_or(StatusCode::FORBIDDEN)?;
    Ok(Json(receipt.to_json()))
}

/// The sending end.
pub(super) struct Link {
    region: Arc<Region>,
    peer: Peer,
    client: reqwest::Client,
    replica: watch::Receiver<Replica>,
    conditions: watch::Receiver<Conditions>,
    /// The peer's incarnation, as it last said.
    incarnation: u64,
    ask_at: Instant,
}

/// What a link does next.
enum Act {
    /// Nothing before anything changes.
    Wait,
    /// Nothing before then, unless something changes.
    Until(Instant),
    Send(Vec<Entry>),
    SendState,
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
            incarnation: 0,
            ask_at: Instant::now(),
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
        let mut conditions = self.conditions.clone();
        tokio::select! {
            biased;
            changed = conditions.changed() => changed,
            done = self.act(next) => done,
        }
    }

    fn next(&mut self) -> Act {
        let conditions = self.conditions.borrow_and_update();
        if conditions.parted(self.region.name(), &self.peer.name) {
            return Act::Wait;
        }
        let (from, to) = (self.region.name().as_str(), self.peer.name.as_str());
        let lag = conditions.lag_of(to, from);
        let now = Instant::now();
        let replica = self.replica.borrow_and_update();
        match replica.next_for(to, lag, now.into_std()) {
            Next::Batch(entries) => Act::Send(entries),
            Next::State => Act::SendState,
            Next::Nothing | Next::At(_) if self.ask_at <= now => Act::Send(Vec::new()),
            Next::At(due) => Act::Until(self.ask_at.min(due.into())),
            Next::Nothing => Act::Until(self.ask_at),
        }
    }

    async fn act(&mut self, act: Act) -> Result<(), RecvError> {
        let sent = match act {
            Act::Wait => return self.replica.changed().await,
            Act::Until(then) => {
                return tokio::time::timeout_at(then, self.replica.changed())
                    .await
                    .unwrap_or(Ok(()));
            }
            Act::Send(entries) => self.send(entries).await,
            Act::SendState => self.send_state().await,
        };
        if let Err(error) = sent {
            let (from, to) = (self.region.name(), &self.peer.name);
            tracing::debug!(%from, %to, %error, "replication waits");
            self.ask_at = Instant::now() + ASK_EVERY;
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        Ok(())
    }

    async fn send(&mut self, entries: Vec<Entry>) -> reqwest::Result<()> {
        let batch = Batch {
            from: self.region.name().clone(),
            forks: self.region.read(Replica::forks),
            entries,
        };
        self.post("/replicate", batch.to_json()).await
    }

    /// Sends the state of one moment: nothing of it that `applied` does not tell.
    async fn send_state(&mut self) -> reqwest::Result<()> {
        let state = |replica: &Replica| (replica.store().clone(), replica.applied().clone());
        let (store, applied) = self.region.read(state);
        let incarnation = self.incarnation;
        let (mut number, mut cursor) = (0, Some((Kind::Register, None)));
        while let Some(at) = cursor {
            let page = store.page(&at, PART_BYTES);
            cursor = page.next;
            let part = Part {
                from: self.region.name().clone(),
                incarnation,
                number,
                states: page.states,
                applied: cursor.is_none().then(|| applied.clone()),
            };
            self.post("/replicate/state", part.to_json()).await?;
            number += 1;
        }
        Ok(())
    }

    /// Sends something and takes note of the receipt.
    async fn post(&mut self, path: &str, body: Value) -> reqwest::Result<()> {
        let url = format!("http://{}{path}", self.peer.address);
        let answer = self.client.post(url).json(&body).send().await?;
        let receipt: Value = answer.error_for_status()?.json().await?;
        self.ask_at = Instant::now() + ASK_EVERY;
        // A receipt that says nothing acknowledges nothing: the same is sent again.
        if let Some(receipt) = Receipt::from_json(&receipt) {
            self.incarnation = receipt.incarnation;
            self.region.acknowledge(&self.peer.name, &receipt.applied);
        }
        Ok(())
    }
}
