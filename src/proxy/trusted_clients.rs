//! Whose certificates clients may show: the authorities, and what these have revoked.
//!
//! Where there are lists, every certificate below a root must be on nobody's list, by a list of its own issuer that is still
//! current (RFC 5280 §6.3.3): what is not known to be good is refused.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientCertVerifierBuilder, ProducesTickets, WebPkiClientVerifier};
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::tls::{CertificateError, pem_problem, read_roots};
use crate::clock;
use crate::config::plan;

/// What verifies clients.
#[derive(Clone, Debug)]
pub struct ClientVerifier {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// Until when all lists are current, Unix seconds; none: there are none, or they do not say.
    pub(super) current_until: Option<u64>,
}

impl ClientVerifier {
    /// Tickets that are good for as long as all lists are current: who resumes a session is not verified again.
    pub(super) fn tickets(&self, tickets: Arc<dyn ProducesTickets>) -> Arc<dyn ProducesTickets> {
        match self.current_until {
            Some(until) => Arc::new(WhileCurrent { tickets, until }),
            None => tickets,
        }
    }
}

#[derive(Debug)]
struct WhileCurrent {
    tickets: Arc<dyn ProducesTickets>,
    until: u64,
}

impl ProducesTickets for WhileCurrent {
    fn enabled(&self) -> bool {
        self.tickets.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.tickets.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.tickets.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let is_current = u64::from(clock::unix_secs()) < self.until;
        is_current.then(|| self.tickets.decrypt(cipher))?
    }
}

/// The lists of one file.
type Lists = Vec<CertificateRevocationListDer<'static>>;

/// Loads what verifies clients; beside it, what to warn of.
pub fn client_verifier(
    clients: &plan::ClientTls,
    now: Duration,
) -> Result<(ClientVerifier, Vec<CertificateError>), Vec<CertificateError>> {
    let roots = Arc::new(read_roots(&clients.ca).map_err(|error| vec![error])?);
    let (mut all, mut warnings, mut errors) = (Lists::new(), Vec::new(), Vec::new());
    for file in &clients.crl {
        match read_lists(&file.path, &roots) {
            Ok(lists) => {
                warnings.extend(
                    lists
                        .iter()
                        .filter_map(|list| expired(list, &file.path, now)),
                );
                all.extend(lists);
            }
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let current_until = all.iter().filter_map(|list| next_update(list)).min();
    let builder = revoking(roots, all);
    let builder = match clients.verify {
        plan::ClientVerify::Required => builder,
        plan::ClientVerify::Optional => builder.allow_unauthenticated(),
    };
    let built = builder.build();
    let wrong = |error: String| vec![CertificateError::new(&clients.ca.path, error)];
    let verifier = ClientVerifier {
        verifier: built.map_err(|error| wrong(error.to_string()))?,
        current_until,
    };
    Ok((verifier, warnings))
}

fn revoking(roots: Arc<RootCertStore>, lists: Lists) -> ClientCertVerifierBuilder {
    let builder = WebPkiClientVerifier::builder(roots);
    builder.with_crls(lists).enforce_revocation_expiration()
}

/// The lists of a file, each of which can be used.
fn read_lists(path: &Path, roots: &Arc<RootCertStore>) -> Result<Lists, CertificateError> {
    let unreadable = |error| {
        let message = format!("no revocation list in PEM: {}", pem_problem(error));
        CertificateError::new(path, message)
    };
    let lists = CertificateRevocationListDer::pem_file_iter(path)
        .map_err(unreadable)?
        .collect::<Result<Lists, _>>()
        .map_err(unreadable)?;
    if lists.is_empty() {
        let message = "no revocation list in it: a PEM file with BEGIN X509 CRL is expected \
            (`openssl crl -inform der` makes one of DER)";
        return Err(CertificateError::new(path, message));
    }
    let tried = revoking(roots.clone(), lists.clone()).build();
    tried.map_err(|error| {
        CertificateError::new(path, format!("no usable revocation list: {error}"))
    })?;
    Ok(lists)
}

/// When a newer list should be there, Unix seconds.
fn next_update(list: &CertificateRevocationListDer<'_>) -> Option<u64> {
    let (_, read) = CertificateRevocationList::from_der(list).ok()?;
    Some(u64::try_from(read.next_update()?.timestamp()).unwrap_or(0))
}

/// What to say of a list that a newer one should have replaced.
fn expired(
    list: &CertificateRevocationListDer<'_>,
    path: &Path,
    now: Duration,
) -> Option<CertificateError> {
    let next_update = next_update(list)?;
    let (_, read) = CertificateRevocationList::from_der(list).ok()?;
    (next_update <= now.as_secs()).then(|| {
        let issuer = read.issuer();
        let message = format!(
            "the revocation list of `{issuer}` has expired: none of its clients is let in until a newer one is there"
        );
        CertificateError::new(path, message)
    })
}

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs::Ticketer;
    use rustls::server::NoClientAuth;

    use super::*;

    #[test]
    fn a_session_is_resumed_for_as_long_as_all_lists_are_current() {
        let is_resumed = |current_until| {
            let clients = ClientVerifier {
                verifier: Arc::new(NoClientAuth),
                current_until,
            };
            let tickets = clients.tickets(Ticketer::new().unwrap());
            let ticket = tickets.encrypt(b"a session").unwrap();
            tickets.decrypt(&ticket).is_some()
        };
        let now = u64::from(clock::unix_secs());
        assert!(is_resumed(None));
        assert!(is_resumed(Some(now + 1_000)));
        assert!(!is_resumed(Some(now)));
    }
}
