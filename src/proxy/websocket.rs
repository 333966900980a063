//! A WebSocket's handshake in both of its forms, and one made into the other.
//!
//! Over HTTP/1.1 it is GET with Upgrade, and 101 (RFC 6455 §4); over HTTP/2 CONNECT with `:protocol`, and 200
//! (RFC 8441). Between client and origin it is the former, whatever either of them speaks.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};

use super::headers::{ask_upgrade, upgrade_of};
use super::problem::Problem;
use super::tunnel::{ClientSide, take_client_side};
use crate::chance;
use crate::http2::Protocol;

const WEBSOCKET: &str = "websocket";

/// RFC 6455 §1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A client that asks for a WebSocket.
pub(super) struct Handshake {
    /// What its side becomes once the answer is on its way; none: that cannot be told.
    pub(super) client: Option<ClientSide>,
    /// As `Upgrade` has it.
    pub(super) protocol: HeaderValue,
    /// The fields of its request, by which residency goes as long as it is open.
    fields: HeaderMap,
    form: Form,
}

/// How it asked.
enum Form {
    Upgrade,
    /// Extended CONNECT, which has no key: the edge made one for the origin.
    Connect {
        key: HeaderValue,
    },
}

/// Takes the handshake out of a request, which becomes a GET; none: it is another request. Of CONNECT nothing
/// else is served: this is no forward proxy.
pub(super) fn take(parts: &mut Parts, has_body: bool) -> Result<Option<Handshake>, Problem> {
    if parts.method == Method::CONNECT {
        return take_connect(parts).map(Some);
    }
    // RFC 6455 §4.1: it is a GET. What has a body is a request like others, without the upgrade (RFC 9110 §7.8).
    if parts.version != Version::HTTP_11 || parts.method != Method::GET || has_body {
        return Ok(None);
    }
    let protocol = upgrade_of(&parts.headers);
    Ok(protocol.map(|protocol| Handshake {
        client: take_client_side(&mut parts.extensions),
        protocol,
        fields: parts.headers.clone(),
        form: Form::Upgrade,
    }))
}

fn take_connect(parts: &mut Parts) -> Result<Handshake, Problem> {
    match parts.extensions.remove::<Protocol>() {
        Some(protocol) if protocol.as_str().eq_ignore_ascii_case(WEBSOCKET) => {}
        Some(protocol) => {
            let why = format!("CONNECT for `{}`: only websocket", protocol.as_str());
            return Err(Problem::Malformed(why));
        }
        None => {
            let why = "this is no forward proxy: CONNECT";
            return Err(Problem::Malformed(why.into()));
        }
    }
    let nonce = STANDARD.encode(chance::id_128().to_be_bytes());
    let key =
        HeaderValue::from_str(&nonce).map_err(|error| Problem::Malformed(error.to_string()))?;
    parts.method = Method::GET;
    let fields = parts.headers.clone();
    parts.headers.insert(SEC_WEBSOCKET_KEY, key.clone());
    let version = parts.headers.entry(SEC_WEBSOCKET_VERSION);
    version.or_insert(HeaderValue::from_static("13"));
    Ok(Handshake {
        client: take_client_side(&mut parts.extensions),
        protocol: HeaderValue::from_static(WEBSOCKET),
        fields,
        form: Form::Connect { key },
    })
}

impl Handshake {
    /// Whether an origin's 101 opens what was asked for.
    pub(super) fn check(&self, answer: &HeaderMap) -> Result<(), Problem> {
        let Form::Connect { key } = &self.form else {
            return Ok(()); // The client checks it against its own key.
        };
        if answer.get(SEC_WEBSOCKET_ACCEPT) == accept_of(key).as_ref() {
            return Ok(());
        }
        let why = "101 whose Sec-WebSocket-Accept does not belong to the key".to_owned();
        Err(Problem::MalformedAnswer(why))
    }

    /// Whether a status that opens nothing says so to the client: over HTTP/2 every 2xx opens (RFC 8441 §5).
    pub(super) fn check_refusal(&self, status: StatusCode) -> Result<(), Problem> {
        match self.form {
            Form::Connect { .. } if status.is_success() => {
                let why = format!("{} instead of 101 to a WebSocket", status.as_u16());
                Err(Problem::MalformedAnswer(why))
            }
            Form::Connect { .. } | Form::Upgrade => Ok(()),
        }
    }

    /// Says 101 as the client understands it; of the head everything of a connection is removed already. Gives the client's side
    /// and the fields of its request.
    pub(super) fn answer(
        self,
        parts: &mut http::response::Parts,
    ) -> Option<(ClientSide, HeaderMap)> {
        match self.form {
            Form::Upgrade => ask_upgrade(&mut parts.headers, self.protocol),
            Form::Connect { .. } => {
                parts.status = StatusCode::OK;
                parts.headers.remove(SEC_WEBSOCKET_ACCEPT);
            }
        }
        Some((self.client?, self.fields))
    }
}

/// RFC 6455 §4.2.2: what answers a key.
fn accept_of(key: &HeaderValue) -> Option<HeaderValue> {
    let text = [key.as_bytes(), GUID.as_bytes()].concat();
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &text);
    HeaderValue::from_str(&STANDARD.encode(hash)).ok()
}

/// Whether a request on its way to an origin asks for a WebSocket.
pub(super) fn is_asked_for(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE)
}

/// Makes a request with Upgrade an extended CONNECT.
pub(super) fn as_connect<B>(request: &mut Request<B>) {
    *request.method_mut() = Method::CONNECT;
    let headers = request.headers_mut();
    for name in [CONNECTION, UPGRADE, SEC_WEBSOCKET_KEY, CONTENT_LENGTH] {
        headers.remove(name);
    }
    let protocol = Protocol::from_static(WEBSOCKET);
    request.extensions_mut().insert(protocol);
}

/// Makes an HTTP/2 origin's yes to an extended CONNECT the 101 to the request that it was made of.
pub(super) fn as_switch<B>(asked: &HeaderMap, answer: &mut Response<B>) {
    if !answer.status().is_success() {
        return;
    }
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    ask_upgrade(headers, HeaderValue::from_static(WEBSOCKET));
    if let Some(accept) = asked.get(SEC_WEBSOCKET_KEY).and_then(accept_of) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_answered_as_the_rfc_s_example_is() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        let accept = accept_of(&key).unwrap();
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn an_extended_connect_tells_no_length() {
        let request = Request::builder().header(CONTENT_LENGTH, 0);
        let mut request = request.header(UPGRADE, WEBSOCKET).body(()).unwrap();
        as_connect(&mut request);
        assert_eq!(request.method(), Method::CONNECT);
        assert!(request.headers().is_empty(), "{:?}", request.headers());
    }
}
