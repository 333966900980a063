//! A client's certificate, as origins are told of it: `Client-Cert` (RFC 9440).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use x509_parser::prelude::{FromDer, X509Certificate};

static CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
static CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");

/// The field's value for the certificate of a verified client: a structured field's byte sequence (§2.1).
pub(super) fn field_of(connection: &rustls::ServerConnection) -> Option<HeaderValue> {
    let certificate = connection.peer_certificates()?.first()?;
    HeaderValue::from_str(&format!(":{}:", STANDARD.encode(certificate))).ok()
}

/// Whether a session goes on whose client has a certificate that has expired since it was verified: who resumes one is not
/// verified again.
pub(super) fn has_expired(connection: &rustls::ServerConnection, now: u64) -> bool {
    let is_resumed = connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
    let shown = connection.peer_certificates().and_then(<[_]>::first);
    is_resumed && shown.is_some_and(|certificate| is_past(certificate, now))
}

/// Whether a certificate has expired, Unix seconds.
fn is_past(certificate: &[u8], now: u64) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(_, read)| {
        let not_after = read.validity().not_after.timestamp();
        u64::try_from(not_after).unwrap_or(0) < now
    })
}

/// Tells the origin who the client has proven to be. What is there already is of a trusted proxy that has verified its own
/// clients, and stays if it shows no certificate here.
pub(super) fn tell(headers: &mut HeaderMap, verified: Option<&HeaderValue>) {
    if let Some(verified) = verified {
        headers.insert(&CLIENT_CERT, verified.clone());
        headers.remove(&CLIENT_CERT_CHAIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(verified: Option<&'static str>, expected: Option<&str>) {
        let mut headers = HeaderMap::new();
        headers.insert(&CLIENT_CERT, HeaderValue::from_static(":c2FpZA==:"));
        headers.insert(&CLIENT_CERT_CHAIN, HeaderValue::from_static(":c2FpZA==:"));
        let verified = verified.map(HeaderValue::from_static);
        tell(&mut headers, verified.as_ref());
        let told = headers
            .get(&CLIENT_CERT)
            .map(|value| value.to_str().unwrap());
        assert_eq!(told, expected);
        let keeps_chain = expected == Some(":c2FpZA==:");
        assert_eq!(headers.contains_key(&CLIENT_CERT_CHAIN), keeps_chain);
    }

    #[test]
    fn a_certificate_is_good_to_the_last_second_of_its_time() {
        let mut params = rcgen::CertificateParams::new(["anna".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let not_after = 1_893_456_000;
        assert!(!is_past(certificate.der(), not_after));
        assert!(is_past(certificate.der(), not_after + 1));
    }

    #[test]
    fn what_was_verified_here_takes_the_place_of_a_proxy_s_word() {
        check(Some(":b3du:"), Some(":b3du:"));
        check(None, Some(":c2FpZA==:"));
    }
}
