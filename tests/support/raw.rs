//! Origins of raw bytes: whatever a test wants to see on the wire.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// Gives every connection with the head of its first request to a closure.
pub fn wire(
    serve: impl Fn(BufReader<TcpStream>, String) + Send + Sync + Clone + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            std::thread::spawn(move || {
                let mut stream = BufReader::new(stream);
                let head = read_head(&mut stream);
                serve(stream, head);
            });
        }
    });
    address
}

/// Answers health checks, and gives every other connection to a closure.
pub fn raw_origin(
    serve: impl Fn(BufReader<TcpStream>, String) + Send + Sync + Clone + 'static,
) -> SocketAddr {
    wire(move |mut stream, head| {
        if head.starts_with("GET /health ") {
            let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
            let _ = stream.get_mut().write_all(ok);
        } else {
            serve(stream, head);
        }
    })
}

/// Up to the empty line, or the end.
pub fn read_head(stream: &mut impl BufRead) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).unwrap_or(0) == 0 {
            break;
        }
    }
    head
}
