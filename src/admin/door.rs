//! Who is let in to the admin's listener: so many at once, so many of one address, and no more.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::attempts::network;
use crate::prefix::Prefix;

/// Connections at once: as many as may follow the events, and room for those who only ask.
pub(super) const MOST_CONNECTIONS: usize = 5_120;

/// Connections at once of one address of IPv4 or /64 of IPv6, of this machine too: a few hundred pages behind one proxy or
/// tunnel, and none of them takes all places.
pub(super) const MOST_OF_ONE: usize = 256;

/// Who comes without end finds no room without end.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// After a failed accept, so as not to spin.
const BREATHER: Duration = Duration::from_millis(50);

/// The listener and its places.
pub(super) struct Door {
    listener: TcpListener,
    places: Arc<Semaphore>,
    /// Of those who have been here; who has left is forgotten as others come.
    of_each: HashMap<Prefix, Arc<Semaphore>>,
    most_of_one: usize,
    /// When it was last told that somebody found no room.
    told: Option<Instant>,
}

/// A client's place, free again once dropped.
pub(super) struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_its_own: OwnedSemaphorePermit,
}

impl Door {
    /// Lets in `most` at once, and `most_of_one` of an address.
    pub(super) fn new(listener: TcpListener, most: usize, most_of_one: usize) -> Self {
        Self {
            listener,
            places: Arc::new(Semaphore::new(most)),
            of_each: HashMap::new(),
            most_of_one,
            told: None,
        }
    }

    /// The next client, and its place. Whoever is one too many is closed at once, so that a monitor sees an error
    /// instead of waiting.
    pub(super) async fn next(&mut self) -> (TcpStream, SocketAddr, Place) {
        loop {
            let Ok((stream, peer)) = self.listener.accept().await else {
                tokio::time::sleep(BREATHER).await;
                continue;
            };
            if let Some(place) = self.place(peer) {
                return (stream, peer, place);
            }
            if self.is_to_be_told() {
                tracing::warn!(%peer, "the admin has no room for more connections, or for more of this address: closed at once");
            }
        }
    }

    /// Whether it is time to tell that somebody found no room; then it is told.
    fn is_to_be_told(&mut self) -> bool {
        let was_told = self.told.is_some_and(|told| told.elapsed() < TELL_EVERY);
        if !was_told {
            self.told = Some(Instant::now());
        }
        !was_told
    }

    fn place(&mut self, peer: SocketAddr) -> Option<Place> {
        let of_all = self.places.clone().try_acquire_owned().ok()?;
        // Whoever has left holds nothing of it any more. Seldom: there are as many as have a place, or twice that.
        if self.of_each.len() > 2 * MOST_CONNECTIONS {
            self.of_each.retain(|_, own| Arc::strong_count(own) > 1);
        }
        let own = self.of_each.entry(network(peer.ip()));
        let own = own.or_insert_with(|| Arc::new(Semaphore::new(self.most_of_one)));
        Some(Place {
            _of_all: of_all,
            _of_its_own: own.clone().try_acquire_owned().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn one_too_many_is_closed_at_once_and_whoever_leaves_makes_room() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut door = Door::new(listener, 2, 2);
        let connect = || async move { TcpStream::connect(address).await.unwrap() };
        let (_one, _two) = (connect().await, connect().await);
        let (first, second) = (door.next().await, door.next().await);
        let mut third = connect().await;
        let read = async { third.read(&mut [0]).await };
        tokio::select! {
            _ = door.next() => panic!("there was no room"),
            read = read => assert!(!matches!(read, Ok(1..))),
        }
        drop(second);
        let fourth = connect().await;
        assert_eq!(door.next().await.1, fourth.local_addr().unwrap());
        drop(first);
    }

    #[tokio::test(start_paused = true)]
    async fn that_there_is_no_room_is_told_once_a_minute() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut door = Door::new(listener, 0, 0);
        let mut told_at = Vec::new();
        for tenth in 0..1_300 {
            if door.is_to_be_told() {
                told_at.push(tenth / 10);
            }
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        assert_eq!(told_at, [0, 60, 120]);
    }

    #[tokio::test]
    async fn one_address_takes_its_own_places_and_leaves_the_others_theirs() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut door = Door::new(listener, 4, 2);
        let from = |text: &str| SocketAddr::new(text.parse().unwrap(), 9);
        let one = [door.place(from("192.0.2.1")), door.place(from("192.0.2.1"))];
        assert!(one.iter().all(Option::is_some));
        assert!(door.place(from("192.0.2.1")).is_none());
        let other = door.place(from("2001:db8::1"));
        let of_its_network = door.place(from("2001:db8::2"));
        assert!(other.is_some() && of_its_network.is_some());
        drop(one);
        assert!(door.place(from("2001:db8::3")).is_none());
        assert!(door.place(from("192.0.2.1")).is_some());
    }

    #[tokio::test]
    async fn who_has_left_is_forgotten_in_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut door = Door::new(listener, 1, 1);
        for client in 0..30_000 {
            let client = std::net::Ipv4Addr::from_bits(client);
            assert!(door.place(SocketAddr::new(client.into(), 9)).is_some());
            assert!(door.of_each.len() <= 2 * MOST_CONNECTIONS + 1);
        }
    }
}
