//! Reads a message from front to back; what is not there is `None`.

/// A place in a message.
#[derive(Clone, Copy, Debug)]
pub(in crate::dns) struct Cursor<'a> {
    length: usize,
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// The start of a message.
    pub(in crate::dns) fn new(message: &'a [u8]) -> Self {
        Self {
            length: message.len(),
            rest: message,
        }
    }

    /// How far the front is from the start.
    pub(in crate::dns) fn position(&self) -> usize {
        self.length - self.rest.len()
    }

    /// Whether everything was read.
    pub(in crate::dns) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// What follows, to its end.
    pub(in crate::dns) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `count` bytes.
    pub(in crate::dns) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(bytes)
    }

    /// The next `N` bytes: one check for all that stands in them.
    pub(in crate::dns) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*array)
    }

    /// The next byte.
    pub(in crate::dns) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// The next two bytes, in network order.
    pub(in crate::dns) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// The next four bytes, in network order.
    pub(in crate::dns) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// Passes over a name, compressed or not; `None` for a label type that nobody defined
    /// (RFC 1035 §4.1.4, RFC 6891 §5).
    pub(in crate::dns) fn skip_name(&mut self) -> Option<()> {
        loop {
            match self.u8()? {
                0 => return Some(()),
                length @ 1..=63 => {
                    self.bytes(usize::from(length))?;
                }
                192..=255 => {
                    self.u8()?;
                    return Some(());
                }
                64..=191 => return None,
            }
        }
    }
}
