//! Answers that the edge makes itself: RFC 9457 problem details with RFC 9209's Proxy-Status.

use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
use serde_json::json;

use super::answer_head::date;
use super::body::{Body, BodyError};
use super::guard::Refusal;
use super::headers::{Via, pseudonym, write_field};
use super::trace::X_REQUEST_ID;
use crate::config::plan::ErrorDetail;

/// Seconds after which a client may try again when no region is able: about one recheck.
const RETRY_AFTER_SECS: u16 = 5;

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// What went wrong, and whose fault it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    /// The client's: a request that is none.
    #[error("{0}")]
    Malformed(String),
    /// The client's: it stopped talking.
    #[error("the request did not arrive in time")]
    Stalled,
    /// The client's: too much body.
    #[error("the body is longer than the {0} bytes that this service takes")]
    BodyTooLong(u64),
    /// The client's: too many or too long headers.
    #[error("the headers are larger than this service takes: {0}")]
    HeadersTooLarge(String),
    /// The client's: a longer target than any URI that is taken.
    #[error("{0}")]
    TargetTooLong(String),
    /// The client's: nobody here by that name.
    #[error("no service answers for `{0}`")]
    UnknownHost(String),
    /// The client's: the connection was made for another host.
    #[error(
        "`{0}` has another certificate than this connection was made with: it needs one of its own"
    )]
    Misdirected(String),
    /// The client's: the origin is well, and not for what was asked.
    #[error("{0}")]
    Unserved(String),
    /// The origins': what is sent to them comes back as a request.
    #[error(
        "the request goes round: it has passed this edge before, so that the edge is its own origin, or another edge's that is one of its own"
    )]
    Looping,
    /// The origins': none could be reached.
    #[error("{0}")]
    Unreachable(String),
    /// The origins': one broke off.
    #[error("{0}")]
    BrokenOrigin(String),
    /// The origins': one sent what is no answer.
    #[error("{0}")]
    MalformedAnswer(String),
    /// The origins': one was too slow.
    #[error("{0}")]
    OriginTimeout(String),
    /// Ours: this edge itself could not connect to anybody.
    #[error("{0}")]
    Isolated(String),
    /// Ours: no region may answer.
    #[error("{0}")]
    NoRegion(String),
    /// Ours: whoever may answer is full.
    #[error("{0}")]
    Overloaded(Full),
    /// Ours: this edge has more to do than it can.
    #[error("{0}")]
    Shedding(Shed),
    /// Ours: no region has caught up with the client's writes.
    #[error("no region has caught up with what this client has written")]
    NotCaughtUp,
}

/// Who is at its limit of requests in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    /// Everybody who may answer.
    #[error("every region is at its limit of requests in flight")]
    Every,
    /// The one that may.
    #[error("the only region that may take this request is at its limit of requests in flight")]
    Only,
}

/// Why a request is shed before anything is done for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Shed {
    /// `listen.limits.requests`.
    #[error("this edge is at its limit of requests in flight")]
    InFlight,
    /// `listen.limits.delay`.
    #[error("this edge has more to do than it can")]
    Late,
    /// `listen.limits.memory`.
    #[error("this edge holds as much memory as it may")]
    Memory,
}

/// What is wrong with a request whose body did not arrive.
impl From<&BodyError> for Problem {
    fn from(error: &BodyError) -> Self {
        match error {
            BodyError::TooLong(limit) => Self::BodyTooLong(*limit),
            BodyError::Stalled(_) | BodyError::Slow(_) => Self::Stalled,
            BodyError::Broken(why) => match why.downcast_ref() {
                Some(refusal @ Refusal::TrailersTooLarge) => Self::from(*refusal),
                _ => Self::Malformed(error.to_string()),
            },
            BodyError::Unwanted => Self::Malformed(error.to_string()),
            BodyError::Late => Self::OriginTimeout(error.to_string()),
        }
    }
}

/// What the guard refuses.
impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Malformed(_) => Self::Malformed(refusal.to_string()),
            Refusal::HeadTooLarge | Refusal::TooManyFields | Refusal::TrailersTooLarge => {
                Self::HeadersTooLarge(refusal.to_string())
            }
            Refusal::TargetTooLong => Self::TargetTooLong(refusal.to_string()),
        }
    }
}

