//! The client subnet option on the wire (RFC 7871 §6): for whom a query is, and for whom its answer holds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::edns::OPTION_HEAD;

/// The option's code.
pub(super) const OPTION_CLIENT_SUBNET: u16 = 8;

/// A client subnet option with room for the longest address.
pub(super) const SUBNET_ROOM: usize = OPTION_HEAD + 4 + 16;

/// A client's network (RFC 7871 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dns) struct ClientSubnet {
    family: u16,
    source: u8,
    address: [u8; 16],
}

impl ClientSubnet {
    /// RFC 7871 §6: too few or too many octets, bits past the prefix, or a scope in a query are
    /// malformed. Family 0 says nothing but "do not pass my address on", as `dig +subnet=0` sends it.
    ///
    /// `record` ends with the data, and has 16 bytes before the end whatever the length of the address.
    #[inline]
    pub(super) fn read(data: &[u8], record: &[u8]) -> Option<Self> {
        let (head, given) = data.split_first_chunk::<4>()?;
        let [high, low, source, scope] = *head;
        let family = u16::from_be_bytes([high, low]);
        let longest = match family {
            0 => 0,
            1 => 32,
            2 => 128,
            _ => return None,
        };
        let octets = source.div_ceil(8);
        if source > longest || scope != 0 || given.len() != usize::from(octets) {
            return None;
        }
        // What stands before the address goes out to the left.
        let tail = u128::from_be_bytes(*record.last_chunk()?);
        let address = left(tail, 128 - 8 * u32::from(octets));
        (left(address, source.into()) == 0).then_some(Self {
            family,
            source,
            address: address.to_be_bytes(),
        })
    }

    fn octets(&self) -> u8 {
        self.source.div_ceil(8)
    }

    /// The bytes of the option.
    pub(super) fn length(&self) -> usize {
        OPTION_HEAD + 4 + usize::from(self.octets())
    }

    /// The first address of the client's network; `None` when the client keeps it to itself.
    pub(in crate::dns) fn client(&self) -> Option<IpAddr> {
        match (self.source, self.family) {
            (0, _) => None,
            (_, 1) => {
                let [a, b, c, d, ..] = self.address;
                Some(Ipv4Addr::new(a, b, c, d).into())
            }
            _ => Some(Ipv6Addr::from(self.address).into()),
        }
    }

    /// RFC 7871 §7.2.1: family, source and address as they came, and the scope of the answer; to a
    /// source of 0 the scope is 0.
    ///
    /// Only the first [`ClientSubnet::length`] bytes are the option.
    #[inline]
    pub(super) fn option(&self, scope: u8) -> [u8; SUBNET_ROOM] {
        let scope = if self.source == 0 { 0 } else { scope };
        // A length of at most 20. One number is one store.
        let length = 4 + u64::from(self.octets());
        let code_and_length = u64::from(OPTION_CLIENT_SUBNET) << 16 | length;
        let data = u64::from(self.family) << 16 | u64::from(self.source) << 8 | u64::from(scope);
        let mut option = [0; SUBNET_ROOM];
        let (head, address) = option.split_at_mut(OPTION_HEAD + 4);
        head.copy_from_slice(&(code_and_length << 32 | data).to_be_bytes());
        address.copy_from_slice(&self.address);
        option
    }
}

/// `number` moved to the left by so many bits; by all there are, nothing is left.
fn left(number: u128, bits: u32) -> u128 {
    number.checked_shl(bits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(data: &[u8], expected: Option<&str>) {
        let record = [&[0xff; 16], data].concat();
        let found = ClientSubnet::read(data, &record);
        let shown = found.map(|subnet| match subnet.client() {
            Some(client) => format!("{client}/{}", subnet.source),
            None => format!("none/{}", subnet.source),
        });
        assert_eq!(shown.as_deref(), expected, "{data:?}");
    }

    #[test]
    fn a_subnet_is_read_strictly() {
        check(&[0, 1, 24, 0, 192, 0, 2], Some("192.0.2.0/24"));
        check(&[0, 1, 20, 0, 192, 0, 0x10], Some("192.0.16.0/20"));
        check(&[0, 2, 32, 0, 0x20, 1, 0xd, 0xb8], Some("2001:db8::/32"));
        check(&[0, 1, 32, 0, 192, 0, 2, 1], Some("192.0.2.1/32"));
        check(&[0, 1, 0, 0], Some("none/0"));
        check(&[0, 0, 0, 0], Some("none/0"));
        // Bits past the prefix.
        check(&[0, 1, 20, 0, 192, 0, 0x18], None);
        // One octet too few, one too many.
        check(&[0, 1, 24, 0, 192, 0], None);
        check(&[0, 1, 24, 0, 192, 0, 2, 0], None);
        // A scope in a query.
        check(&[0, 1, 24, 24, 192, 0, 2], None);
        // A prefix longer than the family's addresses; unknown families; a stub.
        check(&[0, 1, 33, 0, 192, 0, 2, 1, 0], None);
        check(&[0, 3, 8, 0, 1], None);
        check(&[0, 0, 8, 0, 1], None);
        check(&[0, 1, 24], None);
    }
}
