//! A few clients that write and then read, and count how often they miss what they wrote.
//!
//! Each has a home region, where its writes go, and reads where it is nearest, elsewhere. Some go straight
//! there, as clients of a store without Meridian do; the others send the same through the edge, with
//! the token that it gives them.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{RequestBuilder, Response};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::emulation::Lab;
use super::error::LabError;
use super::tally::{Outcome, Tallies};

/// Between a client's turn and the next one's. A turn is two requests to a region and two to the edge.
const TURN: Duration = Duration::from_secs(1);
/// Longer than the edge lets a read wait.
const PATIENCE: Duration = Duration::from_secs(5);
const TOKEN: &str = "meridian-token";

/// What the clients of a sample need to know.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Where the edge takes plain HTTP.
    pub edge: SocketAddr,
    /// The host to ask it for.
    pub host: String,
    /// By this header the edge knows where a client's writes go.
    pub home_header: &'static str,
    /// The clients' home regions, in turn.
    pub homes: Vec<String>,
}

/// What was read; none: no such key.
type Read = Option<String>;

impl Sample {
    /// Runs until the lab ends; what it has counted so far is in the receiver, as JSON.
    pub(super) fn begin(self, lab: &Lab) -> Result<watch::Receiver<Value>, LabError> {
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
        let client = client.build().map_err(LabError::Client)?;
        let mut tallies = Tallies::default();
        let (tell, told) = watch::channel(tallies.to_json(&[]));
        let of = lab.clone();
        lab.spawn(async move {
            let mut turns = tokio::time::interval(TURN);
            turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for (number, home) in (0_u64..).zip(self.homes.iter().cycle()) {
                turns.tick().await;
                let turn = Turn {
                    sample: &self,
                    client: &client,
                    home,
                    value: number.to_string(),
                };
                let (naive, meridian) = tokio::join!(turn.naive(&of), turn.through_the_edge());
                tallies.naive.add(naive);
                tallies.meridian.add(meridian);
                tell.send_replace(tallies.to_json(&of.state().faults()));
            }
        });
        Ok(told)
    }
}

/// One client's write and read.
struct Turn<'a> {
    sample: &'a Sample,
    client: &'a reqwest::Client,
    home: &'a str,
    value: String,
}

impl Turn<'_> {
    async fn naive(&self, lab: &Lab) -> Outcome {
        let (Ok(home), Some(nearest)) = (lab.address(self.home), lab.nearest()) else {
            return Outcome::Failed;
        };
        let path = format!("/kv/sample-naive-{}", self.home);
        let write = self.client.put(format!("http://{home}{path}"));
        let read = self.client.get(format!("http://{nearest}{path}"));
        if send(write.body(self.value.clone())).await.is_none() {
            return Outcome::Failed;
        }
        match send(read).await {
            Some(answer) => self.judge(value(answer).await, Outcome::Stale),
            None => Outcome::Failed,
        }
    }

    async fn through_the_edge(&self) -> Outcome {
        let url = format!("http://{}/kv/sample-edge-{}", self.sample.edge, self.home);
        let to_the_edge = |request: RequestBuilder| request.header("host", &self.sample.host);
        let write = to_the_edge(self.client.put(&url)).body(self.value.clone());
        let written = send(write.header(self.sample.home_header, self.home)).await;
        let written = written.as_ref().map(|answer| header(answer, TOKEN));
        let Some(token) = written.filter(|token| !token.is_empty()) else {
            return Outcome::Failed;
        };
        let read = to_the_edge(self.client.get(&url)).header(TOKEN, token);
        match send(read).await {
            Some(answer) => {
                let marked = matches!(header(&answer, "meridian-consistency"), "stale" | "lost");
                let miss = if marked {
                    Outcome::Marked
                } else {
                    Outcome::Stale
                };
                self.judge(value(answer).await, miss)
            }
            None => Outcome::Failed,
        }
    }

    fn judge(&self, read: Option<Read>, miss: Outcome) -> Outcome {
        match read {
            Some(Some(value)) if value == self.value => Outcome::Fresh,
            Some(_) => miss,
            None => Outcome::Failed,
        }
    }
}

/// The answer of a region that could answer: also that there is no such key.
async fn send(request: RequestBuilder) -> Option<Response> {
    let answer = request.send().await.ok()?;
    (answer.status().is_success() || answer.status() == 404).then_some(answer)
}

/// `None`: the answer is none of a store's.
async fn value(answer: Response) -> Option<Read> {
    if answer.status() == 404 {
        return Some(None);
    }
    let body: Value = answer.json().await.ok()?;
    Some(Some(body.get("value")?.as_str()?.to_owned()))
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    let value = answer.headers().get(name);
    value.and_then(|value| value.to_str().ok()).unwrap_or("")
}
