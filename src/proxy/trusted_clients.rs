//! Whose certificates clients may show: the authorities, and what these have revoked.
//!
//! Where there are lists, every certificate below a root must be on nobody's list, by a list of its own issuer that is still
//! current (RFC 5280 §6.3.3): what is not known to be good is refused.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientCertVerifierBuilder, WebPkiClientVerifier};
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::tls::{CertificateError, pem_problem, read_roots};
use crate::config::plan;

/// What verifies clients.
pub type ClientVerifier = Arc<dyn ClientCertVerifier>;

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
    let builder = revoking(roots, all);
    let builder = match clients.verify {
        plan::ClientVerify::Required => builder,
        plan::ClientVerify::Optional => builder.allow_unauthenticated(),
    };
    let built = builder.build();
    let wrong = |error: String| vec![CertificateError::new(&clients.ca.path, error)];
    let verifier = built.map_err(|error| wrong(error.to_string()))?;
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

/// What to say of a list that a newer one should have replaced.
fn expired(
    list: &CertificateRevocationListDer<'_>,
    path: &Path,
    now: Duration,
) -> Option<CertificateError> {
    let (_, read) = CertificateRevocationList::from_der(list).ok()?;
    let next_update = u64::try_from(read.next_update()?.timestamp()).unwrap_or(0);
    (next_update <= now.as_secs()).then(|| {
        let issuer = read.issuer();
        let message = format!(
            "the revocation list of `{issuer}` has expired: none of its clients is let in until a newer one is there"
        );
        CertificateError::new(path, message)
    })
}
