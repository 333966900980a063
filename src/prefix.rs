//! Address prefixes in canonical form: every bit past the length is zero.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// Which of the two protocols an address is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IpVersion {
    /// IPv4; so are the IPv6 addresses that stand for one (RFC 4291 §2.5.5.2).
    V4,
    /// IPv6.
    V6,
}

impl IpVersion {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// That of an address.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// An IPv4 or IPv6 network whose host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix(IpNet);

/// A text that is no prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAPrefix {
    /// Neither an address nor an address with a length.
    #[error(
        "`{0}` is not a network: expected an address, or one with a length such as 203.0.113.0/24"
    )]
    Syntax(String),
    /// Bits are set past the length.
    #[error("`{given}` has bits set past its length: did you mean {meant}?")]
    HostBits {
        /// What was written.
        given: String,
        /// The network it lies in.
        meant: Prefix,
    },
}

impl Prefix {
    /// The prefix of `length` bits around `address`; a length past the family's is cut to it.
    pub fn around(address: IpAddr, length: u8) -> Self {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let net = IpNet::new_assert(address, length.min(longest));
        Self(net.trunc())
    }

    /// The prefix that holds this address alone.
    pub fn host(address: IpAddr) -> Self {
        Self(IpNet::from(address))
    }

    /// The first address.
    pub fn address(self) -> IpAddr {
        self.0.addr()
    }

    /// The last address.
    pub fn last(self) -> IpAddr {
        self.0.broadcast()
    }

    /// How many leading bits are fixed.
    pub fn length(self) -> u8 {
        self.0.prefix_len()
    }

    /// Whether the address lies in this prefix; addresses of the other family never do.
    pub fn contains(self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl FromStr for Prefix {
    type Err = NotAPrefix;

    /// `203.0.113.0/24`, `2001:db8::/32`, or a bare address, which is a prefix of its own.
    fn from_str(text: &str) -> Result<Self, NotAPrefix> {
        let text = text.trim();
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::host(address));
        }
        let net: IpNet = text
            .parse()
            .map_err(|_| NotAPrefix::Syntax(text.to_owned()))?;
        if net.trunc() == net {
            Ok(Self(net))
        } else {
            Err(NotAPrefix::HostBits {
                given: text.to_owned(),
                meant: Self(net.trunc()),
            })
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_bits_are_refused_with_the_network_that_was_meant() {
        let error = "10.0.0.1/8".parse::<Prefix>().unwrap_err();
        assert!(
            error.to_string().ends_with("did you mean 10.0.0.0/8?"),
            "{error}"
        );
    }

    #[test]
    fn a_bare_address_is_a_prefix_of_its_own() {
        let prefix: Prefix = "2001:db8::1".parse().unwrap();
        assert_eq!(prefix.to_string(), "2001:db8::1/128");
    }

    #[test]
    fn around_clears_what_lies_past_the_length() {
        let prefix = Prefix::around("193.0.6.139".parse().unwrap(), 24);
        assert_eq!(prefix.to_string(), "193.0.6.0/24");
        assert_eq!(prefix.last().to_string(), "193.0.6.255");
    }
}
