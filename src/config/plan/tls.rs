//! `tls`: certificates, and trust towards clients and origins.

use std::sync::Arc;

use super::FileRef;

/// Certificates, and trust towards origins.
#[derive(Clone, Debug, PartialEq)]
pub struct Tls {
    /// Chosen by SNI; empty: a self-signed one for the configured hosts.
    pub certificates: Vec<Certificate>,
    /// Who clients of https listeners must be; none: anybody.
    pub clients: Option<ClientTls>,
    /// Towards https origins and probes.
    pub origins: OriginTls,
}

impl Tls {
    /// The files that it is made of.
    pub fn files(&self) -> impl Iterator<Item = &FileRef> {
        self.own_files().chain(self.origin_files())
    }

    /// Of those, what https listeners are made of.
    pub fn own_files(&self) -> impl Iterator<Item = &FileRef> {
        let certificates = self.certificates.iter().flat_map(|c| [&c.cert, &c.key]);
        let clients = self.clients.iter();
        certificates
            .chain(clients.flat_map(|clients| std::iter::once(&clients.ca).chain(&clients.crl)))
    }

    /// And what is needed towards origins.
    pub fn origin_files(&self) -> impl Iterator<Item = &FileRef> {
        let identity = self.origins.identity.iter();
        let identity = identity.flat_map(|identity| [&identity.cert, &identity.key]);
        self.origins.ca.iter().chain(identity)
    }
}

/// A certificate chain with its key, PEM.
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    /// The chain, leaf first.
    pub cert: FileRef,
    /// The private key.
    pub key: FileRef,
}

/// Which certificates of clients are believed.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientTls {
    /// The roots that they must lead to.
    pub ca: FileRef,
    /// What those have revoked; empty: nothing is looked up.
    pub crl: Vec<FileRef>,
    /// Whether a client must have one.
    pub verify: ClientVerify,
}

/// Whether a client must have a certificate. One that it shows is verified in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientVerify {
    /// Without one there is no connection.
    Required,
    /// Origins are told whether there is one.
    Optional,
}

/// Trust towards origins.
#[derive(Clone, Debug, PartialEq)]
pub struct OriginTls {
    /// Roots to trust; none: the public ones.
    pub ca: Option<FileRef>,
    /// Whether certificates are verified.
    pub verify: bool,
    /// The name to ask for and verify; none: the request's host.
    pub server_name: Option<Arc<str>>,
    /// What the edge shows to origins and to what is probed, if they ask; none: nothing.
    pub identity: Option<Certificate>,
}
