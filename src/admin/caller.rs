//! Who calls the admin API.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Who calls, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    /// Who.
    pub(super) who: Who,
    /// The other end of the connection.
    pub(super) from: IpAddr,
    /// Whether it may see what the API shows, whatever it asked for.
    pub(super) may_see: bool,
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Who {
    /// Whoever bears the token of this name.
    Bearer(Arc<str>),
    /// Somebody on this machine, where no token is configured.
    ThisMachine,
    /// Somebody who has shown nothing that counts.
    Anybody,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bearer(name) => f.write_str(name),
            Self::ThisMachine => f.write_str("(this machine)"),
            Self::Anybody => f.write_str("(unknown)"),
        }
    }
}
