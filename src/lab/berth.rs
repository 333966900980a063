//! A region's port, which stays the region's while its server is down.
//!
//! A socket that is bound and never listens holds the port: connections are refused, nobody else
//! can bind it, and the server can come back at any time. Servers share the port with that socket
//! by `SO_REUSEPORT`, which is set on it only after it was bound, so that a second lab on the same
//! port is refused rather than given half of the connections.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 256;

/// A port that is held.
#[derive(Debug)]
pub(super) struct Berth {
    address: SocketAddr,
    /// Never listens; dropping it gives the port up.
    _holder: TcpSocket,
}

impl Berth {
    /// Takes the port, or any free one for port 0.
    pub(super) fn take(address: SocketAddr) -> io::Result<Self> {
        let holder = socket(address)?;
        // A port that only waits out the connections of an earlier lab is free.
        holder.set_reuseaddr(true)?;
        holder.bind(address)?;
        holder.set_reuseaddr(false)?;
        holder.set_reuseport(true)?;
        Ok(Self {
            address: holder.local_addr()?,
            _holder: holder,
        })
    }

    /// The address with the port that was taken.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to accept connections, until the listener is dropped.
    pub(super) fn listen(&self) -> io::Result<TcpListener> {
        let socket = socket(self.address)?;
        socket.set_reuseaddr(true)?;
        socket.set_reuseport(true)?;
        socket.bind(self.address)?;
        socket.listen(BACKLOG)
    }
}

fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use tokio::net::TcpStream;

    use super::*;

    fn any_port() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    async fn connects(address: SocketAddr) -> bool {
        match TcpStream::connect(address).await {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
                false
            }
        }
    }

    #[tokio::test]
    async fn refuses_connections_while_nobody_listens() {
        let berth = Berth::take(any_port()).unwrap();
        assert!(!connects(berth.address()).await);
        let listener = berth.listen().unwrap();
        assert!(connects(berth.address()).await);
        drop(listener);
        assert!(!connects(berth.address()).await);
        let _again = berth.listen().unwrap();
        assert!(connects(berth.address()).await);
    }

    #[tokio::test]
    async fn nobody_else_gets_the_port() {
        let berth = Berth::take(any_port()).unwrap();
        let taken = |berth: &Berth| Berth::take(berth.address()).unwrap_err().kind();
        assert_eq!(taken(&berth), ErrorKind::AddrInUse);
        let listener = berth.listen().unwrap();
        assert_eq!(taken(&berth), ErrorKind::AddrInUse);
        drop(listener);
        assert_eq!(taken(&berth), ErrorKind::AddrInUse);
    }
}
