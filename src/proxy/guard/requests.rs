//! The requests of one client's connection, one after the other.

use bytes::BytesMut;
use http::Request;

use super::Refusal;
use super::message::{Message, Part, say_fields, say_part};
use super::pieces::Place;
use super::request::read_head;

/// The framing of what a client sends.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Requests {
    message: Message,
    /// Whether an empty line came before the next request.
    has_empty_line: bool,
}

impl Requests {
    /// Takes the next head, if it has come.
    pub(in crate::proxy) fn head(
        &mut self,
        input: &mut BytesMut,
    ) -> Result<Option<Request<()>>, Refusal> {
        while let Some(length) = self.message.pieces.next(input)? {
            let text = input.split_to(length).freeze();
            if *text == *b"\r\n" {
                self.empty_line()?;
                self.message.pieces.pass_head(Place::Head);
                continue;
            }
            let (head, framing) = read_head(&text)?;
            self.has_empty_line = false;
            self.message.pieces.pass_head(match framing.length {
                _ if framing.is_chunked => Place::ChunkSize,
                length => Place::body(length.unwrap_or(0)),
            });
            return Ok(Some(head));
        }
        Ok(None)
    }

    /// RFC 9112 §2.2: an empty line before a request is ignored.
    fn empty_line(&mut self) -> Result<(), Refusal> {
        if std::mem::replace(&mut self.has_empty_line, true) {
            return Err(Refusal::Malformed("empty lines instead of a request"));
        }
        Ok(())
    }

    /// Takes the next part of the body, if it has come.
    pub(in crate::proxy) fn part(&mut self, input: &mut BytesMut) -> Result<Option<Part>, Refusal> {
        self.message.part(input)
    }

    /// Whether the request has come whole, or none has begun.
    pub(in crate::proxy) fn is_over(&self) -> bool {
        self.message.is_over()
    }

    /// How many bytes of the body are to come, if that is known.
    pub(in crate::proxy) fn left(&self) -> Option<u64> {
        self.message.left()
    }

    /// Writes down all that has come.
    pub(super) fn say_all(
        &mut self,
        input: &mut BytesMut,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        loop {
            if self.is_over() {
                let Some(head) = self.head(input)? else {
                    return Ok(());
                };
                let line = format!("{} {} {:?}", head.method(), head.uri(), head.version());
                out.extend_from_slice(line.as_bytes());
                say_fields(head.headers(), out);
                continue;
            }
            match self.part(input)? {
                Some(part) => say_part(&part, out),
                None if self.is_over() => {}
                None => return Ok(()),
            }
        }
    }
}
