//! A client's certificate, as origins are told of it: `Client-Cert` (RFC 9440).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};

static CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
static CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");

/// The field's value for the certificate of a verified client: a structured field's byte sequence (§2.1).
pub(super) fn field_of(connection: &rustls::ServerConnection) -> Option<HeaderValue> {
    let certificate = connection.peer_certificates()?.first()?;
    HeaderValue::from_str(&format!(":{}:", STANDARD.encode(certificate))).ok()
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
    fn what_was_verified_here_takes_the_place_of_a_proxy_s_word() {
        check(Some(":b3du:"), Some(":b3du:"));
        check(None, Some(":c2FpZA==:"));
    }
}
