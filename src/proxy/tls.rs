//! Certificates by SNI, and the self-signed default.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::trusted_clients::ClientVerifier;
use crate::config::plan;

/// A certificate this near to its end is warned of.
const NEAR_EXPIRY: Duration = Duration::from_secs(14 * 86_400);

/// A certificate or key that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", path.display())]
pub struct CertificateError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl CertificateError {
    pub(super) fn new(path: &Path, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            message: message.into(),
        }
    }
}

/// The certificates of this edge.
#[derive(Debug)]
pub struct Identities {
    identities: Vec<Identity>,
}

#[derive(Debug)]
struct Identity {
    /// Lower case; wildcards as `*.name`.
    names: Vec<String>,
    key: Arc<CertifiedKey>,
}

impl Identities {
    /// Loads every certificate; all that is wrong with them is told at once. Beside the identities,
    /// what to warn of.
    pub fn load(
        certificates: &[plan::Certificate],
        now: Duration,
    ) -> Result<(Self, Vec<CertificateError>), Vec<CertificateError>> {
        let (mut identities, mut warnings, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for certificate in certificates {
            match load_identity(
                &certificate.cert.path,
                &certificate.key.path,
                now,
                &mut warnings,
            ) {
                Ok(identity) => {
                    if identity.is_never_shown_behind(&identities) {
                        let message = "the certificate is never shown: those before it have all of its names, with keys of the same kind";
                        warnings.push(CertificateError::new(&certificate.cert.path, message));
                    }
                    identities.push(identity);
                }
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() {
            Ok((Self { identities }, warnings))
        } else {
            Err(errors)
        }
    }

    /// A self-signed certificate for these names, valid until 4096 as rcgen has it.
    pub fn self_signed(names: &[String]) -> Result<Self, rcgen::Error> {
        let names = if names.is_empty() {
            vec!["localhost".to_owned()]
        } else {
            names.to_vec()
        };
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(names.clone())?;
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let key =
            certified(vec![cert.der().clone()], key).map_err(|_| rcgen::Error::RemoteKeyError)?;
        Ok(Self {
            identities: vec![Identity {
                names,
                key: Arc::new(key),
            }],
        })
    }

    /// What accepts TLS with these certificates, from these clients (none: anybody), and offers these protocols.
    pub fn server_config(
        self: &Arc<Self>,
        alpn: &[&[u8]],
        clients: Option<&ClientVerifier>,
    ) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder();
        let builder = match clients {
            Some(clients) => builder.with_client_cert_verifier(clients.verifier.clone()),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(self.clone());
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        // Tickets: any number of clients can resume. Without randomness for their key, rustls remembers a few.
        if let Ok(tickets) = Ticketer::new() {
            config.ticketer = match clients {
                Some(clients) => clients.tickets(tickets),
                None => tickets,
            };
        }
        // Tickets are held to what has become of the client's certificate; what rustls remembers by itself would not be.
        if clients.is_some() {
            config.session_storage = Arc::new(NoServerSessionStorage {});
        }
        Arc::new(config)
    }

    /// Whether a host has another certificate than the one that a connection began with, which is not for it
    /// (RFC 9110 §7.4, RFC 9113 §9.1.1). A certificate that is for both may serve both; of several for the name, with keys
    /// of several kinds, any one may have been shown.
    pub(super) fn is_misdirected(&self, sni: &str, host: &str) -> bool {
        if self.identities.len() < 2 || sni.eq_ignore_ascii_case(host) {
            return false;
        }
        let wanted = self.of_name(host);
        let mut shown = self.of_name(sni).into_iter();
        !shown.any(|shown| shown.is_for(host) || wanted.iter().any(|one| std::ptr::eq(shown, *one)))
    }

    /// The certificates of a name: those that have it, else those with a wildcard of one label (RFC 9525 §6.3), else those that
    /// stand for every other name: the first, and what has all of its names with a key of another kind.
    fn of_name(&self, name: &str) -> Vec<&Identity> {
        let name = name.to_ascii_lowercase();
        let named = |wanted: &str| -> Vec<&Identity> {
            let all = self.identities.iter();
            all.filter(|identity| identity.has(wanted)).collect()
        };
        let mut found = named(&name);
        if let Some(wildcard) = wildcard_of(&name).filter(|_| found.is_empty()) {
            found = named(&wildcard);
        }
        if let Some(first) = self.identities.first().filter(|_| found.is_empty()) {
            let stands_for_first = |one: &&Identity| first.names.iter().all(|name| one.has(name));
            found = self.identities.iter().filter(stands_for_first).collect();
        }
        found
    }
}

impl Identity {
    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|own| own == name)
    }

    fn is_never_shown_behind(&self, others: &[Self]) -> bool {
        let is_alike = |other: &&Self| other.key.key.algorithm() == self.key.key.algorithm();
        let alike: Vec<&Self> = others.iter().filter(is_alike).collect();
        let is_had = |name: &String| alike.iter().any(|other| other.has(name));
        !alike.is_empty() && self.names.iter().all(is_had)
    }

    fn is_for(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.has(&name) || wildcard_of(&name).is_some_and(|wildcard| self.has(&wildcard))
    }
}

/// The wildcard that a name falls under.
fn wildcard_of(name: &str) -> Option<String> {
    let (_, parent) = name.split_once('.')?;
    Some(format!("*.{parent}"))
}

impl ResolvesServerCert for Identities {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let of_name = self.of_name(hello.server_name().unwrap_or_default());
        // rustls leaves out schemes whose cipher suites TLS 1.2's client does not offer.
        let schemes = hello.signature_schemes();
        let mut all = of_name.iter();
        let fitting = all.find(|identity| identity.key.key.choose_scheme(schemes).is_some());
        Some(fitting.or(of_name.first())?.key.clone())
    }
}

