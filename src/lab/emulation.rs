//! The lab as a whole: its regions, and the faults that an operator sets between them.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::berth::Berth;
use super::conditions::{Conditions, DELAY_MAX, Skew, bounded};
use super::control_api;
use super::error::{Change, LabError};
use super::life::Life;
use super::link::{ANSWER_TIMEOUT, Peer};
use super::name::Name;
use super::region::{Parts, Region};
use super::replica::Rewind;
use super::sample::Sample;
use super::state::LabState;
use super::watched::Watched;

/// One region to emulate.
#[derive(Clone, Debug)]
pub struct RegionConfig {
    /// 1 to 63 letters, digits, `-` or `_`.
    pub name: String,
    /// Where its server listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// How long its answers take to come and go.
    pub round_trip: Duration,
    /// How long after their commit it applies its peers' writes.
    pub lag: Duration,
    /// How long a read with `Meridian-Require` may wait here before it is told "not yet".
    pub require_wait: Duration,
}

impl RegionConfig {
    /// A region on a free port of loopback, near by and hardly behind.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            round_trip: Duration::ZERO,
            lag: Duration::ZERO,
            require_wait: Duration::ZERO,
        }
    }
}

/// A running lab. Clones are handles to the same lab.
#[derive(Clone, Debug)]
pub struct Lab(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    regions: Vec<Arc<Region>>,
    conditions: Watched<Conditions>,
    shutdown: CancellationToken,
    control: Life,
}

impl Lab {
    /// Starts every region; they serve when this returns, until `shutdown` is canceled.
    ///
    /// # Errors
    ///
    /// When the configuration is no lab, or an address cannot be bound.
    pub async fn start(
        configs: Vec<RegionConfig>,
        shutdown: CancellationToken,
    ) -> Result<Self, LabError> {
        let (conditions, moored) = prepare(configs)?;
        let conditions = Watched::new(conditions);
        let regions = assemble(moored, &conditions)?;
        let control = Life::begin(&shutdown);
        let lab = Self(Arc::new(Inner {
            regions,
            conditions,
            shutdown,
            control,
        }));
        for region in &lab.0.regions {
            if let Err(error) = lab.raise(region) {
                lab.stop().await;
                return Err(error);
            }
        }
        Ok(lab)
    }

    /// Ends everything and returns when every task is gone, also when `shutdown` was canceled
    /// elsewhere.
    pub async fn stop(&self) {
        self.0.shutdown.cancel();
        for region in &self.0.regions {
            region.kill().await;
        }
        self.0.control.end().await;
    }

    /// Serves the commands of `meridian lab` on this listener, until the lab ends.
    pub fn serve_control(&self, listener: TcpListener) {
        self.0
            .control
            .serve(listener, control_api::router(self.clone()));
    }

    /// Cuts a region off. Its data stays.
    ///
    /// # Errors
    ///
    /// When there is no such region.
    pub async fn kill(&self, region: &str) -> Result<Change, LabError> {
        let region = self.region(region)?;
        let change = region.kill().await;
        tracing::info!(region = %region.name(), ?change, "killed");
        Ok(change)
    }

    /// Brings a region back on its port, with its data.
    ///
    /// # Errors
    ///
    /// When there is no such region, or the system refuses to listen again.
    pub async fn restore(&self, region: &str) -> Result<Change, LabError> {
        let region = self.region(region)?;
        let change = self.raise(region)?;
        tracing::info!(region = %region.name(), ?change, "restored");
        Ok(change)
    }

    /// Sets how long after their commit a region applies its peers' writes, those on their way
    /// included.
    ///
    /// # Errors
    ///
    /// When there is no such region, or the lag is too long.
    pub fn lag(&self, region: &str, lag: Duration) -> Result<(), LabError> {
        let name = self.region(region)?.name().clone();
        self.0
            .conditions
            .change(|conditions| conditions.set_lag(name, lag))
    }

