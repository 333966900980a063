//! A client's certificate, as origins are told of it: `Client-Cert` (RFC 9440).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::headers::remove_all;

static CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
static CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");

/// The field's value for the certificate of a verified client: a structured field's byte sequence (§2.1).
pub(super) fn field_of(connection: &rustls::ServerConnection) -> Option<HeaderValue> {
    let certificate = connection.peer_certificates()?.first()?;
    HeaderValue::from_str(&format!(":{}:", STANDARD.encode(certificate))).ok()
}

/// Tells the origin who the client has proven to be. What a client says of itself is removed (§4), but for a
/// trusted proxy that has verified its own clients and shows no certificate here.
pub(super) fn tell(headers: &mut HeaderMap, verified: Option<&HeaderValue>, is_trusted: bool) {
    if verified.is_none() && is_trusted {
        return;
    }
    remove_all(headers, &[&CLIENT_CERT, &CLIENT_CERT_CHAIN]);
    if let Some(verified) = verified {
        headers.insert(&CLIENT_CERT, verified.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(verified: Option<&'static str>, is_trusted: bool, expected: Option<&str>) {
        let mut headers = HeaderMap::new();
        headers.insert(&CLIENT_CERT, HeaderValue::from_static(":c2FpZA==:"));
        headers.insert(&CLIENT_CERT_CHAIN, HeaderValue::from_static(":c2FpZA==:"));
        let verified = verified.map(HeaderValue::from_static);
        tell(&mut headers, verified.as_ref(), is_trusted);
        let told = headers
            .get(&CLIENT_CERT)
            .map(|value| value.to_str().unwrap());
        assert_eq!(told, expected);
        let keeps_chain = expected == Some(":c2FpZA==:");
        assert_eq!(headers.contains_key(&CLIENT_CERT_CHAIN), keeps_chain);
    }

    #[test]
    fn only_what_was_verified_is_told() {
        check(None, false, None);
        check(Some(":b3du:"), false, Some(":b3du:"));
        check(Some(":b3du:"), true, Some(":b3du:"));
        check(None, true, Some(":c2FpZA==:"));
    }
}
