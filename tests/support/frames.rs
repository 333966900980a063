//! HTTP/2 by hand: frames and fields as no library would send them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};

use super::{Edge, trusting_anybody};

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// RFC 9113 §6.
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// A frame as bytes (RFC 9113 §4.1).
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A block of fields, each as a literal without index and without Huffman's code (RFC 7541 §6.2.2).
pub fn block<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name.as_ref(), value.as_ref()] {
            push_length(&mut bytes, text.len());
            bytes.extend(text);
        }
    }
    bytes
}

/// RFC 7541 §5.1, with a prefix of 7 bits.
fn push_length(bytes: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(127) else {
        return bytes.push(u8::try_from(length).unwrap());
    };
    bytes.push(127);
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
}

/// Fields by name.
pub type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// The fields of a good request to a path.
pub fn request(method: &str, path: &str) -> Fields {
    [
        (":method", method),
        (":scheme", "https"),
        (":authority", "www.example.com"),
        (":path", path),
    ]
    .map(|(name, value)| (name.into(), value.into()))
    .into()
}

/// A head as one frame.
pub fn open(stream: u32, fields: &Fields, flags: u8) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, &block(fields))
}

/// A block of fields in as many frames as it takes, which ends the stream.
pub fn in_frames(stream: u32, block: &[u8]) -> Vec<u8> {
    let mut pieces = block.chunks(16_384).enumerate().peekable();
    let mut frames = Vec::new();
    while let Some((at, piece)) = pieces.next() {
        let end = if pieces.peek().is_none() {
            END_HEADERS
        } else {
            0
        };
        frames.extend(match at {
            0 => frame(HEADERS, END_STREAM | end, stream, piece),
            _ => frame(CONTINUATION, end, stream, piece),
        });
    }
    frames
}

/// An edge with one origin, asked over HTTP/1.1 whether it is well.
pub fn edge(origin: &str) -> Edge {
    Edge::start(&format!(
        "node: {{ name: fra-1 }}
listen: {{ https: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions: {{ here: {{ origins: ['{origin}'] }} }}
services: {{ www: {{ hosts: [www.example.com], health: {{ protocol: http }} }} }}
"
    ))
}

/// A frame that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// Reads a frame; none if the connection has ended.
pub fn read_frame(stream: &mut impl Read) -> Option<Frame> {
    let mut header = [0; 9];
    stream.read_exact(&mut header).ok()?;
    let [high, middle, low, kind, flags, a, b, c, d] = header;
    let length = u32::from_be_bytes([0, high, middle, low]);
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut payload).ok()?;
    Some(Frame {
        kind,
        flags,
        stream: u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff,
        payload,
    })
}

/// What became of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// An answer; 0 if its status is none of RFC 7541's table.
    Answered(u16),
    /// RST_STREAM.
    Reset,
    /// The connection ended, with or without GOAWAY.
    Gone,
}

/// A client of raw frames over TLS.
pub struct FrameClient {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl FrameClient {
    /// Connects, and sends the preface and no settings.
    pub fn connect(address: SocketAddr) -> Self {
        let mut client = Self::silent(address);
        let hello = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
        client.send(&hello).unwrap();
        client
    }

    /// Connects, and sends nothing.
    pub fn silent(address: SocketAddr) -> Self {
        let tcp = TcpStream::connect(address).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        tcp.set_write_timeout(Some(Duration::from_secs(15)))
            .unwrap();
        let config = trusting_anybody(&[b"h2"]).config().clone();
        let name = "www.example.com".try_into().unwrap();
        let tls = ClientConnection::new(config, name).unwrap();
        Self {
            stream: StreamOwned::new(tls, tcp),
        }
    }

    /// Sends; an error if the edge has ended the connection.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// The next frame; none if the connection has ended.
    pub fn read(&mut self) -> Option<Frame> {
        read_frame(&mut self.stream)
    }

    /// Waits for what becomes of a stream.
    pub fn fate(&mut self, stream: u32) -> Fate {
        loop {
            let Some(frame) = self.read() else {
                return Fate::Gone;
            };
            match frame.kind {
                HEADERS if frame.stream == stream => {
                    return Fate::Answered(match frame.payload.first() {
                        Some(0x88) => 200,
                        Some(0x8c) => 400,
                        Some(0x8e) => 500,
                        _ => 0,
                    });
                }
                RST_STREAM if frame.stream == stream => return Fate::Reset,
                GOAWAY if frame.payload[4..8] != [0; 4] => return Fate::Gone,
                _ => {}
            }
        }
    }

    /// Whether a stream's answer comes to its end.
    pub fn ends(&mut self, stream: u32) -> bool {
        loop {
            match self.read() {
                None => return false,
                Some(frame) if frame.stream == stream => {
                    let is_end = frame.flags & END_STREAM != 0;
                    match frame.kind {
                        DATA | HEADERS if is_end => return true,
                        RST_STREAM => return false,
                        _ => {}
                    }
                }
                Some(_) => {}
            }
        }
    }
}
