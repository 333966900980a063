//! Trust towards origins, and what the edge shows to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::tls::{CertificateError, load_key, read_roots};
use crate::config::plan;

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

/// How often trust towards origins was loaded: tells one from another.
static LOADED: AtomicU64 = AtomicU64::new(0);

impl OriginTls {
    /// TLS with these credentials.
    pub fn new(trust: &plan::OriginTls, credentials: &Credentials) -> Self {
        Self {
            any: credentials.client_config(trust.verify, &[b"h2", b"http/1.1"]),
            http1: credentials.client_config(trust.verify, &[b"http/1.1"]),
            server_name: trust.server_name.clone(),
            number: LOADED.fetch_add(1, Ordering::Relaxed),
        }
    }
}

/// Whom the edge believes, and what it shows of itself.
pub struct Credentials {
    roots: Arc<RootCertStore>,
    identity: Option<Arc<SingleCertAndKey>>,
}

/// Nobody, and nothing.
impl Default for Credentials {
    fn default() -> Self {
        Self {
            roots: Arc::new(RootCertStore::empty()),
            identity: None,
        }
    }
}

impl Credentials {
    /// Loads the operator's roots, or the public ones, and the certificate for origins that ask for one.
    pub fn load(trust: &plan::OriginTls) -> Result<Self, CertificateError> {
        let roots = match &trust.ca {
            None => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
            Some(file) => read_roots(file)?,
        };
        let identity = trust.identity.as_ref().map(load_key).transpose()?;
        Ok(Self {
            roots: Arc::new(roots),
            identity: identity.map(|key| Arc::new(SingleCertAndKey::from(key))),
        })
    }

    /// TLS towards origins and probes.
    pub fn client_config(&self, verify: bool, alpn: &[&[u8]]) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder();
        let builder = if verify {
            builder.with_root_certificates(self.roots.clone())
        } else {
            let provider = builder.crypto_provider().clone();
            let any = Arc::new(AnyCertificate(provider));
            builder.dangerous().with_custom_certificate_verifier(any)
        };
        let mut config = match self.identity.clone() {
            Some(identity) => builder.with_client_cert_resolver(identity),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }
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
    fn origins_are_asked_for_a_post_quantum_key_first() {
        let config = Credentials::default().client_config(true, &[]);
        let first = config.crypto_provider().kx_groups[0].name();
        assert_eq!(first, rustls::NamedGroup::X25519MLKEM768);
    }
}
