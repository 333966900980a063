//! Kept connections that may serve for each other, last in first out.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::dial::{self, Dial, Dialer, Way};
use super::stock::{Stock, Version};
use super::{Endpoint, Lease, lock};
use crate::config::plan::{OriginScheme, OriginUrl};
use crate::http2::MOST_AT_FIRST;
use crate::proxy::connect::{Sender, Wanted, connect, within};
use crate::proxy::http1::Http1;
use crate::proxy::http2::{Http2, Place};
use crate::proxy::problem::Problem;

/// Idle HTTP/1.1 connections kept on a shelf.
const MOST_IDLE: usize = 1024;

/// An idle connection older than this is not used again: most servers close theirs after 60 s or more, and those that do
/// earlier mostly say so.
const IDLE_FOR: Duration = Duration::from_secs(55);

/// How long the first connection of HTTP/2 is kept ready that nobody uses.
const READY_FOR: Duration = Duration::from_secs(300);

/// Connections of others that a request waits for without getting room on them; then it makes its own.
const MOST_JOINED: usize = 2;

/// Connections on which an origin takes nothing of what waits for it; whoever has so many gets no others.
const MOST_CROWDED: usize = 2;

/// Kept connections to one origin, whose certificate was asked for one name under one trust.
pub(super) struct Shelf {
    pub(super) url: OriginUrl,
    /// Empty where no certificate is asked for the host of a request.
    pub(super) host: Box<str>,
    pub(super) trust: u64,
    kept: Mutex<Kept>,
    /// Tells of each connection that turns out to be of HTTP/2.
    made: Notify,
    stock: Arc<Stock>,
}

#[derive(Default)]
struct Kept {
    /// The most recently used last, with when each is not used any more.
    http1: Vec<(Http1, Instant)>,
    /// Those on which all requests are that their origin takes, and one more; with when each was last used.
    http2: Vec<(Http2, Instant)>,
    /// Those of HTTP/2 that are being made.
    dials: Vec<Dial>,
    /// Whether the last one that was made is of HTTP/2, where its origin had the choice.
    speaks_http2: bool,
}

impl Shelf {
    pub(super) fn new(endpoint: &Endpoint<'_>, stock: Arc<Stock>) -> Self {
        let url = endpoint.url.clone();
        Self::of(url, endpoint.certified_host(), endpoint.tls.number, stock)
    }

    pub(super) fn of(url: OriginUrl, host: &str, trust: u64, stock: Arc<Stock>) -> Self {
        Self {
            url,
            host: host.into(),
            trust,
            kept: Mutex::default(),
            made: Notify::new(),
            stock,
        }
    }

    /// Of an origin that nobody connects to.
    #[cfg(test)]
    pub(super) fn of_nobody(stock: Arc<Stock>) -> Self {
        let url = OriginUrl {
            scheme: OriginScheme::Http,
            host: "origin.example".into(),
            port: 80,
        };
        Self::of(url, "", 0, stock)
    }

    pub(super) fn is_of(&self, endpoint: &Endpoint<'_>) -> bool {
        self.trust == endpoint.tls.number
            && *self.host == *endpoint.certified_host()
            && self.url == *endpoint.url
    }

    /// A connection that somebody is making meanwhile and that has room, or a new one; of those that are kept none that was
    /// opened before `since`.
    pub(super) async fn joint(
        self: Arc<Self>,
        endpoint: &Endpoint<'_>,
        since: Option<Instant>,
    ) -> Result<(Sender, Lease), Problem> {
        let mut joins = 0;
        while joins < MOST_JOINED {
            let mut joined = match self.way(endpoint) {
                Way::Dial(dialer) => match self.clone().dial(endpoint, dialer).await {
                    Some(made) => return made,
                    None => continue,
                },
                Way::Join(joined) => joined,
            };
            joins += 1;
            let began = Instant::now();
            within(endpoint, joined.made()).await?;
            // Whose time is over makes its own: this one is no failure.
            let _ = tokio::time::timeout(endpoint.limit(), joined.shared()).await;
            let waited = began.elapsed();
            endpoint
                .tried
                .inspect(|tried| tried.connected(waited, Duration::ZERO));
            let sender = match since {
                Some(since) => self.take_since(since),
                None => self.take(),
            };
            if let Some(sender) = sender {
                return Ok(self.leased(endpoint, sender));
            }
        }
        self.fresh(endpoint, Wanted::Any).await
    }

    /// A new connection, for those who wait for it too; none, where nobody knew which version it would be of, and somebody else
    /// has made one of HTTP/2 sooner.
    async fn dial(
        self: Arc<Self>,
        endpoint: &Endpoint<'_>,
        dialer: Option<Dialer>,
    ) -> Option<Result<(Sender, Lease), Problem>> {
        if dialer.is_some() {
            return Some(self.make(endpoint, Wanted::Any, dialer).await);
        }
        tokio::select! {
            biased;
            () = self.made.notified() => None,
            fresh = self.clone().fresh(endpoint, Wanted::Any) => Some(fresh),
        }
    }

