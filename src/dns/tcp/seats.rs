//! How many connections a listener has, and each of its clients.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

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
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Mutex<Seats>>,
    client: Prefix,
}

impl Clients {
    /// A seat for a client, unless it or everybody has too many.
    pub(super) fn admit(&self, peer: IpAddr) -> Result<Seat, Refused> {
        let client = Prefix::around(peer, if peer.is_ipv4() { 32 } else { 64 });
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        if seats.taken >= MOST_CONNECTIONS {
            return Err(Refused::Listener);
        }
        let own = seats.by_client.entry(client).or_default();
        if *own >= MOST_PER_CLIENT {
            return Err(Refused::Client);
        }
        *own += 1;
        seats.taken += 1;
        let seats = Arc::clone(&self.seats);
        Ok(Seat { seats, client })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.taken = seats.taken.saturating_sub(1);
        if let Some(own) = seats.by_client.get_mut(&self.client) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                seats.by_client.remove(&self.client);
            }
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

    #[test]
    fn all_clients_together_are_bounded() {
        let clients = Clients::default();
        let seats: Vec<Result<Seat, Refused>> = (0..=MOST_CONNECTIONS)
            .map(|i| clients.admit(IpAddr::from([10, 0, (i >> 8) as u8, i as u8])))
            .collect();
        assert!(seats[MOST_CONNECTIONS - 1].is_ok());
        let over = seats[MOST_CONNECTIONS].as_ref();
        assert_eq!(over.unwrap_err(), &Refused::Listener);
    }
}
