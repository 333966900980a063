//! Listening sockets that another process has opened: the edge that ran before, or systemd.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use listenfd::ListenFd;
use serde_json::{Value, json};
use socket2::SockRef;

use super::listeners::Protocol;

/// The sockets of one address.
pub(super) struct Lot {
    /// What for; none: for whatever the configuration has on that address.
    protocol: Option<Protocol>,
    /// The address as the configuration has it; its port may be 0.
    wanted: SocketAddr,
    sockets: Vec<OwnedFd>,
}

/// Sockets that wait to be taken.
#[derive(Default)]
pub(super) struct Inherited(Vec<Lot>);

impl Inherited {
    /// What systemd has passed (sd_listen_fds(3)); each is for the address that it is bound to.
    pub(super) fn from_environment() -> io::Result<Self> {
        let mut passed = ListenFd::from_env();
        let mut all = Self::default();
        for index in 0..passed.len() {
            let tcp = passed.take_tcp_listener(index);
            let socket = match tcp {
                Ok(listener) => listener.map(OwnedFd::from),
                Err(_) => passed.take_udp_socket(index)?.map(OwnedFd::from),
            };
            if let Some(socket) = socket {
                let wanted = local_address(&socket)?;
                all.add(None, wanted, socket);
            }
        }
        Ok(all)
    }

    fn add(&mut self, protocol: Option<Protocol>, wanted: SocketAddr, socket: OwnedFd) {
        let same = |lot: &&mut Lot| (lot.protocol, lot.wanted) == (protocol, wanted);
        match self.0.iter_mut().find(same) {
            Some(lot) => lot.sockets.push(socket),
            None => self.0.push(Lot {
                protocol,
                wanted,
                sockets: vec![socket],
            }),
        }
    }

    /// What the edge before has sent, with the list that it sent beside.
    pub(super) fn from_predecessor(list: &Value, sockets: Vec<OwnedFd>) -> Option<Self> {
        let mut all = Self::default();
        let listed = list.as_array()?;
        if listed.len() != sockets.len() {
            return None;
        }
        for (listed, socket) in listed.iter().zip(sockets) {
            let protocol = Protocol::named(listed["protocol"].as_str()?)?;
            let wanted = listed["wanted"].as_str()?.parse().ok()?;
            all.add(Some(protocol), wanted, socket);
        }
        Some(all)
    }

    /// A line of the list that [`from_predecessor`](Self::from_predecessor) reads.
    pub(super) fn listed(protocol: Protocol, wanted: SocketAddr) -> Value {
        json!({ "protocol": protocol.as_str(), "wanted": wanted.to_string() })
    }

    /// The sockets for an address of the configuration.
    pub(super) fn take(&mut self, protocol: Protocol, wanted: SocketAddr) -> Option<Vec<OwnedFd>> {
        let is_it = |lot: &Lot| {
            lot.wanted == wanted && lot.protocol.is_none_or(|its_own| its_own == protocol)
        };
        let at = self.0.iter().position(is_it)?;
        Some(self.0.swap_remove(at).sockets)
    }

    /// Where the sockets that nobody took are bound.
    pub(super) fn left(&self) -> impl Iterator<Item = SocketAddr> {
        let sockets = self.0.iter().flat_map(|lot| &lot.sockets);
        sockets.filter_map(|socket| local_address(socket).ok())
    }
}

/// Where a socket is bound.
pub(super) fn local_address(socket: &OwnedFd) -> io::Result<SocketAddr> {
    let address = SockRef::from(socket).local_addr()?.as_socket();
    address.ok_or_else(|| io::Error::other("a socket that was passed has no internet address"))
}