    fn way(&self, endpoint: &Endpoint<'_>) -> Way {
        let mut kept = lock(&self.kept);
        if !kept.speaks_http2 && self.url.scheme != OriginScheme::H2c {
            return Way::Dial(None);
        }
        let most = kept.most_at_once();
        dial::way(&mut kept.dials, most, endpoint.limit())
    }

    /// A connection that was there before its request.
    pub(super) fn leased(
        self: Arc<Self>,
        endpoint: &Endpoint<'_>,
        kept: Sender,
    ) -> (Sender, Lease) {
        endpoint.tried.inspect(|tried| tried.leased(true));
        (kept, Lease::of(self, true))
    }

    pub(super) async fn fresh(
        self: Arc<Self>,
        endpoint: &Endpoint<'_>,
        wanted: Wanted,
    ) -> Result<(Sender, Lease), Problem> {
        self.make(endpoint, wanted, None).await
    }

    async fn make(
        self: Arc<Self>,
        endpoint: &Endpoint<'_>,
        wanted: Wanted,
        dialer: Option<Dialer>,
    ) -> Result<(Sender, Lease), Problem> {
        let sender = match self.connect(endpoint, wanted).await {
            Ok(sender) => sender,
            Err(problem) => {
                dialer
                    .into_iter()
                    .for_each(|dialer| dialer.failed(&problem));
                return Err(problem);
            }
        };
        match &sender {
            Sender::Http2(place) => {
                let dialer = dialer.unwrap_or_else(|| self.announce(endpoint));
                dialer.made();
                tokio::spawn(self.clone().share(place.settled(), dialer));
            }
            Sender::Http1(_) => {
                lock(&self.kept).speaks_http2 &= wanted == Wanted::Http1;
                dialer.into_iter().for_each(Dialer::shared);
            }
        }
        endpoint.tried.inspect(|tried| tried.leased(false));
        Ok((sender, Lease::of(self, false)))
    }

    async fn connect(&self, endpoint: &Endpoint<'_>, wanted: Wanted) -> Result<Sender, Problem> {
        if wanted != Wanted::Http1 && lock(&self.kept).crowded() >= MOST_CROWDED {
            let why = "it takes nothing of the requests that wait for it";
            return Err(Problem::Unreachable(format!("{}: {why}", endpoint.url)));
        }
        self.stock.make_room();
        connect(endpoint, wanted).await
    }

    /// Keeps a new connection for others, once its origin has said how many requests it takes at once: some end what is more in
    /// ways that cost a request its answer.
    async fn share(self: Arc<Self>, settled: impl Future<Output = Http2>, dialer: Dialer) {
        let http2 = settled.await;
        if !http2.is_closed() {
            lock(&self.kept).http2.push((http2, Instant::now()));
            self.stock.add(Version::Http2);
        }
        dialer.shared();
    }

    /// Has others wait for a connection that turns out to be of HTTP/2, instead of making theirs.
    fn announce(&self, endpoint: &Endpoint<'_>) -> Dialer {
        let mut kept = lock(&self.kept);
        kept.speaks_http2 = true;
        let most = kept.most_at_once();
        let dialer = dial::announce(&mut kept.dials, most, endpoint.limit());
        self.made.notify_waiters();
        dialer
    }

    /// A connection that is kept.
    pub(super) fn take(&self) -> Option<Sender> {
        let mut kept = lock(&self.kept);
        let now = Instant::now();
        if let Some(place) = kept.place(now, None) {
            return Some(Sender::Http2(place));
        }
        while let Some((mut sender, until)) = kept.http1.pop() {
            self.stock.remove(Version::Http1, 1);
            if now <= until && sender.is_quiet() {
                return Some(Sender::Http1(sender));
            }
        }
        None
    }

    /// Room on a connection of others that was opened since.
    pub(super) fn take_since(&self, since: Instant) -> Option<Sender> {
        let place = lock(&self.kept).place(Instant::now(), Some(since));
        place.map(Sender::Http2)
    }

