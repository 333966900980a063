//! Certificates by SNI, the self-signed default, and trust towards origins.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

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
    fn new(path: &Path, message: impl Into<String>) -> Self {
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
                Ok(identity) => identities.push(identity),
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

    /// What accepts TLS with these certificates and offers these protocols.
    pub fn server_config(self, alpn: &[&[u8]]) -> Arc<ServerConfig> {
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self));
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }

    /// The certificate of a name: exact, then a wildcard of one label (RFC 9525 §6.3), then the first.
    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let wildcard = name
            .split_once('.')
            .map(|(_, parent)| format!("*.{parent}"));
        let named = |wanted: &str| {
            self.identities
                .iter()
                .find(|identity| identity.names.iter().any(|n| n == wanted))
        };
        named(&name)
            .or_else(|| named(&wildcard?))
            .or_else(|| self.identities.first())
            .map(|identity| &identity.key)
    }
}

impl ResolvesServerCert for Identities {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name().unwrap_or_default()).cloned()
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
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| {
        CertificateError::new(
            key,
            format!("no private key in PEM: {}", pem_problem(error)),
        )
    })?;
    let certified =
        certified(chain, private).map_err(|error| CertificateError::new(key, error.to_string()))?;
    certified.keys_match().map_err(|_| {
        CertificateError::new(
            key,
            format!(
                "the key does not belong to the certificate {}",
                cert.display()
            ),
        )
    })?;
    Ok(Identity {
        names,
        key: Arc::new(certified),
    })
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, rustls::Error> {
    let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)?;
    Ok(CertifiedKey::new(chain, signer))
}

/// What is wrong with a PEM file, in words: the parser shows bytes as numbers.
fn pem_problem(error: rustls_pki_types::pem::Error) -> String {
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

/// TLS towards origins, for each way of speaking to them.
#[derive(Clone)]
pub struct OriginTls {
    /// HTTP/2 or HTTP/1.1 by ALPN.
    pub(super) any: Arc<ClientConfig>,
    /// HTTP/1.1 only: what an upgrade needs.
    pub(super) http1: Arc<ClientConfig>,
    /// The name to ask for and verify, where it is not the request's host.
    pub(super) server_name: Option<Arc<str>>,
    /// Connections made under one are not used under another.
    pub(super) number: u64,
}

impl OriginTls {
    /// Loads the roots.
    pub fn load(trust: &plan::OriginTls) -> Result<Self, CertificateError> {
        let roots = roots(trust)?;
        Ok(Self {
            any: client_config(&roots, trust.verify, &[b"h2", b"http/1.1"]),
            http1: client_config(&roots, trust.verify, &[b"http/1.1"]),
            server_name: trust.server_name.clone(),
            number: LOADED.fetch_add(1, Ordering::Relaxed),
        })
    }
}

/// How often trust towards origins was loaded: tells one from another.
static LOADED: AtomicU64 = AtomicU64::new(0);

/// The roots to trust: the operator's, or the public ones.
pub fn roots(trust: &plan::OriginTls) -> Result<Arc<RootCertStore>, CertificateError> {
    let mut roots = RootCertStore::empty();
    match &trust.ca {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(file) => {
            for certificate in read_chain(&file.path)? {
                roots.add(certificate).map_err(|error| {
                    CertificateError::new(&file.path, format!("not a CA certificate: {error}"))
                })?;
            }
        }
    }
    Ok(Arc::new(roots))
}

/// TLS towards origins and probes.
pub fn client_config(
    roots: &Arc<RootCertStore>,
    verify: bool,
    alpn: &[&[u8]],
) -> Arc<ClientConfig> {
    let mut config = if verify {
        ClientConfig::builder()
            .with_root_certificates(roots.clone())
            .with_no_client_auth()
    } else {
        let provider = CryptoProvider::get_default()
            .cloned()
            .unwrap_or_else(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
        ClientConfig::builder()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth()
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

/// `verify: false`: takes any certificate, but still demands proof of its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
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
            assert!(Arc::ptr_eq(all.find(name).unwrap(), expected), "{name}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let Err(error) = read_chain(Path::new("no/such.pem")) else {
            panic!("there is no such file");
        };
        assert!(error.to_string().starts_with("no/such.pem: "), "{error}");
    }
}