fn load_identity(
    cert: &Path,
    key: &Path,
    now: Duration,
    warnings: &mut Vec<CertificateError>,
) -> Result<Identity, CertificateError> {
    let chain = read_chain(cert)?;
    let (names, not_after) = chain
        .first()
        .and_then(|leaf| names_of(leaf))
        .ok_or_else(|| {
            CertificateError::new(cert, "the first certificate is no X.509 certificate")
        })?;
    let left = not_after.saturating_sub(now);
    if left.is_zero() {
        warnings.push(CertificateError::new(cert, "the certificate has expired"));
    } else if left < NEAR_EXPIRY {
        let days = left.as_secs() / 86_400;
        warnings.push(CertificateError::new(
            cert,
            format!("the certificate expires in {days} days"),
        ));
    }
    Ok(Identity {
        names,
        key: Arc::new(with_key(chain, cert, key)?),
    })
}

/// A certificate with its key.
pub(super) fn load_key(files: &plan::Certificate) -> Result<CertifiedKey, CertificateError> {
    let (cert, key) = (&files.cert.path, &files.key.path);
    with_key(read_chain(cert)?, cert, key)
}

fn with_key(
    chain: Vec<CertificateDer<'static>>,
    cert: &Path,
    key: &Path,
) -> Result<CertifiedKey, CertificateError> {
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| {
        let message = format!("no private key in PEM: {}", pem_problem(error));
        CertificateError::new(key, message)
    })?;
    let certified =
        certified(chain, private).map_err(|error| CertificateError::new(key, error.to_string()))?;
    certified.keys_match().map_err(|_| {
        let message = format!(
            "the key does not belong to the certificate {}",
            cert.display()
        );
        CertificateError::new(key, message)
    })?;
    Ok(certified)
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, rustls::Error> {
    let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)?;
    Ok(CertifiedKey::new(chain, signer))
}

