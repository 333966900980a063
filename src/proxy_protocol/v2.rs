//! Version 2: a binary header (§2.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::crc32c::{ZERO, crc32c};
use super::{Beginning, Ends, LONGEST_HEADER, Malformed, Said};

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family and protocol, length.
const FIXED: usize = 16;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// The type of the extension that holds the header's checksum (§2.2.3).
const TYPE_CRC32C: u8 = 0x03;

pub(super) fn read(bytes: &[u8]) -> Result<Beginning, Malformed> {
    let Some(
        [
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            command,
            family,
            high,
            low,
        ],
    ) = bytes.first_chunk()
    else {
        return Ok(Beginning::Unfinished);
    };
    let length = FIXED + usize::from(u16::from_be_bytes([*high, *low]));
    if length > LONGEST_HEADER {
        return Err(Malformed("longer than 4096 bytes"));
    }
    if !matches!(*command, LOCAL | PROXY) {
        return Err(Malformed("neither LOCAL nor PROXY of version 2"));
    }
    let Some(header) = bytes.get(..length) else {
        return Ok(Beginning::Unfinished);
    };
    let said = match *command {
        // "must discard the protocol block including the family which is ignored" (§2.2).
        LOCAL => Said::Own,
        _ => said(header, *family)?,
    };
    Ok(Beginning::Header(said, length))
}

fn said(header: &[u8], family: u8) -> Result<Said, Malformed> {
    let body = header.get(FIXED..).unwrap_or_default();
    let short = Malformed("shorter than its addresses");
    match family {
        TCP4 => {
            let (addresses, _) = body.split_first_chunk::<12>().ok_or(short)?;
            check_extensions(header, FIXED + addresses.len())?;
            let [a, b, c, d, e, f, g, h, ports @ ..] = *addresses;
            let (source, destination) = (Ipv4Addr::new(a, b, c, d), Ipv4Addr::new(e, f, g, h));
            Ok(passed(source.into(), destination.into(), ports))
        }
        TCP6 => {
            let (source, rest) = body.split_first_chunk::<16>().ok_or(short)?;
            let (destination, rest) = rest.split_first_chunk::<16>().ok_or(short)?;
            let (ports, _) = rest.split_first_chunk::<4>().ok_or(short)?;
            check_extensions(header, FIXED + 36)?;
            let (source, destination) = (Ipv6Addr::from(*source), Ipv6Addr::from(*destination));
            Ok(passed(source.into(), destination.into(), *ports))
        }
        // UNSPEC, datagrams and UNIX sockets have no address that a client of HTTP could have: "it
        // automatically falls back to the UNSPEC mode for the valid combinations" (§2.2).
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => Ok(Said::Own),
        _ => Err(Malformed("an unassigned family or protocol")),
    }
}

fn passed(source: IpAddr, destination: IpAddr, [a, b, c, d]: [u8; 4]) -> Said {
    Said::Passed(Ends {
        source: SocketAddr::new(source, u16::from_be_bytes([a, b])),
        destination: SocketAddr::new(destination, u16::from_be_bytes([c, d])),
    })
}

