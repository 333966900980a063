//! The COOKIE option on the wire (RFC 7873 §4): what a client says, and what it is told.
//!
//! Knows lengths only; what makes a server cookie genuine is `dns::cookie`'s.

use super::edns::OPTION_HEAD;

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

    /// How many bytes the option takes, with its head.
    pub(super) fn length(&self) -> usize {
        let server = match self.server {
            ServerCookie::Absent | ServerCookie::Foreign => 0,
            ServerCookie::Whole(_) => SERVER_BYTES,
        };
        OPTION_HEAD + CLIENT_BYTES + server
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let [high, low] = OPTION_COOKIE.to_be_bytes();
        // At most 24 behind the head.
        let length = u8::try_from(self.length() - OPTION_HEAD).unwrap_or(0);
        let mut option = [0; OPTION_HEAD + CLIENT_BYTES + SERVER_BYTES];
        let (head, data) = option.split_at_mut(OPTION_HEAD);
        head.copy_from_slice(&[high, low, 0, length]);
        let (client, server) = data.split_at_mut(CLIENT_BYTES);
        client.copy_from_slice(&self.client);
        if let ServerCookie::Whole(whole) = &self.server {
            server.copy_from_slice(whole);
        }
        // All of it and back is less work than a copy of a length that only the query knows.
        let end = out.len() + OPTION_HEAD + usize::from(length);
        out.extend_from_slice(&option);
        out.truncate(end);
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
