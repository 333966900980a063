//! Frames of HTTP/2 as far as it takes to walk over them (RFC 9113 §4.1, §6). Pure.

/// RFC 9113 §3.4: the bytes with which a client begins.
pub(super) const PREFACE: usize = 24;

/// Length, type, flags, stream.
pub(super) const HEAD: usize = 9;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// RFC 9113 §6.1: its length is a byte.
const MOST_PADDING: usize = 255;

/// What matters of a frame's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Of its payload, in bytes.
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    /// Which it is of; 0: the connection.
    pub(super) stream: u32,
}

impl Frame {
    pub(super) fn of(head: [u8; HEAD]) -> Self {
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

    /// Whether it is DATA that brings no byte, no padding and no end.
    pub(super) fn is_nothing(self) -> bool {
        self.kind == DATA && self.length == 0 && self.flags & END_STREAM == 0
    }

    /// Whether it is DATA that brings nothing, or perhaps nothing but padding.
    pub(super) fn may_be_padding_alone(self) -> bool {
        let least = if self.flags & PADDED == 0 {
            1
        } else {
            MOST_PADDING + 2
        };
        self.kind == DATA && self.length < least && self.flags & END_STREAM == 0
    }
}
