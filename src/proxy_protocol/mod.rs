//! The PROXY protocol, versions 1 and 2: who is at the other end of a connection that was passed on, in
//! bytes before its first. Pure.
//!
//! The specification is HAProxy's `doc/proxy-protocol.txt`; sections below are its own. Whether a header is
//! to be read at all, and from whom, is decided elsewhere.

mod crc32c;
mod v1;
mod v2;

use std::net::{IpAddr, SocketAddr};

/// A header of version 2 longer than this is refused, bytes: addresses take 232, the rest is for extensions.
pub const LONGEST_HEADER: usize = 4096;

/// Which of its versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line of text (§2.1).
    V1,
    /// Binary (§2.2).
    V2,
}

/// The two ends of a connection as the client has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The client's.
    pub source: SocketAddr,
    /// What the client connected to.
    pub destination: SocketAddr,
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// The connection was passed on for somebody.
    Passed(Ends),
    /// It is the sender's own (a health check), or of a kind that has no addresses: those of the connection
    /// count (UNKNOWN, LOCAL, UNSPEC, UNIX).
    Own,
}

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// A header and its length; what follows is the connection's.
    Header(Said, usize),
    /// Perhaps the beginning of a header: more is needed.
    Unfinished,
    /// No header.
    None,
}

/// A header that breaks its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed PROXY header: {0}")]
pub struct Malformed(pub(crate) &'static str);

/// Reads the first bytes of a connection. What begins as a header does is one, or is malformed.
pub fn read(bytes: &[u8]) -> Result<Beginning, Malformed> {
    let begins = |start: &[u8]| bytes.starts_with(start);
    let may_begin = |start: &[u8]| start.starts_with(bytes);
    if begins(v1::START) {
        v1::read(bytes)
    } else if begins(v2::SIGNATURE) {
        v2::read(bytes)
    } else if may_begin(v1::START) || may_begin(v2::SIGNATURE) {
        Ok(Beginning::Unfinished)
    } else {
        Ok(Beginning::None)
    }
}

impl Version {
    /// The header of a connection that is passed on.
    pub fn announce(self, ends: Ends) -> Vec<u8> {
        let ends = ends.of_one_family();
        match self {
            Self::V1 => v1::write(ends),
            Self::V2 => v2::write(ends),
        }
    }

    /// The header of a connection of the sender's own: a health check.
    pub fn announce_own(self) -> Vec<u8> {
        match self {
            Self::V1 => v1::OWN.to_vec(),
            Self::V2 => v2::write_own(),
        }
    }
}

impl Ends {
    /// Both as IPv4, or both as IPv6: a header has one family, so that an end of the other is mapped
    /// (RFC 4291 §2.5.5.2).
    fn of_one_family(self) -> Self {
        let canonical = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
        let (source, destination) = (canonical(self.source), canonical(self.destination));
        if source.is_ipv4() == destination.is_ipv4() {
            return Self {
                source,
                destination,
            };
        }
        let mapped = |end: SocketAddr| {
            let ip = match end.ip() {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            SocketAddr::new(ip.into(), end.port())
        };
        Self {
            source: mapped(source),
            destination: mapped(destination),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ends(source: &str, destination: &str) -> Ends {
        Ends {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        }
    }

    fn any_end() -> impl Strategy<Value = SocketAddr> {
        (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
    }

    #[test]
    fn ends_of_two_families_are_both_written_as_ipv6() {
        let mixed = ends("192.0.2.1:1", "[2001:db8::1]:2");
        assert_eq!(
            Version::V1.announce(mixed),
            b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 1 2\r\n"
        );
        let mapped = ends("[::ffff:192.0.2.1]:1", "192.0.2.2:2");
        assert_eq!(
            Version::V1.announce(mapped),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
        );
    }

    #[test]
    fn what_does_not_begin_as_a_header_is_none() {
        for bytes in [
            &b"GET / HTTP/1.1"[..],
            b"\x16\x03\x01",
            b"PROPFIND /",
            b"PROXYX",
        ] {
            assert_eq!(read(bytes), Ok(Beginning::None), "{bytes:?}");
        }
        for bytes in [&b""[..], b"P", b"PROXY", b"\r\n\r\n", b"\r\n\r\n\0\r\nQUI"] {
            assert_eq!(read(bytes), Ok(Beginning::Unfinished), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_whatever_follows(
            source in any_end(), destination in any_end(), rest in any::<Vec<u8>>(), two in any::<bool>(),
        ) {
            let ends = Ends { source, destination };
            let version = if two { Version::V2 } else { Version::V1 };
            let header = version.announce(ends);
            let whole = [&header[..], &rest].concat();
            let expected = Beginning::Header(Said::Passed(ends.of_one_family()), header.len());
            prop_assert_eq!(read(&whole), Ok(expected));
            for length in 0..header.len() {
                prop_assert_eq!(read(&header[..length]), Ok(Beginning::Unfinished));
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused_and_a_header_never_needs_more_than_its_bound(
            start in 0_usize..3, bytes in proptest::collection::vec(any::<u8>(), 0..5000),
        ) {
            let starts = [&b""[..], v1::START, v2::SIGNATURE];
            let whole = [starts[start], &bytes].concat();
            match read(&whole) {
                Ok(Beginning::Header(_, length)) => prop_assert!(length <= whole.len()),
                Ok(Beginning::Unfinished) => prop_assert!(whole.len() < LONGEST_HEADER),
                Ok(Beginning::None) | Err(_) => {}
            }
        }
    }
}
