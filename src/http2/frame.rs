//! Frames of HTTP/2 (RFC 9113 §4.1, §6).

/// What a client begins with (RFC 9113 §3.4).
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Length, type, flags, stream.
pub(crate) const HEAD: usize = 9;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
/// Of HEADERS: what it says of priorities is before its fields.
pub(crate) const PRIORITIZED: u8 = 0x20;

/// The largest payload, as long as nothing else is settled (RFC 9113 §6.5.2).
pub(crate) const LARGEST_FRAME: usize = 16_384;

/// What matters of a frame's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Of its payload, in bytes.
    pub(crate) length: usize,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    /// Which it is of; 0: the connection.
    pub(crate) stream: u32,
}

impl Frame {
    pub(crate) fn of(head: [u8; HEAD]) -> Self {
        let [high, middle, low, kind, flags, stream @ ..] = head;
        let length = u32::from_be_bytes([0, high, middle, low]);
        Self {
            length: usize::try_from(length).unwrap_or(usize::MAX),
            kind,
            flags,
            // The first bit means nothing.
            stream: u32::from_be_bytes(stream) & (u32::MAX >> 1),
        }
    }

    /// Its head as it is written.
    pub(crate) fn head(self) -> [u8; HEAD] {
        let length = u32::try_from(self.length).unwrap_or(u32::MAX);
        let [_, high, middle, low] = length.to_be_bytes();
        let [a, b, c, d] = self.stream.to_be_bytes();
        [high, middle, low, self.kind, self.flags, a, b, c, d]
    }

    /// Whether it has this flag.
    pub(crate) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// A frame as it comes.
#[cfg(test)]
pub(crate) fn written(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let frame = Frame {
        length: payload.len(),
        kind,
        flags,
        stream,
    };
    [&frame.head()[..], payload].concat()
}
