//! Version 1: one line of text (§2.1).

use std::net::{IpAddr, SocketAddr};

use super::{Beginning, Ends, Malformed, Said};

pub(super) const START: &[u8] = b"PROXY ";

/// The line of who has nothing to say of the addresses.
pub(super) const OWN: &[u8] = b"PROXY UNKNOWN\r\n";

/// The longest line with its CRLF, bytes (§2.1).
const LONGEST_LINE: usize = 107;

pub(super) fn read(bytes: &[u8]) -> Result<Beginning, Malformed> {
    let within = bytes.get(..LONGEST_LINE).unwrap_or(bytes);
    let Some(length) = within.windows(2).position(|pair| pair == b"\r\n") else {
        if within.len() == LONGEST_LINE {
            return Err(Malformed("no CRLF within 107 bytes"));
        }
        return Ok(Beginning::Unfinished);
    };
    let line = within.get(START.len()..length).unwrap_or_default();
    let line = str::from_utf8(line).map_err(|_| Malformed("not ASCII"))?;
    let said = said(line)?;
    Ok(Beginning::Header(said, length + 2))
}

fn said(line: &str) -> Result<Said, Malformed> {
    let mut words = line.split(' ');
    let family = words.next().unwrap_or_default();
    // "the receiver must ignore anything presented before the CRLF is found" (§2.1).
    if family == "UNKNOWN" {
        return Ok(Said::Own);
    }
    let mut word = || words.next().ok_or(Malformed("a word is missing"));
    let (source, destination) = (word()?, word()?);
    let (source_port, destination_port) = (port(word()?)?, port(word()?)?);
    if words.next().is_some() {
        return Err(Malformed("a word too many"));
    }
    let end = |text: &str, port: u16| Ok(SocketAddr::new(address(family, text)?, port));
    Ok(Said::Passed(Ends {
        source: end(source, source_port)?,
        destination: end(destination, destination_port)?,
    }))
}

fn address(family: &str, text: &str) -> Result<IpAddr, Malformed> {
    let wrong = |_| Malformed("not an address of its family");
    match family {
        "TCP4" => text.parse().map(IpAddr::V4).map_err(wrong),
        "TCP6" => text.parse().map(IpAddr::V6).map_err(wrong),
        _ => Err(Malformed("neither TCP4, TCP6 nor UNKNOWN")),
    }
}

/// A decimal number without leading zeros, which might be taken for octal (§2.1).
fn port(text: &str) -> Result<u16, Malformed> {
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let number = text.parse().ok().filter(|_| is_plain);
    number.ok_or(Malformed("not a port"))
}

pub(super) fn write(ends: Ends) -> Vec<u8> {
    let Ends {
        source,
        destination,
    } = ends;
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    format!(
        "PROXY {family} {} {} {} {}\r\n",
        source.ip(),
        destination.ip(),
        source.port(),
        destination.port()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, source: &str, destination: &str) {
        let ends = Ends {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        };
        let read = read(format!("{line}GET").as_bytes());
        assert_eq!(read, Ok(Beginning::Header(Said::Passed(ends), line.len())));
        assert_eq!(write(ends), line.as_bytes());
    }

    #[test]
    fn the_specification_s_lines_read_and_write() {
        check(
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            "255.255.255.255:65535",
            "255.255.255.255:65535",
        );
        check(
            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
            "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
        );
        check(
            "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
            "192.168.0.1:56324",
            "192.168.0.11:443",
        );
    }

    #[test]
    fn unknown_says_nothing_whatever_it_says() {
        let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(LONGEST_LINE - 16));
        assert_eq!(longest.len(), LONGEST_LINE);
        for line in ["PROXY UNKNOWN\r\n", &longest] {
            assert_eq!(
                read(line.as_bytes()),
                Ok(Beginning::Header(Said::Own, line.len()))
            );
        }
        assert_eq!(read(OWN), Ok(Beginning::Header(Said::Own, OWN.len())));
    }

    #[test]
    fn a_line_one_byte_too_long_is_refused() {
        let line = format!("PROXY UNKNOWN {}\r\n", "f".repeat(LONGEST_LINE - 15));
        assert!(read(line.as_bytes()).is_err());
        assert!(read(&line.as_bytes()[..LONGEST_LINE]).is_err());
        assert_eq!(
            read(&line.as_bytes()[..LONGEST_LINE - 1]),
            Ok(Beginning::Unfinished)
        );
    }

    #[test]
    fn what_is_not_as_specified_is_refused() {
        for line in [
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            "PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
            "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4\t192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
            "PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
            "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
            "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP6 fe80::1%eth0 2001:db8::2 1 2\r\n",
            "PROXY UNKNOWNX\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n\r\n",
        ] {
            assert!(read(line.as_bytes()).is_err(), "{line:?}");
        }
        assert!(read(b"PROXY \xff\r\n").is_err());
    }
}
