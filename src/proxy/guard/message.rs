//! The body of a message, whoever sends it: its parts as they come. RFC 9112 §6, §7.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::field::{NO_TEXT, NO_TOKEN, read_trailer};
use super::pieces::{Pieces, Place};
use super::{PARSED_FIELDS, Refusal};

/// Some of a message's body.
#[derive(Debug)]
pub(in crate::proxy) enum Part {
    Data(Bytes),
    Trailers(HeaderMap),
}

/// Where a connection's messages stand.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) pieces: Pieces,
    trailers: HeaderMap,
}

impl Message {
    /// Takes the next part of the body, if it has come.
    pub(super) fn part(&mut self, input: &mut BytesMut) -> Result<Option<Part>, Refusal> {
        while !self.is_over() {
            let (place, Some(length)) = (self.pieces.place, self.pieces.next(input)?) else {
                return Ok(None);
            };
            let piece = input.split_to(length);
            self.pieces.pass(&piece)?;
            match place {
                Place::Body(_) | Place::ChunkData(_) | Place::Rest => {
                    return Ok(Some(Part::Data(piece.freeze())));
                }
                Place::Trailers(_) if self.is_over() => return Ok(self.take_trailers()),
                Place::Trailers(_) => self.trailer(&piece)?,
                Place::Head | Place::ChunkSize | Place::ChunkEnd => {}
            }
        }
        Ok(None)
    }

    fn trailer(&mut self, piece: &[u8]) -> Result<(), Refusal> {
        if self.trailers.len() == PARSED_FIELDS {
            return Err(Refusal::TrailersTooLarge);
        }
        let (name, value) = read_trailer(piece)?;
        let name = HeaderName::from_bytes(name).map_err(|_| NO_TOKEN)?;
        let value = HeaderValue::from_bytes(value).map_err(|_| NO_TEXT)?;
        self.trailers.append(name, value);
        Ok(())
    }

    fn take_trailers(&mut self) -> Option<Part> {
        let trailers = std::mem::take(&mut self.trailers);
        (!trailers.is_empty()).then_some(Part::Trailers(trailers))
    }

    /// Whether the message has come whole, or none has begun.
    pub(super) fn is_over(&self) -> bool {
        self.pieces.place == Place::Head
    }

    /// How many bytes of the body are to come, if that is known.
    pub(super) fn left(&self) -> Option<u64> {
        match self.pieces.place {
            Place::Head => Some(0),
            Place::Body(left) => Some(left),
            Place::ChunkSize
            | Place::ChunkData(_)
            | Place::ChunkEnd
            | Place::Trailers(_)
            | Place::Rest => None,
        }
    }

    /// Whether the part of the body that has come is one: a head is passed on only if it is.
    pub(super) fn foresee(&self, mut input: &[u8]) -> Result<(), Refusal> {
        let mut pieces = self.pieces;
        while pieces.place.is_within_body() {
            let Some(length) = pieces.next(input)? else {
                return Ok(());
            };
            let (piece, rest) = input.split_at_checked(length).unwrap_or((input, &[]));
            pieces.pass(piece)?;
            input = rest;
        }
        Ok(())
    }
}

/// Writes down a part of a body, for fuzzing.
pub(super) fn say_part(part: &Part, out: &mut Vec<u8>) {
    match part {
        Part::Data(data) => out.extend_from_slice(data),
        Part::Trailers(trailers) => say_fields(trailers, out),
    }
}

/// Writes down fields line by line, for fuzzing.
pub(super) fn say_fields(fields: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in fields {
        for part in [b"\n", name.as_str().as_bytes(), b": ", value.as_bytes()] {
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(b"\n");
}
