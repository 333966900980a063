//! `tls`: certificates, who clients must be, and trust towards origins.

use super::{Compiling, file, files};
use crate::config::plan::{Certificate, ClientTls, ClientVerify, OriginTls, Tls};
use crate::config::tree::Node;

pub(super) fn tls(root: &Node, compiling: &mut Compiling<'_>) -> Tls {
    let node = root.get("tls");
    let certificates = node
        .and_then(|node| node.get("certificates"))
        .map_or(&[][..], Node::items);
    let origins = node.and_then(|node| node.get("origins"));
    Tls {
        certificates: certificates.iter().filter_map(certificate).collect(),
        clients: node.and_then(|node| node.get("clients")).and_then(clients),
        origins: OriginTls {
            ca: origins.and_then(|origins| file(origins, "ca")),
            verify: origins
                .and_then(|origins| origins.read("verify", |text| text.parse().ok()))
                .unwrap_or(true),
            server_name: origins
                .and_then(|origins| origins.read("server_name", |text| Some(text.into()))),
            identity: origins.and_then(|origins| identity(origins, compiling)),
        },
    }
}

pub(super) fn certificate(node: &Node) -> Option<Certificate> {
    Some(Certificate {
        cert: file(node, "cert")?,
        key: file(node, "key")?,
    })
}

fn clients(node: &Node) -> Option<ClientTls> {
    let verify = match node.get("verify").and_then(Node::text) {
        Some("optional") => ClientVerify::Optional,
        Some(_) | None => ClientVerify::Required,
    };
    Some(ClientTls {
        ca: file(node, "ca")?,
        crl: files(node, "crl"),
        verify,
    })
}

/// What the edge shows to origins: a certificate with its key, or neither.
fn identity(origins: &Node, compiling: &mut Compiling<'_>) -> Option<Certificate> {
    for (given, missing) in [("cert", "key"), ("key", "cert")] {
        if let (Some(given_at), None) = (origins.get(given), origins.get(missing)) {
            let message = format!("`{given}` without `{missing}`: a certificate needs its key");
            compiling.problem(&given_at.at, message);
        }
    }
    certificate(origins)
}
