//! What a worker keeps of connections in all its pools, and how much of that it may.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use hashbrown::HashTable;
use tokio::time::Instant;

use super::lock;
use super::shelf::Shelf;
use crate::proxy::descriptors;

/// Connections that a worker keeps over all its pools, where there are files for so many.
const MOST_KEPT: usize = 4_096;

/// The shelves of one pool.
pub(super) type Shelves = Mutex<HashTable<Arc<Shelf>>>;

/// What is kept is counted apart, so that many busy connections of HTTP/2 keep none of HTTP/1.1 from being used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// What all pools of a worker keep.
pub(super) struct Stock {
    http1: AtomicUsize,
    http2: AtomicUsize,
    most: usize,
    pools: Mutex<Vec<Weak<Shelves>>>,
}

impl Stock {
    /// Of one of so many workers.
    pub(super) fn of_one_of(workers: usize) -> Self {
        Self::of(descriptors::for_kept(workers).min(MOST_KEPT))
    }

    pub(super) fn of(most: usize) -> Self {
        Self {
            http1: AtomicUsize::new(0),
            http2: AtomicUsize::new(0),
            most,
            pools: Mutex::default(),
        }
    }

    /// Shelves of one more pool.
    pub(super) fn shelves(&self) -> Arc<Shelves> {
        let shelves = Arc::<Shelves>::default();
        lock(&self.pools).push(Arc::downgrade(&shelves));
        shelves
    }

    fn kept(&self, version: Version) -> &AtomicUsize {
        match version {
            Version::Http1 => &self.http1,
            Version::Http2 => &self.http2,
        }
    }

    pub(super) fn is_full(&self, version: Version) -> bool {
        self.kept(version).load(Ordering::Relaxed) >= self.most
    }

    pub(super) fn add(&self, version: Version) {
        self.kept(version).fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn remove(&self, version: Version, count: usize) {
        self.kept(version).fetch_sub(count, Ordering::Relaxed);
    }

    /// Closes what will not be used again, and forgets what nothing is kept of: nobody else looks at it meanwhile.
    pub(super) fn sweep(&self) {
        self.retain(|shelf| {
            shelf.sweep(Instant::now());
            !shelf.is_empty()
        });
    }

    /// Where it is full, lets go of a quarter of what is idle: of what would be given up next.
    pub(super) fn make_room(&self) {
        let versions = [Version::Http1, Version::Http2].into_iter();
        versions
            .filter(|version| self.is_full(*version))
            .for_each(|version| self.make_room_for(version));
    }

    fn make_room_for(&self, version: Version) {
        let mut ends = Vec::new();
        self.retain(|shelf| {
            shelf.ends(version, &mut ends);
            true
        });
        ends.sort_unstable();
        if let Some(end) = ends.get(ends.len() / 4) {
            self.retain(|shelf| {
                shelf.let_go_until(version, *end);
                !shelf.is_empty()
            });
        }
    }

    /// Asks of every shelf whether it is to stay; one that a request holds does.
    fn retain(&self, mut stays: impl FnMut(&Shelf) -> bool) {
        lock(&self.pools).retain(|pool| {
            let Some(shelves) = pool.upgrade() else {
                return false;
            };
            lock(&shelves).retain(|shelf| stays(shelf) || Arc::strong_count(shelf) > 1);
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::DuplexStream;

    use super::*;

    use crate::proxy::http1::Http1;

    /// Puts a connection on a shelf, and gives its origin's end.
    async fn keep(shelf: &Shelf) -> DuplexStream {
        tokio::time::advance(Duration::from_millis(1)).await;
        let (origin, edge) = tokio::io::duplex(64);
        shelf.put_back(Http1::new(edge));
        origin
    }

    /// A shelf of one more pool.
    fn shelf(stock: &Arc<Stock>, shelves: &Shelves) -> Arc<Shelf> {
        let shelf = Arc::new(Shelf::of_nobody(stock.clone()));
        lock(shelves).insert_unique(0, shelf.clone(), |_| 0);
        shelf
    }

    fn kept(stock: &Stock) -> usize {
        stock.http1.load(Ordering::Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_keeps_so_many_over_all_origins_and_clients_and_the_oldest_give_way() {
        let stock = Arc::new(Stock::of(8));
        let (shared, of_client) = (stock.shelves(), stock.shelves());
        let (first, second) = (shelf(&stock, &shared), shelf(&stock, &of_client));
        let mut origins = Vec::new();
        for shelf in [&first, &second].repeat(5) {
            origins.push(keep(shelf).await);
        }
        assert_eq!(kept(&stock), 8);
        stock.make_room();
        assert!(kept(&stock) < 8 && !first.is_empty() && !second.is_empty());
        origins.push(keep(&first).await);
        while first.take().is_some() || second.take().is_some() {}
        assert_eq!(kept(&stock), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn busy_connections_of_http2_keep_none_of_http1_from_being_used_again() {
        let stock = Arc::new(Stock::of(8));
        let shelf = shelf(&stock, &stock.shelves());
        (0..8).for_each(|_| stock.add(Version::Http2));
        let _origin = keep(&shelf).await;
        stock.make_room();
        assert!(shelf.take().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_left_of_a_name_that_nobody_asks_for_any_more() {
        let stock = Arc::new(Stock::of(8));
        let shelves = stock.shelves();
        let used = shelf(&stock, &shelves);
        let origin = keep(&shelf(&stock, &shelves)).await;
        stock.sweep();
        assert_eq!(lock(&shelves).len(), 2);
        drop(origin);
        stock.sweep();
        assert_eq!(lock(&shelves).len(), 1, "a request holds the other");
        drop(used);
        stock.sweep();
        assert_eq!((lock(&shelves).len(), kept(&stock)), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_s_own_connections_are_swept_and_forgotten_with_it() {
        let stock = Arc::new(Stock::of(8));
        let of_client = stock.shelves();
        let _origin = keep(&shelf(&stock, &of_client)).await;
        tokio::time::advance(Duration::from_secs(56)).await;
        stock.sweep();
        assert_eq!(kept(&stock), 0, "too old");
        let _origin = keep(&shelf(&stock, &of_client)).await;
        drop(of_client);
        assert_eq!(kept(&stock), 0);
        stock.sweep();
        assert!(lock(&stock.pools).is_empty());
    }
}