    pub(super) fn put_back(&self, sender: Http1) {
        let mut kept = lock(&self.kept);
        if kept.http1.len() < MOST_IDLE && !self.stock.is_full(Version::Http1) {
            let lasts = sender.kept_for().unwrap_or(IDLE_FOR).min(IDLE_FOR);
            kept.http1.push((sender, Instant::now() + lasts));
            self.stock.add(Version::Http1);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        let kept = lock(&self.kept);
        kept.http1.is_empty() && kept.http2.is_empty()
    }

    /// Closes what is too old, and what its origin has closed.
    pub(super) fn sweep(&self, now: Instant) {
        self.let_go(|kept| {
            kept.http1
                .retain_mut(|(sender, until)| now <= *until && sender.is_quiet());
            kept.sweep_http2(now);
        });
    }

    /// Adds when each idle connection would be given up.
    pub(super) fn ends(&self, version: Version, ends: &mut Vec<Instant>) {
        let kept = lock(&self.kept);
        match version {
            Version::Http1 => ends.extend(kept.http1.iter().map(|(_, until)| *until)),
            Version::Http2 => {
                let idle = kept.http2.iter().filter(|(http2, _)| http2.is_idle());
                ends.extend(idle.map(|(_, used)| *used + IDLE_FOR));
            }
        }
    }

    /// Closes the idle ones that would be given up by then.
    pub(super) fn let_go_until(&self, version: Version, end: Instant) {
        self.let_go(|kept| match version {
            Version::Http1 => kept.http1.retain(|(_, until)| *until > end),
            Version::Http2 => kept
                .http2
                .retain(|(http2, used)| !http2.is_idle() || *used + IDLE_FOR > end),
        });
    }

    fn let_go(&self, act: impl FnOnce(&mut Kept)) {
        let mut kept = lock(&self.kept);
        let (http1, http2) = (kept.http1.len(), kept.http2.len());
        act(&mut kept);
        self.stock.remove(Version::Http1, http1 - kept.http1.len());
        self.stock.remove(Version::Http2, http2 - kept.http2.len());
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        self.let_go(|kept| *kept = Kept::default());
    }
}

impl Kept {
    /// How many requests a connection takes, as far as is known of the last one.
    fn most_at_once(&self) -> usize {
        let last = self.http2.last();
        last.map_or(MOST_AT_FIRST, |(http2, _)| http2.most_at_once())
    }

    /// Room for a request over HTTP/2, on a connection that was opened since.
    fn place(&mut self, now: Instant, since: Option<Instant>) -> Option<Place> {
        let is_since = |http2: &Http2| since.is_none_or(|since| http2.opened() >= since);
        let mut able = self.http2.iter_mut().filter(|(http2, _)| is_since(http2));
        able.find_map(|(http2, used)| {
            let place = http2.place().filter(|_| !http2.is_closed())?;
            *used = now;
            Some(place)
        })
    }

    /// On how many too much waits to be written.
    fn crowded(&self) -> usize {
        let crowded = self.http2.iter().filter(|(http2, _)| http2.is_crowded());
        crowded.count()
    }

    /// Lets go of what is closed or was not needed for long.
    fn sweep_http2(&mut self, now: Instant) {
        let mut is_first = true;
        self.http2.retain(|(http2, used)| {
            let lasts = if is_first { READY_FOR } else { IDLE_FOR };
            let is_wanted = !http2.is_idle() || now.duration_since(*used) <= lasts;
            let is_kept = is_wanted && !http2.is_closed();
            is_first &= !is_kept;
            is_kept
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    use crate::proxy::body::Body;
    use crate::proxy::http1::RequestHead;

    fn shelf() -> Shelf {
        Shelf::of_nobody(Arc::new(Stock::of(usize::MAX)))
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
        shelf.sweep(Instant::now());
        assert_eq!(kept(&shelf), 2);
        tokio::time::advance(Duration::from_millis(1)).await;
        shelf.sweep(Instant::now());
        assert_eq!(kept(&shelf), 1);
    }

    /// A connection of HTTP/2 whose origin has said that it takes one request at once.
    async fn narrow() -> Http2 {
        let (edge, origin) = duplex(1 << 10);
        let mut builder = h2::server::Builder::new();
        let shaking_hands = builder
            .max_concurrent_streams(1)
            .handshake::<_, bytes::Bytes>(origin);
        let http2 = Http2::open(edge);
        let mut connection = shaking_hands.await.unwrap();
        tokio::spawn(async move { connection.accept().await.is_some() });
        tokio::time::sleep(Duration::from_secs(1)).await;
        http2
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_kept_connection_has_cost_goes_on_none_that_was_opened_before() {
        let shelf = shelf();
        let keep = |http2| lock(&shelf.kept).http2.push((http2, Instant::now()));
        keep(narrow().await);
        let lost = Instant::now();
        assert!(shelf.take_since(lost).is_none());
        keep(narrow().await);
        let taken = shelf.take_since(lost);
        assert!(taken.is_some() && shelf.take_since(lost).is_none());
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
        shelf.sweep(Instant::now());
        assert_eq!(lock(&shelf.kept).http2.len(), 1, "one is kept ready");
        tokio::time::advance(READY_FOR).await;
        shelf.sweep(Instant::now());
        assert!(shelf.is_empty(), "nobody uses it");
    }
}
