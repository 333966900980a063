//! Connections kept for the next request: one pool a worker, last in first out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::access_log::Tried;
use super::activity::Activity;
use super::body::Held;
use super::connect::{Http1, Http2, Sender, Wanted, connect};
use super::origin_tls::OriginTls;
use super::problem::Problem;
use crate::config::plan::OriginUrl;

/// Idle HTTP/1.1 connections kept per origin and worker.
const MOST_IDLE: usize = 128;

/// An idle connection older than this is not used again: most servers close theirs after 60 s or more.
const IDLE_FOR: Duration = Duration::from_secs(55);

/// A kept connection that is not ready within this is left alone: it should be at once.
const READY_WITHIN: Duration = Duration::from_millis(100);

/// Whose connections: an origin, the host that its certificate was asked for, and under which trust.
type ShelfKey = (OriginUrl, Arc<str>, u64);

/// The connections of one worker.
#[derive(Default)]
pub(super) struct Pool {
    shelves: Mutex<HashMap<ShelfKey, Shelf>>,
}

#[derive(Default)]
struct Shelf {
    /// The most recently used last.
    http1: Vec<(Http1, Instant)>,
    http2: Option<Http2>,
}

/// A connection in use.
pub(super) struct Lease {
    pub(super) sender: Sender,
    /// Whether it was used before: then it may have been closed unnoticed.
    pub(super) reused: bool,
    key: ShelfKey,
    pool: Arc<Pool>,
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
        self: &Arc<Self>,
        endpoint: &Endpoint<'_>,
        wanted: Wanted,
    ) -> Result<Lease, Problem> {
        let key: ShelfKey = (
            endpoint.url.clone(),
            endpoint.host.into(),
            endpoint.tls.number,
        );
        if wanted == Wanted::Any {
            while let Some(sender) = self.take(&key) {
                if let Some(sender) = usable(sender).await {
                    return Ok(Lease {
                        sender,
                        reused: true,
                        key,
                        pool: self.clone(),
                    });
                }
            }
        }
        self.fresh(endpoint, wanted, key).await
    }

    async fn fresh(
        self: &Arc<Self>,
        endpoint: &Endpoint<'_>,
        wanted: Wanted,
        key: ShelfKey,
    ) -> Result<Lease, Problem> {
        let sender = connect(endpoint, wanted).await?;
        if let Sender::Http2(sender) = &sender {
            self.shelves().entry(key.clone()).or_default().http2 = Some(sender.clone());
        }
        Ok(Lease {
            sender,
            reused: false,
            key,
            pool: self.clone(),
        })
    }

    fn shelves(&self) -> std::sync::MutexGuard<'_, HashMap<ShelfKey, Shelf>> {
        // Each critical section leaves the shelves whole, even if it were to panic.
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, key: &ShelfKey) -> Option<Sender> {
        let mut shelves = self.shelves();
        let shelf = shelves.get_mut(key)?;
        if let Some(http2) = &shelf.http2 {
            if !http2.sender.is_closed() {
                return Some(Sender::Http2(http2.clone()));
            }
            shelf.http2 = None;
        }
        let now = Instant::now();
        while let Some((sender, since)) = shelf.http1.pop() {
            if now.duration_since(since) > IDLE_FOR {
                shelf.http1.clear(); // Those below are older still.
                return None;
            }
            if !sender.sender.is_closed() {
                return Some(Sender::Http1(sender));
            }
        }
        None
    }

    fn put_back(&self, key: ShelfKey, sender: Http1) {
        if sender.sender.is_closed() {
            return;
        }
        let mut shelves = self.shelves();
        let shelf = shelves.entry(key).or_default();
        if shelf.http1.len() < MOST_IDLE {
            shelf.http1.push((sender, Instant::now()));
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
        let Lease {
            sender, key, pool, ..
        } = self.lease;
        match sender {
            // An origin may answer before it has read the whole request; whoever came next on this
            // connection would wait behind the rest of it.
            Sender::Http1(_) if self.activity.is_uploading() => {}
            Sender::Http1(sender) => pool.put_back(key, sender),
            Sender::Http2(_) => {}
        }
    }
}
