//! One line of JSON for every request: what is noted while it goes, and how it is written.
//!
//! A [`Line`] is begun with the head of a request and written when it is dropped, wherever that is: with the
//! last byte of the answer, with the end of a WebSocket, or with a client that has gone. In between whoever
//! learns something notes it in the [`Journal`]. Without `access_log` there is neither.

mod body;
mod entry;
mod journal;
mod json;
mod sink;
mod waiting;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, Request, StatusCode};
use tokio::time::Instant;

pub(super) use body::Logged;
pub(super) use journal::{Journal, Line, Tried};
pub use sink::Sink;

use super::connection::Connection;
use super::handle::Arrival;
use super::problem::Problem;
use crate::chance;
use crate::clock;
use crate::config::plan::{self, LoggedQuery};
use crate::redact;
use entry::{Entry, Head};

/// An access log that is in force.
pub struct AccessLog {
    wanted: plan::AccessLog,
    node: Arc<str>,
    sink: Arc<Sink>,
}

impl AccessLog {
    /// What the configuration wants, written to this sink.
    pub fn new(wanted: plan::AccessLog, node: Arc<str>, sink: Arc<Sink>) -> Self {
        Self { wanted, node, sink }
    }

    /// Begins the line of a request whose head has arrived.
    pub(super) fn begin<B>(
        self: &Arc<Self>,
        arrival: &Arrival<'_>,
        request: &Request<B>,
        id: &str,
    ) -> Line {
        let path = request.uri().path_and_query().map(as_sent);
        let host = match request.uri().authority() {
            Some(authority) => Some(authority.to_string()),
            None => lossy(request.headers(), &http::header::HOST),
        };
        let mut entry = self.entry(arrival.connection, id);
        entry.interim = arrival.interim.cloned();
        entry.times.head = arrival.head;
        entry.head = Some(Head {
            version: request.version(),
            method: request.method().clone(),
            host,
            path: self.path(path.as_deref().unwrap_or("*")),
            headers: wanted(&self.wanted.request_headers, request.headers()),
        });
        Line::begin(self.clone(), entry, Instant::now())
    }

    /// Writes the line of what was no request, or not in time: nothing is known of it but why, and with which status it was
    /// answered and a body of how many bytes, if it was.
    pub(super) fn refuse(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        head: Option<Duration>,
        problem: &Problem,
        answered: Option<(StatusCode, usize)>,
        id: &str,
    ) {
        let mut entry = self.entry(connection, id);
        entry.times.head = head;
        let line = Line::begin(self.clone(), entry, Instant::now());
        line.journal().refused(problem);
        if let Some((status, body)) = answered {
            line.journal().answered(status, &HeaderMap::new());
            line.journal().sent(body);
        }
    }

    fn entry(&self, connection: &Arc<Connection>, id: &str) -> Entry {
        Entry {
            began_ms: clock::unix_ms(),
            node: self.node.clone(),
            connection: Some(connection.clone()),
            client: Some(connection.source()),
            request_id: id.to_owned(),
            ..Entry::default()
        }
    }

    fn path(&self, path: &str) -> String {
        match self.wanted.query {
            LoggedQuery::Redacted => redact::uri(path).into_owned(),
            LoggedQuery::Full => path.to_owned(),
            LoggedQuery::None => path.split('?').next().unwrap_or_default().to_owned(),
        }
    }

    /// Writes a line, unless it is one of the many that went well and are not in the sample.
    fn write(&self, entry: &Entry) {
        if entry.went_well() && chance::uniform() >= self.wanted.sample.ratio() {
            return;
        }
        self.sink.push(&entry.to_line());
    }
}

/// The headers that are to be logged, those that bear secrets without their values.
fn wanted(names: &[HeaderName], headers: &HeaderMap) -> entry::Logged {
    let value = |name: &HeaderName| {
        let value = lossy(headers, name)?;
        Some(match name.as_str() {
            name if redact::is_secret(name) => redact::REDACTED.to_owned(),
            "referer" | "location" | "content-location" => redact::uri(&value).into_owned(),
            // Many others may have URIs in them, as Link and Refresh.
            _ => redact::uris(&value),
        })
    };
    names
        .iter()
        .map(|name| (name.clone(), value(name)))
        .collect()
}

/// A header's values as a text, in one (RFC 9110 §5.3); what is no UTF-8 is replaced.
fn lossy(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let first = text(values.next()?);
    Some(values.fold(first, |all, value| all + ", " + &text(value)))
}

/// RFC 9112 §3.2.1: an absolute target without a path has one all the same.
fn as_sent(path: &PathAndQuery) -> Cow<'_, str> {
    match path.as_str() {
        query if query.starts_with('?') => Cow::Owned(format!("/{query}")),
        whole => Cow::Borrowed(whole),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_logged_without_their_secrets() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("cookie", "a=HUNTER2"),
            ("referer", "https://a.example/?token=HUNTER2&b=c"),
            ("x-tenant", "acme"),
            ("link", "</a?token=HUNTER2>; rel=next"),
        ] {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        headers.append("x-tenant", http::HeaderValue::from_bytes(b"\xff").unwrap());
        let names =
            ["cookie", "referer", "x-tenant", "link", "x-none"].map(HeaderName::from_static);
        let values: Vec<Option<String>> = wanted(&names, &headers)
            .into_iter()
            .map(|(_, value)| value)
            .collect();
        let expected = [
            Some("REDACTED"),
            Some("https://a.example/?token=REDACTED&b=c"),
            Some("acme, \u{fffd}"),
            Some("</a?token=REDACTED>; rel=next"),
            None,
        ];
        assert_eq!(values, expected.map(|value| value.map(str::to_owned)));
    }
    #[test]
    fn a_target_without_a_path_is_logged_as_it_is_sent() {
        for (target, path) in [
            ("http://a.example?q=1", "/?q=1"),
            ("/a?q=1", "/a?q=1"),
            ("*", "*"),
        ] {
            let uri: http::Uri = target.parse().unwrap();
            assert_eq!(as_sent(uri.path_and_query().unwrap()), path);
        }
    }
}
