//! A TLS client for tests that need more than curl.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, NamedGroup, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::TlsConnector;

use super::Edge;

/// Takes any certificate: the edge's own is self-signed here.
pub fn trusting_anybody(alpn: &[&[u8]]) -> TlsConnector {
    connector(rustls::crypto::aws_lc_rs::default_provider(), alpn)
}

/// The same with these key exchange groups alone, in this order.
pub fn trusting_anybody_with(alpn: &[&[u8]], groups: &[NamedGroup]) -> TlsConnector {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    let all = provider.kx_groups.clone();
    let wanted = groups.iter().map(|name| {
        let mut all = all.iter();
        *all.find(|group| group.name() == *name).unwrap()
    });
    provider.kx_groups = wanted.collect();
    connector(provider, alpn)
}

fn connector(provider: CryptoProvider, alpn: &[&[u8]]) -> TlsConnector {
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// What openssl's client says of a connection to `www.example.com` with these arguments, and a GET on it.
pub fn s_client(edge: &Edge, arguments: &[&str]) -> String {
    let mut client = Command::new("openssl")
        .args(["s_client", "-ign_eof", "-servername", "www.example.com"])
        .args(["-connect", &edge.address("https").to_string()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n";
    client.stdin.take().unwrap().write_all(request).unwrap();
    let said = client.wait_with_output().unwrap().stdout;
    String::from_utf8_lossy(&said).into_owned()
}
