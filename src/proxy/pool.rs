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
use super::connect::{Sender, Wanted, connect};
use super::context::Worker;
use super::http1::Http1;
use super::http2::{Http2, Place};
use super::origin_tls::OriginTls;
use super::problem::Problem;
use super::witness::Testimony;
use crate::config::plan::OriginUrl;

/// Idle HTTP/1.1 connections kept per origin and worker.
const MOST_IDLE: usize = 1024;

/// An idle connection older than this is not used again: most servers close theirs after 60 s or more, and those that do
/// earlier mostly say so.
const IDLE_FOR: Duration = Duration::from_secs(55);

/// How often kept connections are looked after.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

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
    /// The most recently used last, with when each is not used any more.
    http1: Vec<(Http1, Instant)>,
    /// Those on which all requests are that their origin takes, and one more.
    http2: Vec<(Http2, Instant)>,
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
    ) -> Result<(Sender, Lease), Problem> {
        let shelf = self.shelf(endpoint);
        if wanted == Wanted::Any
            && let Some(sender) = shelf.take()
        {
            endpoint.tried.inspect(|tried| tried.leased(true));
            return Ok((sender, Lease::of(shelf, true)));
        }
        // Rare, and its future is as large as that of TLS: it is not to be a part of every request's.
        Box::pin(shelf.fresh(endpoint, wanted)).await
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

    /// Closes kept connections that will not be used again: nobody else looks at them meanwhile.
    pub(super) fn sweep(&self) {
        lock(&self.shelves).iter().for_each(|shelf| shelf.sweep());
    }

    fn hash(&self, url: &OriginUrl, host: &str, trust: u64) -> u64 {
        self.hasher.hash_one((url, host, trust))
    }
}

/// Looks after a worker's kept connections, for as long as its runtime runs.
pub(super) async fn keep_swept(worker: Arc<Worker>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        worker.pool.sweep();
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
    ) -> Result<(Sender, Lease), Problem> {
        let sender = connect(endpoint, wanted).await?;
        endpoint.tried.inspect(|tried| tried.leased(false));
        if let Sender::Http2(place) = &sender {
            let http2 = place.connection().clone();
            lock(&self.kept).http2.push((http2, Instant::now()));
        }
        Ok((sender, Lease::of(self, false)))
    }

    fn take(&self) -> Option<Sender> {
        let mut kept = lock(&self.kept);
        let now = Instant::now();
        if let Some(place) = kept.place(now) {
            return Some(Sender::Http2(place));
        }
        while let Some((mut sender, until)) = kept.http1.pop() {
            if now <= until && sender.is_quiet() {
                return Some(Sender::Http1(sender));
            }
        }
        None
    }

    fn put_back(&self, sender: Http1) {
        let mut kept = lock(&self.kept);
        if kept.http1.len() < MOST_IDLE {
            let lasts = sender.kept_for().unwrap_or(IDLE_FOR).min(IDLE_FOR);
            kept.http1.push((sender, Instant::now() + lasts));
        }
    }

    /// Closes what is too old, and what its origin has closed.
    fn sweep(&self) {
        let (now, mut kept) = (Instant::now(), lock(&self.kept));
        kept.http1
            .retain_mut(|(sender, until)| now <= *until && sender.is_quiet());
        kept.sweep_http2(now);
    }
}

impl Kept {
    /// Room for a request over HTTP/2.
    fn place(&mut self, now: Instant) -> Option<Place> {
        self.http2.iter_mut().find_map(|(http2, used)| {
            let place = http2.place().filter(|_| !http2.is_closed())?;
            *used = now;
            Some(place)
        })
    }