impl Problem {
    /// Whether it speaks against the origin that was asked, and not against the client or this edge.
    pub(super) fn is_of_origin(&self) -> bool {
        self.fault() == "origin"
    }

    /// As clients are told of it: in brief nothing of origins but that one failed (RFC 9209 §4).
    pub(super) fn told(self, errors: ErrorDetail) -> Self {
        if errors == ErrorDetail::Full {
            return self;
        }
        match self {
            Self::Unserved(_) => Self::Unserved("no origin is for this request".into()),
            Self::Unreachable(_) => Self::Unreachable("no origin could be reached".into()),
            Self::BrokenOrigin(_) => Self::BrokenOrigin("an origin broke off".into()),
            Self::MalformedAnswer(_) => Self::MalformedAnswer("an origin's answer is none".into()),
            Self::OriginTimeout(_) => Self::OriginTimeout("an origin took too long".into()),
            Self::Isolated(_) => Self::Isolated("this edge cannot connect".into()),
            Self::NoRegion(_) => Self::NoRegion("no region is able to answer".into()),
            other @ (Self::Malformed(_)
            | Self::Stalled
            | Self::BodyTooLong(_)
            | Self::HeadersTooLarge(_)
            | Self::TargetTooLong(_)
            | Self::UnknownHost(_)
            | Self::Misdirected(_)
            | Self::Looping
            | Self::Overloaded(_)
            | Self::Shedding(_)
            | Self::NotCaughtUp) => other,
        }
    }

    /// The status of its answer.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Stalled => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TargetTooLong(_) => StatusCode::URI_TOO_LONG,
            Self::HeadersTooLarge(_) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::UnknownHost(_) | Self::Misdirected(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::Looping
            | Self::Unserved(_)
            | Self::Unreachable(_)
            | Self::BrokenOrigin(_)
            | Self::MalformedAnswer(_)
            | Self::Isolated(_) => StatusCode::BAD_GATEWAY,
            Self::OriginTimeout(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::NoRegion(_) | Self::Overloaded(_) | Self::Shedding(_) | Self::NotCaughtUp => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// The slug of its type, which the metric has as its label.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Stalled => "stalled",
            Self::BodyTooLong(_) => "body-too-long",
            Self::TargetTooLong(_) => "target-too-long",
            Self::HeadersTooLarge(_) => "headers-too-large",
            Self::UnknownHost(_) => "unknown-host",
            Self::Misdirected(_) => "misdirected",
            Self::Looping => "looping",
            Self::Unserved(_) => "unserved",
            Self::Unreachable(_) => "unreachable",
            Self::BrokenOrigin(_) => "broken-origin",
            Self::MalformedAnswer(_) => "malformed-answer",
            Self::OriginTimeout(_) => "origin-timeout",
            Self::Isolated(_) => "isolated",
            Self::NoRegion(_) => "no-region",
            Self::Overloaded(_) => "overloaded",
            Self::Shedding(_) => "shedding",
            Self::NotCaughtUp => "not-caught-up",
        }
    }