/// What is wrong with a PEM file, in words: the parser shows bytes as numbers.
pub(super) fn pem_problem(error: rustls_pki_types::pem::Error) -> String {
    use rustls_pki_types::pem::Error;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if let Error::MissingSectionEnd { end_marker } = error {
        return format!("it ends before `-----END {}-----`", text(end_marker));
    }
    if let Error::IllegalSectionStart { line } = error {
        return format!("`{}` begins no section", text(line));
    }
    error.to_string()
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let unreadable = |error: rustls_pki_types::pem::Error| {
        CertificateError::new(
            path,
            format!("no certificate in PEM: {}", pem_problem(error)),
        )
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(unreadable)?
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    if chain.is_empty() {
        return Err(CertificateError::new(
            path,
            "no certificate in it: a PEM file with BEGIN CERTIFICATE is expected",
        ));
    }
    Ok(chain)
}

/// A certificate's DNS names and the Unix time of its end.
fn names_of(der: &[u8]) -> Option<(Vec<String>, Duration)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let names = certificate
        .subject_alternative_name()
        .ok()
        .flatten()
        .map(|extension| &extension.value.general_names)
        .into_iter()
        .flatten()
        .filter_map(|name| {
            let GeneralName::DNSName(name) = name else {
                return None;
            };
            Some(name.to_ascii_lowercase())
        })
        .collect();
    let not_after = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
    Some((names, Duration::from_secs(not_after)))
}

/// The roots that a file holds.
pub(super) fn read_roots(file: &plan::FileRef) -> Result<RootCertStore, CertificateError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_chain(&file.path)? {
        roots.add(certificate).map_err(|error| {
            CertificateError::new(&file.path, format!("not a CA certificate: {error}"))
        })?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_finds_its_certificate_then_a_wildcard_then_the_first() {
        let mut all = Identities::self_signed(&["a.example".into()]).unwrap();
        all.identities.extend(
            Identities::self_signed(&["*.b.example".into()])
                .unwrap()
                .identities,
        );
        let (first, second) = (all.identities[0].key.clone(), all.identities[1].key.clone());
        for (name, expected) in [
            ("A.example", &first),
            ("x.b.example", &second),
            ("x.y.b.example", &first),
            ("", &first),
        ] {
            assert!(Arc::ptr_eq(&all.of_name(name)[0].key, expected), "{name}");
        }
    }

    #[test]
    fn a_connection_serves_the_hosts_of_its_certificate_and_those_without_another() {
        let mut all = Identities::self_signed(&["a.example".into(), "*.c.example".into()]).unwrap();
        let second = Identities::self_signed(&["b.example".into(), "x.c.example".into()]).unwrap();
        let check = |all: &Identities, sni, host, expected| {
            assert_eq!(all.is_misdirected(sni, host), expected, "{sni} {host}");
        };
        check(&all, "a.example", "b.example", false);
        all.identities.extend(second.identities);
        for (sni, host, expected) in [
            ("a.example", "A.example", false),
            ("a.example", "b.example", true),
            ("b.example", "a.example", true),
            ("a.example", "other.example", false),
            ("b.example", "other.example", true),
            ("other.example", "b.example", true),
            ("a.example", "x.c.example", false),
            ("b.example", "y.c.example", true),
        ] {
            check(&all, sni, host, expected);
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let Err(error) = read_chain(Path::new("no/such.pem")) else {
            panic!("there is no such file");
        };
        assert!(error.to_string().starts_with("no/such.pem: "), "{error}");
    }

    #[test]
    fn a_certificate_is_warned_of_from_two_weeks_before_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| plan::FileRef {
            path: folder.path().join(name),
            at: plan::SourceAt {
                file: Path::new("edge.yaml").into(),
                line: 1,
                column: 1,
            },
        };
        let files = plan::Certificate {
            cert: file("cert"),
            key: file("key"),
        };
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let cert = params.self_signed(&key).unwrap();
        std::fs::write(&files.cert.path, cert.pem()).unwrap();
        std::fs::write(&files.key.path, key.serialize_pem()).unwrap();
        let end = Duration::from_secs(1_893_456_000);
        for (left, warning) in [
            (NEAR_EXPIRY, None),
            (
                NEAR_EXPIRY - Duration::from_secs(1),
                Some("expires in 13 days"),
            ),
            (Duration::ZERO, Some("has expired")),
        ] {
            let loaded = Identities::load(std::slice::from_ref(&files), end - left);
            let said: Vec<String> = loaded.unwrap().1.iter().map(ToString::to_string).collect();
            assert_eq!(said.len(), usize::from(warning.is_some()), "{said:?}");
            assert!(
                warning.is_none_or(|warning| said[0].contains(warning)),
                "{said:?}"
            );
        }
    }
}
