//! `admin`: who may see and change what, and how the admin API is encrypted.

use std::sync::Arc;

use super::{Certificate, FileRef, TokenDigest};

/// Access to the admin API.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AdminAccess {
    /// Who may do what; none: changes are allowed only if admin listens on loopback.
    pub tokens: Vec<AdminToken>,
    /// How it is encrypted; none: in clear.
    pub tls: Option<AdminTls>,
}

/// A bearer token.
#[derive(Clone, Debug, PartialEq)]
pub struct AdminToken {
    /// Whose it is, as the audit log tells it.
    pub name: Arc<str>,
    /// Of what its bearer shows.
    pub digest: TokenDigest,
    /// What its bearer may do.
    pub role: Role,
}

/// What a bearer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// See everything.
    Read,
    /// And change it.
    Operate,
}

/// Whose certificate the admin shows.
#[derive(Clone, Debug, PartialEq)]
pub enum AdminTls {
    /// Those of the https listeners.
    Edge,
    /// One of its own.
    Own(Certificate),
}

impl AdminAccess {
    /// Whether everybody who reaches it may see everything: so it is until there is a token that is for
    /// seeing alone.
    pub fn is_open_to_readers(&self) -> bool {
        self.tokens.iter().all(|token| token.role != Role::Read)
    }

    /// The files that it names.
    pub fn files(&self) -> impl Iterator<Item = &FileRef> {
        let own = self.tls.iter().filter_map(|tls| match tls {
            AdminTls::Own(certificate) => Some(certificate),
            AdminTls::Edge => None,
        });
        own.flat_map(|certificate| [&certificate.cert, &certificate.key])
    }
}