/// Extensions are passed over, but for the checksum, which must be right if it is there (§2.2.3).
fn check_extensions(header: &[u8], mut at: usize) -> Result<(), Malformed> {
    let mut has_checksum = false;
    while let Some(rest @ [_, ..]) = header.get(at..) {
        let [kind, high, low, value @ ..] = rest else {
            return Err(Malformed("an extension is cut off"));
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let value = value
            .get(..length)
            .ok_or(Malformed("an extension is cut off"))?;
        if *kind == TYPE_CRC32C {
            let given: [u8; 4] = value
                .try_into()
                .map_err(|_| Malformed("a checksum of the wrong length"))?;
            if has_checksum || checksum(header, at + 3) != u32::from_be_bytes(given) {
                return Err(Malformed("the checksum is wrong"));
            }
            has_checksum = true;
        }
        at += 3 + length;
    }
    Ok(())
}

/// Of the whole header with the checksum itself, which stands at `at`, as zeros.
fn checksum(header: &[u8], at: usize) -> u32 {
    let before = header.get(..at).unwrap_or_default();
    let after = header.get(at + ZERO.len()..).unwrap_or_default();
    crc32c([before, &ZERO, after])
}

pub(super) fn write(ends: Ends) -> Vec<u8> {
    let (source, destination) = (ends.source, ends.destination);
    let ip = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let family = if source.is_ipv4() { TCP4 } else { TCP6 };
    let body = [
        ip(source.ip()),
        ip(destination.ip()),
        source.port().to_be_bytes().to_vec(),
        destination.port().to_be_bytes().to_vec(),
    ]
    .concat();
    framed(PROXY, family, &body)
}

/// LOCAL, with no addresses (§2.2).
pub(super) fn write_own() -> Vec<u8> {
    framed(LOCAL, 0, &[])
}

fn framed(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
    [SIGNATURE, &[command, family], &length.to_be_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        framed(command, family, body)
    }

    fn tcp4(extensions: &[u8]) -> Vec<u8> {
        let addresses = [192, 0, 2, 1, 192, 0, 2, 2, 0x04, 0xd2, 0x01, 0xbb];
        header(PROXY, TCP4, &[&addresses[..], extensions].concat())
    }

    fn check_own(header: &[u8]) {
        let expected = Beginning::Header(Said::Own, header.len());
        assert_eq!(read(&[header, b"GET"].concat()), Ok(expected));
    }

    #[test]
    fn a_header_is_these_bytes() {
        let ends = Ends {
            source: "192.0.2.1:1234".parse().unwrap(),
            destination: "192.0.2.2:443".parse().unwrap(),
        };
        let golden =
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\x04\xd2\x01\xbb";
        assert_eq!(write(ends), golden);
        assert_eq!(tcp4(&[]), golden);
        assert_eq!(read(golden), Ok(Beginning::Header(Said::Passed(ends), 28)));
        assert_eq!(write_own(), b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
        let ends = Ends {
            source: "[2001:db8::1]:1".parse().unwrap(),
            destination: "[2001:db8::2]:2".parse().unwrap(),
        };
        let written = write(ends);
        assert_eq!(
            written[..20],
            *b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24\x20\x01\x0d\xb8"
        );
        assert_eq!(
            read(&written),
            Ok(Beginning::Header(Said::Passed(ends), 52))
        );
    }

    #[test]
    fn what_has_no_address_is_the_connection_s_own() {
        check_own(&write_own());
        check_own(&header(LOCAL, TCP4, &[1; 12]));
        check_own(&header(LOCAL, 0xff, &[1; 300]));
        check_own(&header(PROXY, 0x00, &[]));
        check_own(&header(PROXY, 0x31, &[0; 216]));
        check_own(&header(PROXY, 0x12, &[0; 12]));
    }

    #[test]
    fn extensions_are_passed_over() {
        // An ALPN, a NOOP without a value, AWS's endpoint id.
        let extensions = b"\x01\0\x02h2\x04\0\0\xea\0\x03\x01ab";
        let header = tcp4(extensions);
        let read = read(&header);
        assert!(
            matches!(read, Ok(Beginning::Header(Said::Passed(_), 42))),
            "{read:?}"
        );
        for cut in 1..extensions.len() {
            if ![5, 8].contains(&cut) {
                let header = tcp4(&extensions[..cut]);
                assert!(super::read(&header).is_err(), "{cut}");
            }
        }
    }

    #[test]
    fn a_checksum_is_right_or_the_header_is_refused() {
        let mut header = tcp4(b"\x03\0\x04\0\0\0\0\x04\0\x01x");
        let sum = crc32c([&header[..]]).to_be_bytes();
        header[31..35].copy_from_slice(&sum);
        assert!(matches!(
            read(&header),
            Ok(Beginning::Header(Said::Passed(_), 39))
        ));
        for at in [16, 20, 24, 31, 38] {
            let mut wrong = header.clone();
            wrong[at] ^= 1;
            assert_eq!(
                read(&wrong),
                Err(Malformed("the checksum is wrong")),
                "{at}"
            );
        }
        assert!(read(&tcp4(b"\x03\0\x03\0\0\0")).is_err());
    }

    #[test]
    fn what_is_not_as_specified_is_refused() {
        for wrong in [
            header(0x11, TCP4, &[0; 12]),
            header(0x22, TCP4, &[0; 12]),
            header(PROXY, TCP4, &[0; 11]),
            header(PROXY, TCP6, &[0; 35]),
            header(PROXY, 0x10, &[0; 12]),
            header(PROXY, 0x41, &[0; 12]),
            header(PROXY, 0x13, &[0; 12]),
        ] {
            assert!(read(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_header_at_its_bound_is_read_and_one_byte_more_refused() {
        let body = |length: usize| vec![0; length - FIXED];
        check_own(&header(PROXY, 0, &body(LONGEST_HEADER)));
        assert!(read(&header(PROXY, 0, &body(LONGEST_HEADER + 1))).is_err());
    }
}
