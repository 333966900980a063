//! How many connections a listener has, and each of its clients. Where there is no room for one more, that goes which has asked
//! nothing for the longest (RFC 7766 §6.2.3): idle connections are cheap to hold, and must not lock out whoever asks.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::super::count::Refused;
use crate::prefix::Prefix;

/// Connections of one listener.
const MOST_CONNECTIONS: usize = 1024;

/// Connections of one client: an IPv4 address, or the /64 that a site has of IPv6 (RFC 7766 §6.2.2).
const MOST_PER_CLIENT: usize = 32;

/// How many connections each client has.
#[derive(Debug, Default)]
pub(super) struct Clients {
    seats: Arc<Mutex<Seats>>,
}

#[derive(Debug, Default)]
struct Seats {
    taken: usize,
    by_client: HashMap<Prefix, usize>,
    /// Those that wait for a message, by when they began to.
    idle: BTreeMap<u64, Idle>,
    /// How often anybody began to.
    rests: u64,
}

#[derive(Debug)]
struct Idle {
    client: Prefix,
    leave: CancellationToken,
}

/// A connection's place; given back when dropped. It waits for its first message from the beginning.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Mutex<Seats>>,
    client: Prefix,
    /// Its number among the idle.
    idle: Option<u64>,
    /// Somebody else has the place.
    leave: CancellationToken,
}

impl Clients {
    /// A seat for a client, unless it has too many, or everybody has and all are busy.
    pub(super) fn admit(&self, peer: IpAddr) -> Result<Seat, Refused> {
        let client = Prefix::around(peer, if peer.is_ipv4() { 32 } else { 64 });
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let own = seats.by_client.get(&client).copied().unwrap_or(0);
        if own >= MOST_PER_CLIENT {
            return Err(Refused::Client);
        }
        if seats.taken >= MOST_CONNECTIONS {
            let (_, longest) = seats.idle.pop_first().ok_or(Refused::Listener)?;
            longest.leave.cancel();
            seats.give_back(longest.client);
        }
        *seats.by_client.entry(client).or_default() += 1;
        seats.taken += 1;
        let mut seat = Seat {
            seats: Arc::clone(&self.seats),
            client,
            idle: None,
            leave: CancellationToken::new(),
        };
        seat.rest_among(&mut seats);
        Ok(seat)
    }
}

impl Seats {
    fn give_back(&mut self, client: Prefix) {
        self.taken = self.taken.saturating_sub(1);
        if let Some(own) = self.by_client.get_mut(&client) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                self.by_client.remove(&client);
            }
        }
    }
}

impl Seat {
    /// Its connection waits for a message; if it does already, since then.
    pub(super) fn rest(&mut self) {
        let seats = Arc::clone(&self.seats);
        self.rest_among(&mut seats.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn rest_among(&mut self, seats: &mut Seats) {
        // Who has lost its place while a message came has none to give once more.
        if self.idle.is_some() || self.leave.is_cancelled() {
            return;
        }
        seats.rests += 1;
        let idle = Idle {
            client: self.client,
            leave: self.leave.clone(),
        };
        seats.idle.insert(seats.rests, idle);
        self.idle = Some(seats.rests);
    }

    /// Its connection has a message, or the beginning of one.
    pub(super) fn stir(&mut self) {
        if let Some(number) = self.idle.take() {
            let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
            seats.idle.remove(&number);
        }
    }

    /// Does something until it is done, or somebody else has the place.
    pub(super) async fn unless_taken<T>(&self, what: impl Future<Output = T>) -> Option<T> {
        self.leave.run_until_cancelled(what).await
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.leave.is_cancelled() {
            seats.give_back(self.client);
        }
        if let Some(number) = self.idle {
            seats.idle.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_its_share_of_connections_and_no_more() {
        let clients = Clients::default();
        let peer: IpAddr = "192.0.2.1".parse().unwrap();
        let mut seats: Vec<Seat> = (0..MOST_PER_CLIENT)
            .map(|_| clients.admit(peer).unwrap())
            .collect();
        assert_eq!(clients.admit(peer).unwrap_err(), Refused::Client);
        assert!(clients.admit("192.0.2.2".parse().unwrap()).is_ok());
        seats.pop();
        assert!(clients.admit(peer).is_ok());
    }

    fn all_seats(clients: &Clients) -> Vec<Seat> {
        let of = |i: usize| IpAddr::from([10, 0, (i >> 8) as u8, i as u8]);
        let seats = (0..MOST_CONNECTIONS).map(|i| clients.admit(of(i)).unwrap());
        seats.collect()
    }

    fn taken(clients: &Clients) -> (usize, usize, usize) {
        let seats = clients.seats.lock().unwrap();
        (seats.taken, seats.by_client.len(), seats.idle.len())
    }

    #[test]
    fn all_clients_together_are_bounded() {
        let clients = Clients::default();
        let mut seats = all_seats(&clients);
        seats.iter_mut().for_each(Seat::stir);
        let peer: IpAddr = "192.0.2.1".parse().unwrap();
        assert_eq!(clients.admit(peer).unwrap_err(), Refused::Listener);
        seats.pop();
        assert!(clients.admit(peer).is_ok());
        drop(seats);
        assert_eq!(taken(&clients), (0, 0, 0));
    }

    #[test]
    fn for_one_more_the_one_goes_that_has_asked_nothing_for_the_longest() {
        let clients = Clients::default();
        let mut seats = all_seats(&clients);
        // The first has asked since, and the second is busy.
        seats[0].stir();
        seats[0].rest();
        seats[1].stir();
        let more: Vec<Seat> = (1..4)
            .map(|i| clients.admit(IpAddr::from([192, 0, 2, i])).unwrap())
            .collect();
        let told = |seats: &[Seat]| {
            let all = seats.iter().enumerate();
            let told = all.filter(|(_, seat)| seat.leave.is_cancelled());
            told.map(|(at, _)| at).collect::<Vec<_>>()
        };
        assert_eq!(told(&seats), [2, 3, 4]);
        assert_eq!(taken(&clients).0, MOST_CONNECTIONS);
        // Who had a message on its way is served, and gives no place away for the second time.
        seats[2].stir();
        seats[2].rest();
        assert_eq!(seats[2].idle, None);
        // Those who have left take nobody's place with them.
        seats.drain(2..5);
        assert_eq!(taken(&clients).0, MOST_CONNECTIONS);
        assert_eq!(told(&more), [0; 0]);
        drop((seats, more));
        assert_eq!(taken(&clients), (0, 0, 0));
    }
}
