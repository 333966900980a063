//! Reads blocks of fields (RFC 7541 §6).

use bytes::{Bytes, BytesMut};

use super::huffman;
use super::integer::Input;
use super::table::{Field, Name, Table};

/// What no block says. Nothing that follows on its connection can be read (RFC 9113 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http2) enum HpackError {
    CutShort,
    NoSuchField,
    NoSuchCode,
    Resized,
}

impl HpackError {
    pub(in crate::http2) fn what(self) -> &'static str {
        match self {
            Self::CutShort => "a block of fields ends within one, or a number in it does not",
            Self::NoSuchField => "a field refers to none",
            Self::NoSuchCode => "a string is not of Huffman's code",
            Self::Resized => "the table of fields is made larger than it may be, or within a block",
        }
    }
}

/// What one side of a connection has said of its fields.
#[derive(Debug, Default)]
pub(in crate::http2) struct Decoder(Table);

/// How a field is written.
enum Shape {
    Indexed,
    Added,
    Literal { is_sensitive: bool },
    Resize,
}

impl Shape {
    /// By the first byte; and how many bits of it the number has that follows.
    fn of(first: u8) -> (Self, u32) {
        match first {
            0x80.. => (Self::Indexed, 7),
            0x40.. => (Self::Added, 6),
            0x20.. => (Self::Resize, 5),
            0x10.. => (Self::Literal { is_sensitive: true }, 4),
            _ => (
                Self::Literal {
                    is_sensitive: false,
                },
                4,
            ),
        }
    }
}

impl Decoder {
    /// Gives out the fields of a block, all of which count for what follows, whoever wants them.
    pub(in crate::http2) fn decode(
        &mut self,
        block: &[u8],
        mut each: impl FnMut(Field),
    ) -> Result<(), HpackError> {
        let mut input = Input(block);
        let mut strings = Strings::with_room(block.len());
        let mut has_begun = false;
        while let Some(first) = input.byte() {
            let (shape, bits) = Shape::of(first);
            let number = input.number(first, bits).ok_or(HpackError::CutShort)?;
            if matches!(shape, Shape::Resize) {
                let resized = self.0.resize(number).filter(|()| !has_begun);
                resized.ok_or(HpackError::Resized)?;
                continue;
            }
            has_begun = true;
            each(self.field(&shape, number, &mut (&mut input, &mut strings))?);
        }
        Ok(())
    }

    fn field(
        &mut self,
        shape: &Shape,
        index: usize,
        (input, strings): &mut (&mut Input<'_>, &mut Strings),
    ) -> Result<Field, HpackError> {
        let table = &mut self.0;
        let is_sensitive = match shape {
            Shape::Indexed | Shape::Resize => {
                return table.field(index).cloned().ok_or(HpackError::NoSuchField);
            }
            Shape::Added => false,
            Shape::Literal { is_sensitive } => *is_sensitive,
        };
        let name = match index {
            0 => Name::of(strings.read(input)?),
            _ => table.name(index).ok_or(HpackError::NoSuchField)?,
        };
        let value = strings.read(input)?;
        if matches!(shape, Shape::Added) {
            // By itself: it outlasts the others of its block.
            let field = Field::new(name, Bytes::copy_from_slice(value), is_sensitive);
            table.add(field.clone());
            return Ok(field);
        }
        let value = strings.keep_last();
        Ok(Field::new(name, value, is_sensitive))
    }
}

/// The strings of a block, in one piece of memory.
struct Strings {
    /// Where those are that last as long as their message.
    room: BytesMut,
    last: Vec<u8>,
}

impl Strings {
    fn with_room(bytes: usize) -> Self {
        Self {
            room: BytesMut::with_capacity(bytes),
            last: Vec::new(),
        }
    }

    /// A string, as long as no other is read (RFC 7541 §5.2).
    fn read(&mut self, input: &mut Input<'_>) -> Result<&[u8], HpackError> {
        let first = input.byte().ok_or(HpackError::CutShort)?;
        let length = input.number(first, 7).ok_or(HpackError::CutShort)?;
        let string = input.take(length).ok_or(HpackError::CutShort)?;
        self.last.clear();
        if first & 0x80 == 0 {
            self.last.extend_from_slice(string);
        } else {
            huffman::decode(string, &mut self.last).ok_or(HpackError::NoSuchCode)?;
        }
        Ok(&self.last)
    }

    /// The last one that was read, for longer.
    fn keep_last(&mut self) -> Bytes {
        self.room.extend_from_slice(&self.last);
        self.room.split().freeze()
    }
}

#[cfg(test)]
#[path = "decoder_tests.rs"]
mod tests;
