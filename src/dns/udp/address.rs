//! Addresses as the batched system calls have them: whom a datagram came from, and where it was sent to.

use std::net::IpAddr;

use nix::cmsg_space;
use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, RecvMsg, SockaddrIn, SockaddrIn6, SockaddrLike,
};

/// Addresses of one family.
pub(super) trait Family: SockaddrLike + Copy {
    /// Whom it means.
    fn peer(&self) -> (IpAddr, u16);
    /// Room for the control message that names the local address.
    fn control_space() -> Vec<u8>;
}

impl Family for SockaddrIn {
    fn peer(&self) -> (IpAddr, u16) {
        (self.ip().into(), self.port())
    }

    fn control_space() -> Vec<u8> {
        cmsg_space!(libc::in_pktinfo)
    }
}

impl Family for SockaddrIn6 {
    fn peer(&self) -> (IpAddr, u16) {
        (self.ip().into(), self.port())
    }

    fn control_space() -> Vec<u8> {
        cmsg_space!(libc::in6_pktinfo)
    }
}

/// The local address that a datagram was sent to, and its interface where that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Local {
    address: IpAddr,
    interface: u32,
}

impl Local {
    pub(super) fn of<S: SockaddrLike>(message: &RecvMsg<'_, '_, S>) -> Option<Self> {
        message.cmsgs().ok()?.find_map(|control| {
            // `ipi_spec_dst` is the address to answer from, also where the query was broadcast.
            if let ControlMessageOwned::Ipv4PacketInfo(info) = control {
                let address = IpAddr::from(info.ipi_spec_dst.s_addr.to_ne_bytes());
                return Some(Self {
                    address,
                    interface: 0,
                });
            }
            let ControlMessageOwned::Ipv6PacketInfo(info) = control else {
                return None;
            };
            let address = std::net::Ipv6Addr::from(info.ipi6_addr.s6_addr);
            // Any other address is routed as the host routes it, be the way back another or not.
            let interface = if address.is_unicast_link_local() {
                info.ipi6_ifindex
            } else {
                0
            };
            Some(Self {
                address: address.into(),
                interface,
            })
        })
    }

    /// Calls `send` with the control message that makes a datagram leave from here.
    pub(super) fn with_control<R>(self, send: impl FnOnce(&[ControlMessage<'_>]) -> R) -> R {
        match self.address {
            IpAddr::V4(address) => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: libc::in_addr {
                        s_addr: u32::from_ne_bytes(address.octets()),
                    },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                send(&[ControlMessage::Ipv4PacketInfo(&info)])
            }
            IpAddr::V6(address) => {
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr {
                        s6_addr: address.octets(),
                    },
                    ipi6_ifindex: self.interface,
                };
                send(&[ControlMessage::Ipv6PacketInfo(&info)])
            }
        }
    }
}
