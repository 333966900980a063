//! Sockets for DNS: one UDP socket for each thread (`SO_REUSEPORT`) and one TCP listener, on one port.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use nix::sys::socket::{setsockopt, sockopt};
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
};
use socket2::{Domain, Protocol, Socket, Type};

/// How many ports are tried when the kernel may pick one, until one is free for UDP and TCP.
const PORT_TRIES: usize = 32;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// Bytes that the kernel may queue for a thread: some thousand queries. It may grant less.
const RECEIVE_BUFFER: usize = 1 << 20;

/// An address to serve.
#[derive(Debug)]
pub struct DnsSockets {
    /// One for each thread.
    pub udp: Vec<UdpSocket>,
    /// For connections.
    pub tcp: TcpListener,
    /// Where they listen; the port is never 0.
    pub address: SocketAddr,
}

/// Binds an address for UDP with this many threads, and for TCP.
///
/// Port 0 picks a port that is free for both. A port that anybody uses is an error, although
/// `SO_REUSEPORT` would let a process of the same user in: two edges would share the queries.
pub fn bind(address: SocketAddr, threads: usize) -> io::Result<DnsSockets> {
    let tries = if address.port() == 0 { PORT_TRIES } else { 1 };
    let mut last = bind_alone(address, threads);
    for _ in 1..tries {
        match &last {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                last = bind_alone(address, threads);
            }
            Ok(_) | Err(_) => break,
        }
    }
    last
}

/// Binds an address on which this process serves already, with sockets that are about to be closed.
pub fn bind_beside(address: SocketAddr, threads: usize) -> io::Result<DnsSockets> {
    let tcp = bind_tcp_beside(address)?;
    let udp = (0..threads.max(1)).map(|_| bind_udp(address));
    Ok(DnsSockets {
        udp: udp.collect::<io::Result<_>>()?,
        tcp,
        address,
    })
}

/// Serves an address with sockets that another process has bound: each of them, because queries may wait
/// in any, and each thread with one.
pub fn adopt(sockets: Vec<OwnedFd>, threads: usize) -> io::Result<DnsSockets> {
    let (mut udp, mut tcp) = (Vec::new(), None);
    for socket in sockets.into_iter().map(Socket::from) {
        if socket.r#type()? == Type::DGRAM {
            socket.set_nonblocking(false)?;
            prepare(&socket, local_address(&socket)?)?;
            udp.push(UdpSocket::from(socket));
        } else {
            tcp = Some(TcpListener::from(socket));
        }
    }
    let lacks = |what| io::Error::other(format!("no {what} socket was passed for it"));
    let tcp = tcp.ok_or_else(|| lacks("TCP"))?;
    let first = udp.first().ok_or_else(|| lacks("UDP"))?;
    let address = first.local_addr()?;
    let shared = (udp.len()..threads).map(|_| first.try_clone());
    let shared = shared.collect::<io::Result<Vec<_>>>()?;
    udp.extend(shared);
    Ok(DnsSockets { udp, tcp, address })
}

fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    let address = socket.local_addr()?.as_socket();
    address.ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Binds a listener alone, as for DNS over TLS. A port that anybody uses is an error.
pub fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let probe = tcp_socket(address)?;
    probe.bind(&address.into())?;
    let address = probe.local_addr()?.as_socket().unwrap_or(address);
    drop(probe);
    bind_tcp_beside(address)
}

/// Binds a listener on an address on which this process listens already.
pub fn bind_tcp_beside(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = tcp_socket(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = socket(address, Type::STREAM, Protocol::TCP)?;
    // A restart must not wait for the old process's connections to be forgotten.
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn bind_alone(mut address: SocketAddr, threads: usize) -> io::Result<DnsSockets> {
    // Without `SO_REUSEPORT` this fails if anybody is there.
    let probe = socket(address, Type::DGRAM, Protocol::UDP)?;
    probe.bind(&address.into())?;
    let probe: UdpSocket = probe.into();
    address.set_port(probe.local_addr()?.port());
    let tcp = bind_tcp(address)?;
    drop(probe);
    let udp = (0..threads.max(1)).map(|_| bind_udp(address));
    Ok(DnsSockets {
        udp: udp.collect::<io::Result<_>>()?,
        tcp,
        address,
    })
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket(address, Type::DGRAM, Protocol::UDP)?;
    socket.set_reuse_port(true)?;
    // Best effort: a smaller queue is no reason not to serve.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    prepare(&socket, address)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Sets what queries and answers need of a socket.
fn prepare(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    forbid_fragments(socket, address)?;
    tell_local_address(socket, address)
}

/// RFC 9715 §3.1: responses are so short that none needs fragments, and who tells lies of a path's MTU shall not
/// get any, for whose second ones anybody can write something. Packets that are never cut into fragments need no number either, which
/// the kernel would look up for each.
fn forbid_fragments(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::PROBE)?,
        SocketAddr::V6(_) => set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::PROBE)?,
    }
    Ok(())
}

/// RFC 2181 §4: an answer comes from the address that the query went to, which a socket for all addresses must
/// be told of.
fn tell_local_address(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
            setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?;
        }
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        }
        SocketAddr::V4(_) | SocketAddr::V6(_) => {}
    }
    Ok(())
}

fn socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use rustix::net::sockopt::{ip_mtu_discover, ipv6_mtu_discover};

    use super::*;

    #[test]
    fn a_port_in_use_is_an_error_although_it_could_be_shared() {
        let first = bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        assert_ne!(first.address.port(), 0);
        assert_eq!(first.udp.len(), 2);
        let second = bind(first.address, 2).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn ipv6_leaves_ipv4_to_others() {
        let v4 = bind("0.0.0.0:0".parse().unwrap(), 1).unwrap();
        let mut address: SocketAddr = "[::]:0".parse().unwrap();
        address.set_port(v4.address.port());
        bind(address, 1).unwrap();
    }

    #[test]
    fn a_response_is_never_cut_into_fragments() {
        let v4 = bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        for socket in &v4.udp {
            assert_eq!(
                ip_mtu_discover(socket).unwrap(),
                Ipv4PathMtuDiscovery::PROBE
            );
        }
        let v6 = bind("[::1]:0".parse().unwrap(), 1).unwrap();
        let mode = ipv6_mtu_discover(&v6.udp[0]).unwrap();
        assert_eq!(mode, Ipv6PathMtuDiscovery::PROBE);
        let plain = [
            UdpSocket::bind("127.0.0.1:0").unwrap().into(),
            TcpListener::bind("127.0.0.1:0").unwrap().into(),
        ];
        let adopted = adopt(plain.into(), 1).unwrap();
        let mode = ip_mtu_discover(&adopted.udp[0]).unwrap();
        assert_eq!(mode, Ipv4PathMtuDiscovery::PROBE);
    }
}