    fn title(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "Malformed request",
            Self::Stalled => "Request timeout",
            Self::BodyTooLong(_) => "Body too long",
            Self::TargetTooLong(_) => "Target too long",
            Self::HeadersTooLarge(_) => "Headers too large",
            Self::UnknownHost(_) => "Unknown host",
            Self::Misdirected(_) => "Misdirected request",
            Self::Looping => "Loop",
            Self::Unserved(_) => "Not served by the origin",
            Self::Unreachable(_) => "Origin unreachable",
            Self::BrokenOrigin(_) => "Origin broke off",
            Self::MalformedAnswer(_) => "Malformed answer",
            Self::OriginTimeout(_) => "Origin timeout",
            Self::Isolated(_) => "Edge cannot connect",
            Self::NoRegion(_) => "No region able",
            Self::Overloaded(_) => "Overloaded",
            Self::Shedding(_) => "Edge overloaded",
            Self::NotCaughtUp => "Not caught up",
        }
    }

    /// RFC 9209 §2.3: the error's type.
    fn error(&self) -> &'static str {
        match self {
            Self::Malformed(_)
            | Self::Stalled
            | Self::BodyTooLong(_)
            | Self::TargetTooLong(_)
            | Self::HeadersTooLarge(_)
            | Self::Misdirected(_) => "http_request_error",
            Self::UnknownHost(_) => "destination_not_found",
            Self::Looping => "proxy_loop_detected",
            Self::Unserved(_)
            | Self::Unreachable(_)
            | Self::Isolated(_)
            | Self::NoRegion(_)
            | Self::NotCaughtUp => "destination_unavailable",
            Self::BrokenOrigin(_) => "http_response_incomplete",
            Self::MalformedAnswer(_) => "http_protocol_error",
            Self::OriginTimeout(_) => "http_response_timeout",
            Self::Overloaded(_) => "connection_limit_reached",
            Self::Shedding(_) => "proxy_internal_response",
        }
    }

    /// Whose fault it is: `client`, `origin` or `edge`.
    pub(super) fn fault(&self) -> &'static str {
        match self {
            Self::Malformed(_)
            | Self::Stalled
            | Self::BodyTooLong(_)
            | Self::TargetTooLong(_)
            | Self::HeadersTooLarge(_)
            | Self::UnknownHost(_)
            | Self::Misdirected(_)
            | Self::Unserved(_) => "client",
            Self::Looping
            | Self::Unreachable(_)
            | Self::BrokenOrigin(_)
            | Self::MalformedAnswer(_)
            | Self::OriginTimeout(_) => "origin",
            Self::Isolated(_)
            | Self::NoRegion(_)
            | Self::Overloaded(_)
            | Self::Shedding(_)
            | Self::NotCaughtUp => "edge",
        }
    }

    /// Whether nothing more is taken on the connection: whoever sent this may mean what follows otherwise, or sends no
    /// more (RFC 9110 §15.5.9).
    pub(super) fn ends_connection(&self) -> bool {
        match self {
            Self::Malformed(_)
            | Self::Stalled
            | Self::BodyTooLong(_)
            | Self::TargetTooLong(_)
            | Self::HeadersTooLarge(_) => true,
            Self::UnknownHost(_)
            | Self::Misdirected(_)
            | Self::Looping
            | Self::Unserved(_)
            | Self::Unreachable(_)
            | Self::BrokenOrigin(_)
            | Self::MalformedAnswer(_)
            | Self::OriginTimeout(_)
            | Self::Isolated(_)
            | Self::NoRegion(_)
            | Self::Overloaded(_)
            | Self::Shedding(_)
            | Self::NotCaughtUp => false,
        }
    }

    /// The answer as the bytes of an HTTP/1.1 message that ends its connection, and how many of them are its body.
    pub(super) fn as_message(&self, node: &str, request_id: &str) -> (Vec<u8>, usize) {
        let mut response = self.response(node, request_id);
        let status = response.status();
        let text = self.text(request_id);
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, text.len().into());
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        headers.insert(DATE, date());
        if let Ok(id) = HeaderValue::from_str(request_id) {
            headers.insert(X_REQUEST_ID, id);
        }
        Via::new(node).add(headers, Version::HTTP_11);
        let reason = status.canonical_reason().unwrap_or_default();
        let mut message = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
        for (name, value) in response.headers() {
            write_field(name, value, &mut message);
        }
        message.extend_from_slice(b"\r\n");
        message.extend_from_slice(text.as_bytes());
        (message, text.len())
    }

    /// RFC 9457 §3.
    fn text(&self, request_id: &str) -> String {
        let text = json!({
            "type": format!("urn:meridian:problem:{}", self.label()),
            "title": self.title(),
            "status": self.status().as_u16(),
            "detail": self.to_string(),
            "request_id": request_id,
        });
        text.to_string()
    }

    /// The answer for the client.
    pub(super) fn response(&self, node: &str, request_id: &str) -> Response<Body> {
        let mut response = Response::new(Body::made(self.text(request_id)));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, RETRY_AFTER_SECS.into());
        }
        insert_proxy_status(headers, node, self.error(), &self.to_string());
        response
    }
}

