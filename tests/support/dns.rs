//! A DNS client of few words: questions of class IN, each in a message of its own, over UDP.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use hickory_proto::op::Message;
use hickory_proto::rr::RData;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};

use super::PATIENCE;

/// A query with RD, and an OPT record that has these options. Its ID is 0.
pub fn query(name: &str, qtype: u16, options: &[u8]) -> Vec<u8> {
    let mut wire = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.split('.') {
        wire.push(u8::try_from(label.len()).unwrap());
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    wire.extend(qtype.to_be_bytes());
    wire.extend([0, 1]);
    // The root, OPT, 1,232 bytes, version 0 without flags.
    wire.extend([0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0]);
    wire.extend(u16::try_from(options.len()).unwrap().to_be_bytes());
    wire.extend(options);
    wire
}

/// The option that names a client's network, RFC 7871 §6: no bits past the length, no needless octet.
pub fn subnet(first: IpAddr, length: u8) -> Vec<u8> {
    let (family, octets) = match first {
        IpAddr::V4(v4) => (1, v4.octets().to_vec()),
        IpAddr::V6(v6) => (2, v6.octets().to_vec()),
    };
    let octets = &octets[..usize::from(length.div_ceil(8))];
    let size = u8::try_from(octets.len() + 4).unwrap();
    [&[0, 8, 0, size, 0, family, length, 0], octets].concat()
}

/// One socket's conversation with a server.
pub struct DnsClient {
    socket: UdpSocket,
    asked: Cell<u16>,
}

impl DnsClient {
    pub fn of(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.connect(server).unwrap();
        Self {
            socket,
            asked: Cell::new(0),
        }
    }

    /// The response to a query, which is given an ID of its own.
    #[track_caller]
    pub fn ask(&self, mut query: Vec<u8>) -> Reply {
        self.asked.set(self.asked.get().wrapping_add(1));
        query[..2].copy_from_slice(&self.asked.get().to_be_bytes());
        self.socket.send(&query).unwrap();
        let mut buffer = [0; 2000];
        let length = self.socket.recv(&mut buffer).expect("a response");
        let reply = Reply(Message::from_vec(&buffer[..length]).unwrap());
        assert_eq!(reply.0.metadata.id, self.asked.get());
        reply
    }
}

/// What a server said.
pub struct Reply(pub Message);

impl Reply {
    /// Those of the answer section, in their order.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let data = self.0.answers.iter().map(|record| &record.data);
        data.filter_map(RData::ip_addr).collect()
    }

    /// The length of the prefix that the answer is for, if it says one.
    pub fn scope(&self) -> Option<u8> {
        let option = self.0.edns.as_ref()?.option(EdnsCode::Subnet)?;
        let EdnsOption::Subnet(subnet) = option else {
            return None;
        };
        Some(subnet.scope_prefix())
    }
}