    /// Sets the same for one peer's writes alone, until the next [`lag`](Self::lag) of the region.
    ///
    /// # Errors
    ///
    /// When there is no such region, the two are one, or the lag is too long.
    pub fn lag_of(&self, region: &str, peer: &str, lag: Duration) -> Result<(), LabError> {
        let region = self.region(region)?.name().clone();
        let peer = self.region(peer)?.name().clone();
        self.0
            .conditions
            .change(|conditions| conditions.set_lag_of(region, peer, lag))
    }

    /// Sets how far a region's clock is from the time of day.
    ///
    /// # Errors
    ///
    /// When there is no such region, or the skew is too large.
    pub fn skew(&self, region: &str, skew: Skew) -> Result<(), LabError> {
        let name = self.region(region)?.name().clone();
        self.0
            .conditions
            .change(|conditions| conditions.set_skew(name, skew))
    }

    /// Keeps a region's data as it is now, in the place of an earlier backup. Returns what that has
    /// applied, as `Meridian-Applied` has it.
    ///
    /// # Errors
    ///
    /// When there is no such region.
    pub fn back_up(&self, region: &str) -> Result<String, LabError> {
        Ok(self.region(region)?.back_up().to_string())
    }

    /// Puts a region's data back to its backup. Returns what it has applied then.
    ///
    /// # Errors
    ///
    /// When there is no such region, it has no backup, or the system refuses to listen again.
    pub async fn rewind(&self, region: &str, rewind: Rewind) -> Result<String, LabError> {
        let region = self.region(region)?;
        let rewound = region.rewind(rewind, &self.0.shutdown).await;
        let rewound = rewound.map_err(|source| cannot_bind(region, source))?;
        tracing::info!(region = %region.name(), ?rewind, "rewound");
        let applied = rewound.ok_or_else(|| LabError::NoBackup {
            region: region.name().to_string(),
        })?;
        Ok(applied.to_string())
    }

    /// Sets how often what a region has acknowledged reaches its disk; zero: before it acknowledges, as at the start.
    ///
    /// # Errors
    ///
    /// When there is no such region, or that is too seldom.
    pub fn flush(&self, region: &str, every: Duration) -> Result<(), LabError> {
        let region = self.region(region)?;
        region.set_flush(bounded(every)?);
        Ok(())
    }

    /// Lets a region's process die and start again: it loses what was not on its disk. Returns how many acknowledged
    /// writes that were, and what it has applied then. A region that flushes before it acknowledges loses nothing, and
    /// goes on in its epoch.
    ///
    /// # Errors
    ///
    /// When there is no such region, or the system refuses to listen again.
    pub async fn crash(&self, region: &str, rewind: Rewind) -> Result<(u64, String), LabError> {
        let region = self.region(region)?;
        let crashed = region.crash(rewind, &self.0.shutdown).await;
        let (lost, applied) = crashed.map_err(|source| cannot_bind(region, source))?;
        tracing::info!(region = %region.name(), ?rewind, lost, "crashed");
        Ok((lost, applied.to_string()))
    }

    /// Sets how long a region's answers take.
    ///
    /// # Errors
    ///
    /// When there is no such region, or the round trip is too long.
    pub fn round_trip(&self, region: &str, round_trip: Duration) -> Result<(), LabError> {
        let name = self.region(region)?.name().clone();
        self.0
            .conditions
            .change(|conditions| conditions.set_round_trip(name, round_trip))
    }

    /// Stops replication between two regions, both ways. Clients still reach both.
    ///
    /// # Errors
    ///
    /// When there is no such region, or the two are one.
    pub fn partition(&self, one: &str, other: &str) -> Result<Change, LabError> {
        let pair = (
            self.region(one)?.name().clone(),
            self.region(other)?.name().clone(),
        );
        self.0
            .conditions
            .change(|conditions| conditions.partition(pair.0, pair.1))
    }

    /// Ends every partition; what was held up flows.
    pub fn heal(&self) -> Change {
        self.0.conditions.change(Conditions::heal)
    }

