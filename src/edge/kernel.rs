//! Round trips of clients' connections, as the kernel measures them: a dump of sock_diag(7).
//!
//! Nothing on the way of a request takes part: every few seconds the kernel is asked for the
//! established connections of the ports that are listened on, with their TCP_INFO.

use std::io;
use std::net::{IpAddr, SocketAddr};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags,
};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr as NetlinkAddr};

/// The connections of a family that one dump takes in.
const MOST_CONNECTIONS: usize = 16_384;

/// Clients of the connections to these addresses with their least round trips, ms. The least is what the
/// network takes; the average has the client's own delays in it.
pub(super) fn round_trips(listeners: &[SocketAddr]) -> io::Result<Vec<(IpAddr, f64)>> {
    at_most(MOST_CONNECTIONS, listeners)
}

fn at_most(most: usize, listeners: &[SocketAddr]) -> io::Result<Vec<(IpAddr, f64)>> {
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        let enough = found.len() + most;
        dump(family, |response| {
            let id = &response.header.socket_id;
            let is_ours = listeners.iter().any(|at| at.port() == id.source_port);
            if let Some(ms) = least_ms(response).filter(|_| is_ours) {
                found.push((id.destination_address.to_canonical(), ms));
            }
            found.len() < enough
        })?;
    }
    Ok(found)
}

fn least_ms(response: &InetResponse) -> Option<f64> {
    response.nlas.iter().find_map(|nla| {
        let Nla::TcpInfo(info) = nla else {
            return None;
        };
        // Nothing measured yet is told as the greatest number.
        let is_measured = (1..u32::MAX).contains(&info.min_rtt);
        is_measured.then(|| f64::from(info.min_rtt) / 1_000.0)
    })
}

fn dump(family: u8, mut take: impl FnMut(&InetResponse) -> bool) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&NetlinkAddr::new(0, 0))?;
    socket.send(&request(family), 0)?;
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest);
            let message = message.map_err(io::Error::other)?;
            let length = usize::try_from(message.header.length).unwrap_or(0);
            let payload = message.payload;
            if let NetlinkPayload::Error(error) = &payload {
                return Err(error.to_io());
            }
            if let NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(found)) = &payload
                && !take(found)
            {
                return Ok(());
            }
            if matches!(payload, NetlinkPayload::Done(_)) {
                return Ok(());
            }
            // Messages are aligned to 4 bytes; a length of none would never end.
            let next = length.max(1).next_multiple_of(4);
            rest = rest.get(next..).unwrap_or_default();
        }
    }
}

fn request(family: u8) -> Vec<u8> {
    let socket_id = if family == AF_INET {
        SocketId::new_v4()
    } else {
        SocketId::new_v6()
    };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let asked = SockDiagMessage::InetRequest(InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::INFO,
        states: StateFlags::ESTABLISHED,
        socket_id,
    });
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(asked));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_kernel_tells_of_connections_to_a_port_and_no_others() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let addresses = [&listener, &other].map(|one| one.local_addr().unwrap());
        let _client = TcpStream::connect(addresses[0]).unwrap();
        let _accepted = listener.accept().unwrap();
        let found = round_trips(&addresses[..1]).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, IpAddr::from([127, 0, 0, 1]));
        assert!(found[0].1 > 0.0 && found[0].1 < 1_000.0, "{found:?}");
        assert!(round_trips(&addresses[1..]).unwrap().is_empty());
    }

    #[test]
    fn of_each_family_so_many_connections_are_looked_at_and_no_more() {
        let listeners = ["127.0.0.1:0", "[::1]:0"].map(|at| TcpListener::bind(at).unwrap());
        let addresses = [0, 1].map(|at: usize| listeners[at].local_addr().unwrap());
        let mut open = Vec::new();
        for (listener, address) in listeners.iter().zip(addresses) {
            for _ in 0..3 {
                open.push(TcpStream::connect(address).unwrap());
                open.push(listener.accept().unwrap().0);
            }
        }
        let looked_at = |most| at_most(most, &addresses).unwrap().len();
        assert_eq!([looked_at(2), looked_at(3), looked_at(4)], [4, 6, 6]);
        assert_eq!(MOST_CONNECTIONS, 16_384);
    }
}
