//! Connections kept for the next request: a pool for each worker, and one for each client whose address origins are told by them.

mod dial;
mod shelf;
mod stock;

use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;
use tokio::time::Instant;

use super::access_log::Tried;
use super::activity::Activity;
use super::body::{BodyError, Held};
use super::connect::{Sender, Wanted};
use super::context::Worker;
use super::http1::Http1;
use super::origin_tls::OriginTls;
use super::problem::Problem;
use super::witness::Testimony;
use crate::config::plan::{HostPattern, OriginScheme, OriginUrl};
use shelf::Shelf;
use stock::{Shelves, Stock};

/// How often kept connections are looked after.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Connections that serve all of a worker, or one client alone.
pub(super) struct Pool {
    shelves: Arc<Shelves>,
    hasher: RandomState,
    stock: Arc<Stock>,
}

/// A connection in use, which the exchange itself has.
pub(super) struct Lease {
    /// Whether it was used before: then it may have been closed unnoticed.
    pub(super) reused: bool,
    /// What the answer says of its origin, as long as it lasts.
    pub(super) testimony: Option<Testimony>,
    shelf: Arc<Shelf>,
}

/// Where to connect, and how.
#[derive(Clone, Copy)]
pub(super) struct Endpoint<'a> {
    pub(super) url: &'a OriginUrl,
    pub(super) host: &'a str,
    /// Those of the service.
    pub(super) hosts: &'a [HostPattern],
    pub(super) tls: &'a OriginTls,
    /// Zero: for ever.
    pub(super) connect_timeout: Duration,
    /// What a new connection begins with.
    pub(super) proxy_header: Option<&'a [u8]>,
    /// Is told how long connecting took.
    pub(super) tried: Option<&'a Tried>,
}

impl Endpoint<'_> {
    /// How long connecting may take.
    pub(super) fn limit(&self) -> Duration {
        if self.connect_timeout.is_zero() {
            Duration::MAX
        } else {
            self.connect_timeout
        }
    }

    /// Whether the host is one of many that a wildcard stands for: the client has picked it.
    pub(super) fn is_picked(&self) -> bool {
        let is_own = |own: &HostPattern| !own.is_wildcard() && own.matches(self.host);
        !self.hosts.iter().any(is_own)
    }

    /// The host of the request, if it is what the origin's certificate is asked for.
    fn certified_host(&self) -> &str {
        let is_asked = self.url.scheme == OriginScheme::Https && self.tls.server_name.is_none();
        if is_asked { self.host } else { "" }
    }
}

impl Pool {
    /// The one that serves all of one of so many workers.
    pub(super) fn of_one_of(workers: usize) -> Self {
        Self::with(Arc::new(Stock::of_one_of(workers)))
    }

    /// One more, which serves a client alone, and is swept and bounded with this one.
    pub(super) fn of_client(&self) -> Self {
        Self::with(self.stock.clone())
    }

    fn with(stock: Arc<Stock>) -> Self {
        Self {
            shelves: stock.shelves(),
            hasher: RandomState::default(),
            stock,
        }
    }

    /// A kept connection, or a new one.
    pub(super) async fn lease(
        &self,
        endpoint: &Endpoint<'_>,
        wanted: Wanted,
    ) -> Result<(Sender, Lease), Problem> {
        let shelf = self.shelf(endpoint);
        if wanted == Wanted::Any
            && let Some(sender) = shelf.take()
        {
            return Ok(shelf.leased(endpoint, sender));
        }
        // Rare, and its future is as large as that of TLS: it is not to be a part of every request's.
        match wanted {
            Wanted::Any => Box::pin(shelf.joint(endpoint, None)).await,
            Wanted::New | Wanted::Http1 => Box::pin(shelf.fresh(endpoint, wanted)).await,
        }
    }

    /// A connection of others that was opened since, or a new one.
    pub(super) async fn lease_since(
        &self,
        endpoint: &Endpoint<'_>,
        since: Instant,
    ) -> Result<(Sender, Lease), Problem> {
        let shelf = self.shelf(endpoint);
        match shelf.take_since(since) {
            Some(sender) => Ok(shelf.leased(endpoint, sender)),
            None => shelf.joint(endpoint, Some(since)).await,
        }
    }

    /// A new connection.
    pub(super) async fn fresh(
        &self,
        endpoint: &Endpoint<'_>,
        wanted: Wanted,
    ) -> Result<(Sender, Lease), Problem> {
        self.shelf(endpoint).fresh(endpoint, wanted).await
    }

    fn shelf(&self, endpoint: &Endpoint<'_>) -> Arc<Shelf> {
        let hash = |shelf: &Arc<Shelf>| self.hash(&shelf.url, &shelf.host, shelf.trust);
        let wanted = self.hash(endpoint.url, endpoint.certified_host(), endpoint.tls.number);
        let mut shelves = lock(&self.shelves);
        if let Some(shelf) = shelves.find(wanted, |shelf| shelf.is_of(endpoint)) {
            return shelf.clone();
        }
        let shelf = Arc::new(Shelf::new(endpoint, self.stock.clone()));
        shelves.insert_unique(wanted, shelf.clone(), hash);
        shelf
    }

    fn hash(&self, url: &OriginUrl, host: &str, trust: u64) -> u64 {
        self.hasher.hash_one((url, host, trust))
    }
}

/// Looks after a worker's kept connections, for as long as its runtime runs.
pub(super) async fn keep_swept(worker: Arc<Worker>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        worker.pool.stock.sweep();
    }
}

/// Each critical section leaves what is behind the lock whole, even if it were to panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lease {
    fn of(shelf: Arc<Shelf>, reused: bool) -> Self {
        Self {
            reused,
            testimony: None,
            shelf,
        }
    }

    /// What to hold while the response body streams: when it has ended well, the connection is kept.
    pub(super) fn until_body_ends(
        self,
        activity: Arc<Activity>,
        also: Box<dyn Send + Sync>,
    ) -> Box<dyn Held> {
        Box::new(Exchange {
            lease: self,
            activity,
            _also: also,
        })
    }
}

struct Exchange {
    lease: Lease,
    activity: Arc<Activity>,
    /// Counts that end with the exchange.
    _also: Box<dyn Send + Sync>,
}

impl Held for Exchange {
    fn ended(self: Box<Self>, connection: Option<Http1>) {
        if let Some(connection) = connection {
            self.lease.shelf.put_back(connection);
        }
    }

    fn broke_off(mut self: Box<Self>, why: &BodyError) {
        // Whose request broke off gets no whole answer either, and that is not the origin's doing. Nor may it be if the
        // client took nothing for a while: the origin may wait less long.
        let is_of_origin = matches!(why, BodyError::Broken(_))
            && !self.activity.is_broken()
            && !self.activity.was_held_back();
        if let Some(testimony) = self.lease.testimony.take()
            && is_of_origin
        {
            testimony.refute();
        }
    }
}

#[cfg(test)]
mod tests;
