//! One service in one region, asked for by all faces, as tests of an edge's life begin.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use super::query;

/// All faces, on ports of their own.
pub const LISTEN: &str = "{ dns: ['127.0.0.1:0'], https: ['127.0.0.1:0'], http: ['127.0.0.1:0'], http_mode: serve, admin: '127.0.0.1:0' }";

/// With these keys of the node and of the service.
pub fn yaml(node: &str, origin: &str, service: &str) -> String {
    format!(
        "node: {{ {node} }}
listen: {LISTEN}
regions: {{ here: {{ addresses: [192.0.2.1], origins: ['{origin}'] }} }}
services: {{ www: {{ hosts: [www.example.com], {service} }} }}
zones: {{ example.com: {{ nameservers: {{ ns1: [127.0.0.1] }} }} }}
"
    )
}

pub fn ask_over_udp(socket: &UdpSocket, id: u16) -> Result<(), String> {
    let mut query = query("www.example.com", 1, &[]);
    query[..2].copy_from_slice(&id.to_be_bytes());
    let mut reply = [0; 2000];
    let length = socket
        .send(&query)
        .and_then(|_| socket.recv(&mut reply))
        .map_err(|error| error.to_string())?;
    let is_it = length > 12 && reply[..2] == id.to_be_bytes() && reply[3] & 15 == 0;
    is_it
        .then_some(())
        .ok_or_else(|| "not its reply".to_owned())
}

pub fn ask_over_tcp(server: SocketAddr) -> Result<(), String> {
    let query = query("www.example.com", 1, &[]);
    let length = u16::try_from(query.len()).unwrap();
    let ask = || {
        let mut stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(&[&length.to_be_bytes(), &query[..]].concat())?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        stream.read_exact(&mut vec![0; usize::from(u16::from_be_bytes(length))])
    };
    ask().map_err(|error: std::io::Error| error.to_string())
}

pub fn udp_client(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    socket.connect(server).unwrap();
    socket
}