    /// Lets a few clients write and read until the lab ends, about four requests a second, and tells as JSON how
    /// often they missed what they wrote.
    ///
    /// # Errors
    ///
    /// When the HTTP client cannot be built.
    pub fn sample(&self, sample: Sample) -> Result<watch::Receiver<Value>, LabError> {
        sample.begin(self)
    }

    /// Runs a task until the lab ends.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.control.spawn(task);
    }

    /// Where the nearest region that is up serves; none: all are down.
    pub(super) fn nearest(&self) -> Option<SocketAddr> {
        let regions = self.state().regions.into_iter();
        let up = regions.filter(|region| region.up);
        up.min_by_key(|region| region.round_trip_ms)
            .map(|region| region.address)
    }

    /// How things are now.
    pub fn state(&self) -> LabState {
        LabState {
            regions: self.0.regions.iter().map(|region| region.state()).collect(),
        }
    }

    /// Where a region serves.
    ///
    /// # Errors
    ///
    /// When there is no such region.
    pub fn address(&self, region: &str) -> Result<SocketAddr, LabError> {
        Ok(self.region(region)?.address())
    }

    pub(super) fn region(&self, name: &str) -> Result<&Arc<Region>, LabError> {
        let found = self
            .0
            .regions
            .iter()
            .find(|region| region.name().as_str() == name);
        found.ok_or_else(|| LabError::UnknownRegion {
            region: name.to_owned(),
            known: self
                .0
                .regions
                .iter()
                .map(|region| region.name().to_string())
                .collect(),
        })
    }

    fn raise(&self, region: &Arc<Region>) -> Result<Change, LabError> {
        region
            .restore(&self.0.shutdown)
            .map_err(|source| cannot_bind(region, source))
    }
}

fn cannot_bind(region: &Region, source: io::Error) -> LabError {
    LabError::Bind {
        region: region.name().to_string(),
        address: region.address(),
        source,
    }
}

/// A region that has its port.
struct Moored {
    name: Name,
    berth: Berth,
    require_wait: Duration,
}

/// Checks the configuration and takes every port, so that regions can be told of each other.
fn prepare(configs: Vec<RegionConfig>) -> Result<(Conditions, Vec<Moored>), LabError> {
    if configs.is_empty() {
        return Err(LabError::NoRegions);
    }
    let mut conditions = Conditions::default();
    let mut names = BTreeSet::new();
    let mut moored = Vec::new();
    for config in configs {
        let name: Name = config.name.parse()?;
        if !names.insert(name.clone()) {
            return Err(LabError::Twice {
                region: config.name,
            });
        }
        conditions.set_lag(name.clone(), config.lag)?;
        conditions.set_round_trip(name.clone(), config.round_trip)?;
        let berth = Berth::take(config.address).map_err(|source| LabError::Bind {
            region: config.name,
            address: config.address,
            source,
        })?;
        let require_wait = config.require_wait.min(DELAY_MAX);
        moored.push(Moored {
            name,
            berth,
            require_wait,
        });
    }
    Ok((conditions, moored))
}

fn assemble(
    moored: Vec<Moored>,
    conditions: &Watched<Conditions>,
) -> Result<Vec<Arc<Region>>, LabError> {
    let client = reqwest::Client::builder()
        .no_proxy() // The regions are on loopback, whatever the environment says of proxies.
        .timeout(ANSWER_TIMEOUT)
        .build()
        .map_err(LabError::Client)?;
    let all = moored.iter().map(|region| Peer {
        name: region.name.clone(),
        address: region.berth.address(),
    });
    let all = all.collect::<Vec<_>>();
    let region = |Moored {
                      name,
                      berth,
                      require_wait,
                  }| {
        let peers = all
            .iter()
            .filter(|peer| peer.name != name)
            .cloned()
            .collect();
        let (conditions, client) = (conditions.watch(), client.clone());
        Arc::new(Region::new(Parts {
            name,
            berth,
            peers,
            require_wait,
            conditions,
            client,
        }))
    };
    Ok(moored.into_iter().map(region).collect())
}
