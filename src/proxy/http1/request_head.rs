//! The head of a request to an origin. RFC 9112 §3.

use http::header::{CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method};
use hyper::body::Body as _;

use super::super::answer_head::told_length;
use super::super::body::Body;
use super::super::guard::Question;
use super::super::headers::write_field;
use super::outbox::{Framing, HEAD, Outbox};

/// What a request begins with.
pub(in crate::proxy) struct RequestHead<'a> {
    pub(in crate::proxy) method: &'a Method,
    pub(in crate::proxy) path: &'a PathAndQuery,
    /// For `Host`, whatever `headers` have.
    pub(in crate::proxy) authority: &'a str,
    /// What of them frames the body goes by the body itself.
    pub(in crate::proxy) headers: &'a HeaderMap,
}

impl RequestHead<'_> {
    pub(super) fn question(&self) -> Question {
        if self.method == Method::HEAD {
            Question::Head
        } else {
            Question::Other
        }
    }

    /// The message that this begins.
    pub(super) fn with(&self, body: Body) -> Outbox<Body> {
        let framing = self.framing(&body);
        let mut text = Vec::with_capacity(HEAD);
        self.write(framing, &mut text);
        Outbox::new(text, framing, body)
    }

    /// How a body is framed: by the length that it knows or the client has told, else in chunks.
    fn framing(&self, body: &Body) -> Framing {
        if body.is_end_stream() {
            return Framing::Length(0);
        }
        let length = body.size_hint().exact();
        let length = length.or_else(|| told_length(self.headers));
        length.map_or(Framing::Chunked, Framing::Length)
    }

    fn write(&self, framing: Framing, text: &mut Vec<u8>) {
        let path = self.path.as_str();
        // RFC 9112 §3.2.1: a query alone has a path, which is the root.
        let root = if path.starts_with('?') { "/" } else { "" };
        let line = [
            self.method.as_str(),
            " ",
            root,
            path,
            " HTTP/1.1\r\nhost: ",
            self.authority,
            "\r\n",
        ];
        for part in line {
            text.extend_from_slice(part.as_bytes());
        }
        for (name, value) in self.headers {
            if ![HOST, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name) {
                write_field(name, value, text);
            }
            if *name == TE {
                text.extend_from_slice(b"connection: TE\r\n"); // RFC 9110 §10.1.4.
            }
        }
        // RFC 9110 §8.6: whether an empty body is told is the client's affair.
        let is_untold = framing == Framing::Length(0) && !self.headers.contains_key(CONTENT_LENGTH);
        if !is_untold {
            framing.write(text);
        }
        text.extend_from_slice(b"\r\n");
    }
}
