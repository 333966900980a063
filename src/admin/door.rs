//! Who is let in to the admin's listener: so many at once, and no more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections at once: as many as may follow the events, and room for those who only ask.
pub(super) const MOST_CONNECTIONS: usize = 5_120;

/// After a failed accept, so as not to spin.
const BREATHER: Duration = Duration::from_millis(50);

/// The listener and its places.
pub(super) struct Door {
    listener: TcpListener,
    places: Arc<Semaphore>,
    is_full: bool,
}

impl Door {
    /// Lets in `most` at once.
    pub(super) fn new(listener: TcpListener, most: usize) -> Self {
        Self {
            listener,
            places: Arc::new(Semaphore::new(most)),
            is_full: false,
        }
    }

    /// The next client, and its place, which is free again once dropped. Whoever is one too many is closed at
    /// once, so that a monitor sees an error instead of waiting.
    pub(super) async fn next(&mut self) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
        loop {
            let Ok((stream, peer)) = self.listener.accept().await else {
                tokio::time::sleep(BREATHER).await;
                continue;
            };
            if let Ok(place) = self.places.clone().try_acquire_owned() {
                self.is_full = false;
                return (stream, peer, place);
            }
            if !std::mem::replace(&mut self.is_full, true) {
                tracing::warn!(%peer, "the admin has no room for more connections: closed at once");
            }
        }
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
        let mut door = Door::new(listener, 2);
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
}
