//! How many connections clients have, of all and of each network, and how many requests are in flight.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use metrics::Gauge;

use super::descriptors;
use crate::config::plan::ClientLimits;
use crate::registered::Registered;

static CONNECTIONS: LazyLock<Gauge> =
    LazyLock::new(|| metrics::gauge!("meridian_http_connections"));

static REFUSED: Registered<&str, 2> = Registered::new(
    |limit| metrics::counter!("meridian_http_connections_refused_total", "limit" => *limit),
);

/// What of an IPv6 address is one client: providers give each customer at least this (RFC 6177 §2).
const CLIENT_BITS_V6: u32 = 64;

/// What all clients have at present.
#[derive(Debug)]
pub(super) struct Crowd {
    /// Connections, and requests too, for which the system has files.
    bearable: u32,
    connections: AtomicU32,
    requests: AtomicU32,
    clients: Mutex<HashMap<IpAddr, u32>>,
}

/// A connection while it is open.
#[derive(Debug)]
pub(super) struct Seat {
    crowd: Arc<Crowd>,
    client: OnceLock<IpAddr>,
}

/// A request while it is in flight: until its answer has been sent.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Crowd>);

impl Default for Crowd {
    fn default() -> Self {
        Self::of(descriptors::for_clients())
    }
}

impl Crowd {
    fn of(bearable: u32) -> Self {
        Self {
            bearable,
            connections: AtomicU32::new(0),
            requests: AtomicU32::new(0),
            clients: Mutex::default(),
        }
    }

    /// A place for one more connection, if there is one.
    pub(super) fn enter(self: &Arc<Self>, limits: &ClientLimits) -> Option<Seat> {
        if !admit(
            &self.connections,
            limits.connections.unwrap_or(self.bearable),
        ) {
            refuse("connections");
            return None;
        }
        CONNECTIONS.increment(1);
        Some(Seat {
            crowd: self.clone(),
            client: OnceLock::new(),
        })
    }

    /// A place for one more request, if there is one.
    pub(super) fn begin(self: &Arc<Self>, limits: &ClientLimits) -> Option<InFlight> {
        let most = limits.requests.unwrap_or(self.bearable);
        admit(&self.requests, most).then(|| InFlight(self.clone()))
    }
}

/// Counts one more, if there are fewer than `most` (0: any number).
fn admit(count: &AtomicU32, most: u32) -> bool {
    let before = count.fetch_add(1, Ordering::Relaxed);
    let is_admitted = most == 0 || before < most;
    if !is_admitted {
        count.fetch_sub(1, Ordering::Relaxed);
    }
    is_admitted
}

fn refuse(limit: &'static str) {
    REFUSED.increment(&limit);
}

impl Seat {
    /// Counts the connection for its client; whether that may have one more.
    pub(super) fn is_granted(&self, client: IpAddr, limits: &ClientLimits) -> bool {
        let (client, most) = (network(client), limits.connections_per_client);
        let mut clients = self.crowd.clients();
        let count = clients.entry(client).or_insert(0);
        if most > 0 && *count >= most {
            refuse("connections_per_client");
            return false;
        }
        *count += 1;
        // A connection has one client, and is counted once.
        let _ = self.client.set(client);
        true
    }
}

/// The network that counts as one client.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let kept = u128::MAX << (u128::BITS - CLIENT_BITS_V6);
            Ipv6Addr::from_bits(address.to_bits() & kept).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

impl Crowd {
    fn clients(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, client: IpAddr) {
        if let Entry::Occupied(mut entry) = self.clients().entry(client) {
            if *entry.get() > 1 {
                *entry.get_mut() -= 1;
            } else {
                entry.remove();
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(client) = self.client.get() {
            self.crowd.leave(*client);
        }
        self.crowd.connections.fetch_sub(1, Ordering::Relaxed);
        CONNECTIONS.decrement(1);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NONE: ClientLimits = ClientLimits {
        connections: None,
        connections_per_client: 0,
        requests: None,
        delay: Duration::ZERO,
        memory: None,
    };

    #[test]
    fn without_a_word_there_are_as_many_as_the_system_has_files_for() {
        let crowd = Arc::new(Crowd::of(2));
        let seats: Vec<_> = (0..3).map(|_| crowd.enter(&NONE)).collect();
        assert!(seats[1].is_some() && seats[2].is_none());
        let requests: Vec<_> = (0..3).map(|_| crowd.begin(&NONE)).collect();
        assert!(requests[1].is_some() && requests[2].is_none());
        drop((seats, requests));
        assert!(crowd.enter(&NONE).is_some() && crowd.begin(&NONE).is_some());
    }

    #[test]
    fn a_limit_holds_as_it_is_said_and_0_is_none() {
        let crowd = Arc::new(Crowd::of(1));
        let limits = |most| ClientLimits {
            connections: Some(most),
            ..NONE
        };
        let mut seats: Vec<_> = (0..5).map(|_| crowd.enter(&limits(5))).collect();
        assert!(seats.iter().all(Option::is_some));
        assert!(crowd.enter(&limits(5)).is_none());
        seats.push(crowd.enter(&limits(0)));
        assert!(seats[5].is_some());
        seats.truncate(4);
        assert!(crowd.enter(&limits(5)).is_some());
    }

    #[test]
    fn an_ipv4_address_is_a_client_and_so_is_an_ipv6_64() {
        let crowd = Arc::new(Crowd::of(100));
        let limits = ClientLimits {
            connections_per_client: 2,
            ..NONE
        };
        let enter = |client: &str| {
            let seat = crowd.enter(&limits)?;
            seat.is_granted(client.parse().unwrap(), &limits)
                .then_some(seat)
        };
        let seats = [
            enter("192.0.2.1"),
            enter("::ffff:192.0.2.1"),
            enter("192.0.2.2"),
            enter("2001:db8::1"),
            enter("2001:db8::ffff:1"),
            enter("2001:db8:0:1::1"),
        ];
        assert!(seats.iter().all(Option::is_some));
        assert!(enter("192.0.2.1").is_none());
        assert!(enter("2001:db8::2").is_none());
        drop(seats);
        assert!(enter("192.0.2.1").is_some());
        assert!(crowd.clients().is_empty(), "nobody who has left is kept");
        assert_eq!(crowd.connections.load(Ordering::Relaxed), 0);
    }
}
