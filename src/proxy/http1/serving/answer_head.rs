//! The head of an answer to a client, and what frames its body. RFC 9112 §4, §6.3, §9.3.

use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TE, TRANSFER_ENCODING};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Body as HttpBody;
use hyper::ext::ReasonPhrase;

use super::super::outbox::Framing;
use super::line::HalfClosed;
use crate::proxy::answer_head::{date, is_bodiless, length_unsent, told_length};
use crate::proxy::guard::keeps_connection;
use crate::proxy::headers::{lists, write_field};

/// What of a request matters for its answer.
pub(super) struct Asked {
    is_head: bool,
    pub(super) version: Version,
    /// Whether its client takes another answer on this connection.
    pub(super) keeps: bool,
    /// RFC 9110 §6.5.1.
    pub(super) takes_trailers: bool,
    pub(super) half_closed: HalfClosed,
}

impl Asked {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        Self {
            is_head: request.method() == Method::HEAD,
            version: request.version(),
            keeps: keeps_connection(request.version(), request.headers()),
            takes_trailers: lists(request.headers(), &TE, "trailers"),
            half_closed: HalfClosed::of(request.method()),
        }
    }

    /// How the body of an answer is framed: by the length that it knows or its origin has told, else in chunks, which
    /// HTTP/1.0 does not know.
    pub(super) fn framing<B: HttpBody>(&self, answer: &Response<B>) -> Framing {
        if self.is_head || is_bodiless(answer.status()) {
            return Framing::None;
        }
        if answer.body().is_end_stream() {
            return Framing::Length(0);
        }
        let length = answer.body().size_hint().exact();
        match length.or_else(|| told_length(answer.headers())) {
            Some(length) => Framing::Length(length),
            None if self.version == Version::HTTP_11 => Framing::Chunked,
            None => Framing::ToTheEnd,
        }
    }

    /// Writes the head of an answer that is framed so, behind which the connection is kept or not.
    pub(super) fn write_head<B: HttpBody>(
        &self,
        answer: &Response<B>,
        framing: Framing,
        keeps: bool,
        text: &mut Vec<u8>,
    ) {
        self.write_status_line(answer, text);
        let (status, headers) = (answer.status(), answer.headers());
        let switches = status == StatusCode::SWITCHING_PROTOCOLS;
        for (name, value) in headers {
            let is_own = [CONTENT_LENGTH, TRANSFER_ENCODING].contains(name)
                || (*name == CONNECTION && !switches);
            if !is_own {
                write_field(name, value, text);
            }
        }
        self.length_unsent(answer, framing).write(text);
        if !keeps && !switches {
            text.extend_from_slice(b"connection: close\r\n");
        } else if self.version == Version::HTTP_10 {
            text.extend_from_slice(b"connection: keep-alive\r\n");
        }
        if !headers.contains_key(DATE) {
            write_field(&DATE, &date(), text);
        }
        text.extend_from_slice(b"\r\n");
    }

    fn write_status_line<B>(&self, answer: &Response<B>, text: &mut Vec<u8>) {
        let version: &[u8] = if self.version == Version::HTTP_10 {
            b"HTTP/1.0 "
        } else {
            b"HTTP/1.1 "
        };
        let status = answer.status();
        let said = answer.extensions().get::<ReasonPhrase>();
        let reason = match said {
            Some(said) => said.as_bytes(),
            None => status.canonical_reason().unwrap_or_default().as_bytes(),
        };
        for part in [version, status.as_str().as_bytes(), b" ", reason, b"\r\n"] {
            text.extend_from_slice(part);
        }
    }

    /// What is said of a body: of one that is not sent, what its origin has said, or the edge knows (RFC 9110 §8.6).
    fn length_unsent<B: HttpBody>(&self, answer: &Response<B>, framing: Framing) -> Framing {
        if framing != Framing::None {
            return framing;
        }
        let (status, headers) = (answer.status(), answer.headers());
        let length = length_unsent(status, headers, answer.body(), self.is_head);
        length.map_or(Framing::None, Framing::Length)
    }
}