/// RFC 9209 §2: `"node"; error=...; details="..."`.
fn insert_proxy_status(headers: &mut HeaderMap, node: &str, error: &str, details: &str) {
    put_proxy_status(
        headers,
        &format!("{}; error={error}", sf_string(&pseudonym(node))),
        details,
    );
}

/// An origin's answer that is passed on because no other region gave a better one (RFC 9209 §2.1.4).
pub(super) fn add_received_status(
    headers: &mut HeaderMap,
    node: &str,
    status: StatusCode,
    details: Option<&str>,
) {
    let (node, status) = (sf_string(&pseudonym(node)), status.as_u16());
    let details = details.map(|details| format!("; details={}", sf_string(details)));
    let text = format!(
        "{node}; received-status={status}{}",
        details.unwrap_or_default()
    );
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.append(PROXY_STATUS, value);
    }
}

/// An answer that the edge made itself, and that is no error.
pub(super) fn insert_own_answer(headers: &mut HeaderMap, node: &str, details: &str) {
    put_proxy_status(headers, &sf_string(&pseudonym(node)), details);
}

fn put_proxy_status(headers: &mut HeaderMap, who: &str, details: &str) {
    let text = format!("{who}; details={}", sf_string(details));
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.insert(PROXY_STATUS, value);
    }
}

/// A structured field's string (RFC 8941 §3.3.3): printable ASCII, with quote and backslash escaped.
fn sf_string(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            _ => quoted.push('?'),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_one_name_in_via_and_in_proxy_status() {
        let (message, _) = Problem::Stalled.as_message("ü-edge", "id");
        let message = String::from_utf8(message).unwrap();
        assert!(message.contains("via: 1.1 --edge\r\n"), "{message}");
        assert!(message.contains("proxy-status: \"--edge\"; "), "{message}");
    }

    #[test]
    fn a_503_says_when_to_come_back_and_why() {
        let response = Problem::NoRegion("no region is able".into()).response("fra-1", "id");
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "5");
        assert_eq!(
            response.headers()["proxy-status"],
            r#""fra-1"; error=destination_unavailable; details="no region is able""#
        );
    }

    /// All of the edge's own 502, 503 and 504, but for those that clients can ask for.
    #[test]
    fn whatever_clients_see_of_the_edge_s_errors_pages_somebody_and_says_what_to_do() {
        let why = String::new;
        let errors = [
            Problem::Looping,
            Problem::Unreachable(why()),
            Problem::BrokenOrigin(why()),
            Problem::MalformedAnswer(why()),
            Problem::OriginTimeout(why()),
            Problem::Isolated(why()),
            Problem::NoRegion(why()),
            Problem::Overloaded(Full::Every),
            Problem::Shedding(Shed::Late),
            Problem::NotCaughtUp,
        ];
        let alerts = include_str!("../../docs/monitoring/alerts.yml");
        let (_, alert) = alerts.split_once("MeridianClientsSeeErrors").unwrap();
        let (_, problems) = alert.split_once("problem=~\"").unwrap();
        let (problems, _) = problems.split_once('"').unwrap();
        let paged: Vec<&str> = problems.split('|').collect();
        let operations = include_str!("../../docs/operations.md");
        let (_, section) = operations
            .split_once("### MeridianClientsSeeErrors")
            .unwrap();
        let (section, _) = section.split_once("\n### ").unwrap();
        for error in &errors {
            assert!(error.status().is_server_error(), "{}", error.label());
            assert!(paged.contains(&error.label()), "{}", error.label());
            assert!(
                section.contains(&format!("`{}`", error.label())),
                "{}",
                error.label()
            );
        }
        assert_eq!(paged.len(), errors.len());
    }

    #[test]
    fn a_string_cannot_break_out_of_its_quotes() {
        assert_eq!(sf_string("a\"b\\c\r\né"), r#""a\"b\\c???""#);
    }
}
