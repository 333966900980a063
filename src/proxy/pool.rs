//! Connections kept for the next request: one pool a worker, last in first out.

use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use tokio::time::Instant;

use super::access_log::Tried;
use super::activity::Activity;
use super::body::{BodyError, Held};
use super::connect::{Http1, Http2, Sender, Wanted, connect};
use super::origin_tls::OriginTls;
use super::problem::Problem;
use super::witness::Testimony;
use crate::config::plan::OriginUrl;

/// Idle HTTP/1.1 connections kept per origin and worker.
const MOST_IDLE: usize = 128;

/// An idle connection older than this is not used again: most servers close theirs after 60 s or more.
const IDLE_FOR: Duration = Duration::from_secs(55);

/// A kept connection that is not ready within this is left alone: it should be at once.
const READY_WITHIN: Duration = Duration::from_millis(100);

/// The connections of one worker.
#[derive(Default)]
pub(super) struct Pool {
    shelves: Mutex<HashTable<Arc<Shelf>>>,
    hasher: RandomState,
}

/// Kept connections that may serve for each other: to one origin, whose certificate was asked for one host
/// under one trust.
struct Shelf {
    url: OriginUrl,
    host: Box<str>,
    trust: u64,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// The most recently used last.
    http1: Vec<(Http1, Instant)>,
    http2: Option<Http2>,
}

/// A connection in use.
pub(super) struct Lease {
    pub(super) sender: Sender,
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
    pub(super) tls: &'a OriginTls,
    pub(super) connect_timeout: Duration,
    /// What a new connection begins with.
    pub(super) proxy_header: Option<&'a [u8]>,
    /// Is told how long connecting took.
    pub(super) tried: Option<&'a Tried>,
}

impl Pool {
    /// A kept connection, or a new one.
    pub(super) async fn lease(
        &self,
        endpoint: &Endpoint<'_>,
        wanted: Wanted,
    ) -> Result<Lease, Problem> {
        let shelf = self.shelf(endpoint);
        if wanted == Wanted::Any {
            while let Some(sender) = shelf.take() {
                if let Some(sender) = usable(sender).await {
                    return Ok(Lease {
                        sender,
                        reused: true,
                        testimony: None,
                        shelf,
                    });
                }
            }
        }
        // Rare, and its future is as large as that of TLS: it is not to be a part of every request's.
        Box::pin(shelf.fresh(endpoint, wanted)).await
    }

    fn shelf(&self, endpoint: &Endpoint<'_>) -> Arc<Shelf> {
        let hash = |shelf: &Arc<Shelf>| self.hash(&shelf.url, &shelf.host, shelf.trust);
        let wanted = self.hash(endpoint.url, endpoint.host, endpoint.tls.number);
        let mut shelves = lock(&self.shelves);
        if let Some(shelf) = shelves.find(wanted, |shelf| shelf.is_of(endpoint)) {
            return shelf.clone();
        }
        let shelf = Arc::new(Shelf {
            url: endpoint.url.clone(),
            host: endpoint.host.into(),
            trust: endpoint.tls.number,
            kept: Mutex::default(),
        });
        shelves.insert_unique(wanted, shelf.clone(), hash);
        shelf
    }

    fn hash(&self, url: &OriginUrl, host: &str, trust: u64) -> u64 {
        self.hasher.hash_one((url, host, trust))
    }
}

/// Each critical section leaves what is behind the lock whole, even if it were to panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shelf {
    fn is_of(&self, endpoint: &Endpoint<'_>) -> bool {
        self.trust == endpoint.tls.number
            && *self.host == *endpoint.host
            && self.url == *endpoint.url
    }

    async fn fresh(
        self: Arc<Self>,
        endpoint: &Endpoint<'_>,
        wanted: Wanted,
    ) -> Result<Lease, Problem> {
        let sender = connect(endpoint, wanted).await?;
        if let Sender::Http2(sender) = &sender {
            lock(&self.kept).http2 = Some(sender.clone());
        }
        Ok(Lease {
            sender,
            reused: false,
            testimony: None,
            shelf: self,
        })
    }

    fn take(&self) -> Option<Sender> {
        let mut kept = lock(&self.kept);
        if let Some(http2) = &kept.http2 {
            if !http2.sender.is_closed() {
                return Some(Sender::Http2(http2.clone()));
            }
            kept.http2 = None;
        }
        let now = Instant::now();
        while let Some((sender, since)) = kept.http1.pop() {
            if now.duration_since(since) > IDLE_FOR {
                kept.http1.clear(); // Those below are older still.
                return None;
            }
            if !sender.sender.is_closed() {
                return Some(Sender::Http1(sender));
            }
        }
        None
    }

    fn put_back(&self, sender: Http1) {
        if sender.sender.is_closed() {
            return;
        }
        let mut kept = lock(&self.kept);
        if kept.http1.len() < MOST_IDLE {
            kept.http1.push((sender, Instant::now()));
        }
    }
}

/// The sender once it takes a request; none if it is closed, or still busy with another.
async fn usable(mut sender: Sender) -> Option<Sender> {
    let ready = async {
        match &mut sender {
            Sender::Http1(http1) => http1.sender.ready().await,
            Sender::Http2(http2) => http2.sender.ready().await,
        }
    };
    let ready = tokio::time::timeout(READY_WITHIN, ready).await;
    matches!(ready, Ok(Ok(()))).then_some(sender)
}

impl Lease {
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
    fn ended(self: Box<Self>) {
        let Lease { sender, shelf, .. } = self.lease;
        match sender {
            // An origin may answer before it has read the whole request; whoever came next on this
            // connection would wait behind the rest of it.
            Sender::Http1(_) if self.activity.is_uploading() => {}
            Sender::Http1(sender) => shelf.put_back(sender),
            Sender::Http2(_) => {}
        }
    }

    fn broke_off(mut self: Box<Self>, why: &BodyError) {
        // Whose request broke off gets no whole answer either, and that is not the origin's doing.
        let is_of_origin = matches!(why, BodyError::Broken(_)) && !self.activity.is_broken();
        if let Some(testimony) = self.lease.testimony.take()
            && is_of_origin
        {
            testimony.refute();
        }
    }
}
