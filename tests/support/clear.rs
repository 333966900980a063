//! Clients that come by HTTP/1.1 in clear, and the one region that they come to.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::{Edge, read_head};

/// One region of these origins, with this in `listen` and in the service.
pub fn yaml(origin: &str, listen: &str, service: &str) -> String {
    format!(
        "listen: {{ http: ['127.0.0.1:0'], http_mode: serve, https: ['127.0.0.1:0'], admin: '127.0.0.1:0', {listen} }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions: {{ here: {{ origins: ['{origin}'] }} }}
services: {{ www: {{ hosts: [www.example.com], health: {{ protocol: tcp }}, {service} }} }}
"
    )
}

/// A connection from this address of loopback.
pub fn connect_from(source: &str, target: SocketAddr) -> BufReader<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let source: SocketAddr = format!("{source}:0").parse().unwrap();
    socket.bind(&source.into()).unwrap();
    socket.connect(&target.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream
        .set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    BufReader::new(stream)
}

pub fn connect(edge: &Edge) -> BufReader<TcpStream> {
    connect_from("127.0.0.1", edge.address("http"))
}

pub const GET: &str = "GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n";

/// The status of an answer to a GET, whose body is read too; none: the edge has closed the connection.
pub fn get(client: &mut BufReader<TcpStream>) -> Option<u16> {
    client.get_mut().write_all(GET.as_bytes()).ok()?;
    let head = read_head(client);
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    client.read_exact(&mut body).ok()?;
    Some(status)
}