    /// Lets go of what is closed or was not needed for long; the first connection of HTTP/2 is kept, and asked whether its
    /// origin is there.
    fn sweep_http2(&mut self, now: Instant) {
        let mut is_first = true;
        self.http2.retain(|(http2, used)| {
            let is_wanted = is_first || !http2.is_idle() || now.duration_since(*used) <= IDLE_FOR;
            let is_kept = is_wanted && !http2.is_closed();
            is_first &= !is_kept;
            is_kept
        });
    }
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
        // Whose request broke off gets no whole answer either, and that is not the origin's doing.
        let is_of_origin = matches!(why, BodyError::Broken(_)) && !self.activity.is_broken();
        if let Some(testimony) = self.lease.testimony.take()
            && is_of_origin
        {
            testimony.refute();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    use super::super::body::Body;
    use super::super::http1::RequestHead;
    use super::*;
    use crate::config::plan::OriginScheme;

    fn shelf() -> Shelf {
        Shelf {
            url: OriginUrl {
                scheme: OriginScheme::Http,
                host: "origin.example".into(),
                port: 80,
            },
            host: "www.example.com".into(),
            trust: 0,
            kept: Mutex::default(),
        }
    }

    /// Keeps so many connections; their origins' ends, in order.
    fn keep(shelf: &Shelf, count: usize) -> Vec<DuplexStream> {
        let connect = |_| {
            let (origin, edge) = duplex(64);
            shelf.put_back(Http1::new(edge));
            origin
        };
        (0..count).map(connect).collect()
    }

    fn kept(shelf: &Shelf) -> usize {
        lock(&shelf.kept).http1.len()
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_connections_are_kept_and_no_more() {
        let shelf = shelf();
        let _origins = keep(&shelf, MOST_IDLE + 1);
        assert_eq!(kept(&shelf), MOST_IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_used_again_within_its_time_and_not_after() {
        let shelf = shelf();
        let _origins = keep(&shelf, 2);
        tokio::time::advance(IDLE_FOR).await;
        assert!(shelf.take().is_some());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(shelf.take().is_none());
        assert_eq!(kept(&shelf), 0);
    }

    /// A connection on which its origin has answered that it keeps it for five seconds.
    async fn asked() -> (Http1, DuplexStream) {
        let (edge, mut origin) = duplex(1 << 10);
        let answer = b"HTTP/1.1 204 No Content\r\nKeep-Alive: timeout=5\r\n\r\n";
        let head = RequestHead {
            method: &http::Method::GET,
            path: &http::uri::PathAndQuery::from_static("/"),
            authority: "www.example.com",
            headers: &http::HeaderMap::new(),
        };
        let asking = Http1::new(edge).ask(&head, Body::Empty, |_| {});
        let (response, written) = tokio::join!(asking, origin.write_all(answer));
        written.unwrap();
        let Ok(response) = response else {
            panic!("no answer")
        };
        (response.into_body().take_connection().unwrap(), origin)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_its_origin_will_close_soon_is_given_up_a_second_before() {
        let shelf = shelf();
        let _older = keep(&shelf, 1);
        let (mut connection, _origin) = asked().await;
        for _ in 0..2 {
            shelf.put_back(connection);
            tokio::time::advance(Duration::from_secs(4)).await;
            let Some(Sender::Http1(again)) = shelf.take() else {
                panic!("it was to be kept for so long")
            };
            assert!(again.kept_for().is_some());
            connection = again;
        }
        shelf.put_back(connection);
        tokio::time::advance(Duration::from_millis(4_001)).await;
        let Some(Sender::Http1(older)) = shelf.take() else {
            panic!("the older one lasts longer")
        };
        assert_eq!(older.kept_for(), None);
        assert_eq!(kept(&shelf), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_its_origin_has_closed_is_not_used_again() {
        let shelf = shelf();
        let mut origins = keep(&shelf, 3);
        origins.truncate(1);
        assert!(shelf.take().is_some());
        assert!(shelf.take().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_kept_that_is_too_old_or_closed() {
        let shelf = shelf();
        let _old = keep(&shelf, 1);
        tokio::time::advance(IDLE_FOR).await;
        drop(keep(&shelf, 1));
        let _new = keep(&shelf, 1);
        shelf.sweep();
        assert_eq!(kept(&shelf), 2);
        tokio::time::advance(Duration::from_millis(1)).await;
        shelf.sweep();
        assert_eq!(kept(&shelf), 1);
    }

    /// A connection of HTTP/2 whose origin has said that it takes one request at once.
    async fn narrow() -> Http2 {
        let (edge, origin) = duplex(1 << 10);
        let mut builder = h2::server::Builder::new();
        let shaking_hands = builder
            .max_concurrent_streams(1)
            .handshake::<_, bytes::Bytes>(origin);
        let (http2, connection) = tokio::join!(Http2::open(edge), shaking_hands);
        let mut connection = connection.unwrap();
        tokio::spawn(async move { connection.accept().await.is_some() });
        tokio::time::sleep(Duration::from_secs(1)).await;
        http2.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_beyond_what_an_origin_takes_goes_on_another_connection() {
        let shelf = shelf();
        for _ in 0..2 {
            let http2 = (narrow().await, Instant::now());
            lock(&shelf.kept).http2.push(http2);
        }
        let open: Vec<Sender> = std::iter::from_fn(|| shelf.take()).collect();
        assert_eq!(open.len(), 2, "one on each, and no third");
        drop(open);
        tokio::time::advance(IDLE_FOR + Duration::from_secs(1)).await;
        shelf.sweep();
        assert_eq!(lock(&shelf.kept).http2.len(), 1, "one is kept ready");
    }
}
