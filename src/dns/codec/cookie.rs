//! The COOKIE option on the wire (RFC 7873 §4): what a client says, and what it is told.
//!
//! Knows lengths only; what makes a server cookie genuine is `dns::cookie`'s.

/// The option's code.
pub(super) const OPTION_COOKIE: u16 = 10;

/// Bytes of a client cookie, RFC 7873 §4.1.
pub(in crate::dns) const CLIENT_BYTES: usize = 8;

/// Bytes of a server cookie of version 1, RFC 9018 §4.
pub(in crate::dns) const SERVER_BYTES: usize = 16;

/// What a COOKIE option says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dns) struct Cookie {
    /// The client's own, to recognize the server by.
    pub(in crate::dns) client: [u8; CLIENT_BYTES],
    /// The server's, to recognize the client by.
    pub(in crate::dns) server: ServerCookie,
}

/// The second half of the option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dns) enum ServerCookie {
    /// The client knows none yet.
    Absent,
    /// Of a length that this server never makes.
    Foreign,
    /// As long as this server's.
    Whole([u8; SERVER_BYTES]),
}

impl Cookie {
    /// RFC 7873 §5.2.2: a length that is neither 8 nor from 16 to 40 is malformed.
    pub(super) fn read(data: &[u8]) -> Option<Self> {
        let (client, server) = data.split_first_chunk()?;
        let server = match server.len() {
            0 => ServerCookie::Absent,
            SERVER_BYTES => ServerCookie::Whole(*server.first_chunk()?),
            8..=32 => ServerCookie::Foreign,
            _ => return None,
        };
        Some(Self {
            client: *client,
            server,
        })
    }

    /// The bytes of the option's data.
    pub(super) fn length(&self) -> usize {
        CLIENT_BYTES
            + match self.server {
                ServerCookie::Absent | ServerCookie::Foreign => 0,
                ServerCookie::Whole(_) => SERVER_BYTES,
            }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let [high, low] = OPTION_COOKIE.to_be_bytes();
        // A length of at most 24. Parts of known lengths are copied without a call.
        let length = u8::try_from(self.length()).unwrap_or(0);
        out.extend_from_slice(&[high, low, 0, length]);
        out.extend_from_slice(&self.client);
        if let ServerCookie::Whole(server) = &self.server {
            out.extend_from_slice(server);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_has_8_bytes_or_from_16_to_40() {
        for length in 0..=64 {
            let read = Cookie::read(&vec![7; length]).map(|cookie| cookie.server);
            let expected = match length {
                8 => Some(ServerCookie::Absent),
                24 => Some(ServerCookie::Whole([7; 16])),
                16..=40 => Some(ServerCookie::Foreign),
                _ => None,
            };
            assert_eq!(read, expected, "{length} bytes");
        }
    }
}
