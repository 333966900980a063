//! A WebSocket in the clear whose origin echoes, line by line.

use std::io::{BufRead, BufReader, ErrorKind};
use std::net::TcpStream;

use super::{Edge, connect, read_head, say};

/// Its key and what answers it are the example of RFC 6455 §1.3.
const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: www.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

/// An origin that says 101 and echoes.
pub fn echo(mut stream: BufReader<TcpStream>, head: String) {
    let has = |field: &str| head.to_ascii_lowercase().contains(field);
    assert!(
        has("\r\nupgrade: websocket\r\n") && has("\r\nconnection: upgrade\r\n"),
        "{head}"
    );
    say(
        &mut stream,
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    );
    let mut line = String::new();
    while stream.read_line(&mut line).unwrap_or(0) > 0 {
        say(&mut stream, &line);
        line.clear();
    }
}

/// A client that has been answered 101; its request has these fields too, each with its line's end.
#[track_caller]
pub fn chat(edge: &Edge, fields: &str) -> BufReader<TcpStream> {
    let mut client = connect(edge.address("http"));
    say(&mut client, &format!("{UPGRADE}{fields}\r\n"));
    let head = read_head(&mut client);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(
        head.to_ascii_lowercase()
            .contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=")
    );
    client
}

/// Says a line, and hears it.
#[track_caller]
pub fn exchange_line(client: &mut BufReader<TcpStream>, text: &str) {
    say(client, text);
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    assert_eq!(line, text);
}

/// Waits until the other side ends; nothing else may come, and a pause is no end.
#[track_caller]
pub fn hears_the_end(client: &mut BufReader<TcpStream>) {
    let ended = client.read_line(&mut String::new());
    let ended = ended.map_err(|error| error.kind());
    assert!(
        matches!(ended, Ok(0) | Err(ErrorKind::ConnectionReset)),
        "{ended:?}"
    );
}
