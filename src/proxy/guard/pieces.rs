//! Bytes of a connection, cut into heads, lines and stretches of body.

use super::field::{chunk_size, read_trailer};
use super::{LONGEST_HEAD, Refusal};

/// The longest line of a chunk's size with its extensions, bytes.
const LONGEST_SIZE_LINE: usize = 256;

/// Where in a message the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Place {
    /// Before or within a head.
    Head,
    /// A body with this many bytes to come.
    Body(u64),
    /// Before a chunk.
    ChunkSize,
    /// A chunk with this many bytes to come.
    ChunkData(u64),
    /// Behind a chunk.
    ChunkEnd,
    /// Behind the last chunk, and this many bytes of trailers.
    Trailers(usize),
    /// Up to the end of the connection: a WebSocket, or a body that nothing else ends.
    Rest,
}

impl Place {
    /// The beginning of a body of this length.
    pub(super) fn body(length: u64) -> Self {
        if length == 0 {
            Self::Head
        } else {
            Self::Body(length)
        }
    }

    /// Whether a message's body is under way that ends before its connection does.
    pub(super) fn is_within_body(self) -> bool {
        match self {
            Self::Body(_)
            | Self::ChunkSize
            | Self::ChunkData(_)
            | Self::ChunkEnd
            | Self::Trailers(_) => true,
            Self::Head | Self::Rest => false,
        }
    }

    /// Where the next byte stands after some of a body.
    fn after(self, bytes: usize) -> Self {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        match self {
            Self::Body(left) => Self::body(left.saturating_sub(bytes)),
            Self::ChunkData(left) if left > bytes => Self::ChunkData(left - bytes),
            Self::ChunkData(_) => Self::ChunkEnd,
            Self::Head | Self::ChunkSize | Self::ChunkEnd | Self::Trailers(_) | Self::Rest => self,
        }
    }
}

/// Where one direction of a connection stands.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy) struct Pieces {
    pub(super) place: Place,
    /// How much of the bytes that have come was searched for the end of a line or head.
    searched: usize,
}

impl Default for Pieces {
    fn default() -> Self {
        Self {
            place: Place::Head,
            searched: 0,
        }
    }
}

impl Pieces {
    /// How long the next head, line or stretch of body is, if it has come.
    pub(super) fn next(&mut self, held: &[u8]) -> Result<Option<usize>, Refusal> {
        if held.is_empty() {
            return Ok(None);
        }
        match self.place {
            Place::Rest => Ok(Some(held.len())),
            Place::Body(left) | Place::ChunkData(left) => {
                let left = usize::try_from(left).unwrap_or(usize::MAX);
                Ok(Some(left.min(held.len())))
            }
            Place::Head => self.head_end(held),
            Place::ChunkSize | Place::ChunkEnd | Place::Trailers(_) => self.line_end(held),
        }
    }

    /// Moves on by a head, behind which the next byte stands here.
    pub(super) fn pass_head(&mut self, place: Place) {
        *self = Self { place, searched: 0 };
    }

    /// Moves on by a line or some of a body.
    pub(super) fn pass(&mut self, piece: &[u8]) -> Result<(), Refusal> {
        self.searched = 0;
        self.place = match self.place {
            Place::ChunkSize => match chunk_size(piece)? {
                0 => Place::Trailers(0),
                size => Place::ChunkData(size),
            },
            Place::ChunkEnd if piece == b"\r\n" => Place::ChunkSize,
            Place::ChunkEnd => {
                return Err(Refusal::Malformed("a chunk is longer than its size"));
            }
            Place::Trailers(_) if piece == b"\r\n" => Place::Head,
            Place::Trailers(length) => {
                read_trailer(piece)?;
                Place::Trailers(length + piece.len())
            }
            Place::Head | Place::Body(_) | Place::ChunkData(_) | Place::Rest => {
                self.place.after(piece.len())
            }
        };
        Ok(())
    }

    /// Where the head ends, if it has; a line before it that ends otherwise than in CRLF is refused.
    fn head_end(&mut self, held: &[u8]) -> Result<Option<usize>, Refusal> {
        if held.starts_with(b"\r\n") {
            return Ok(Some(2));
        }
        let searched = self.searched;
        let unsearched = held.get(searched..).unwrap_or_default();
        for feed in memchr::memchr_iter(b'\n', unsearched) {
            self.searched = searched + feed + 1;
            let lines = held.get(..self.searched).unwrap_or_default();
            check_line_end(lines)?;
            if self.searched > LONGEST_HEAD {
                return Err(Refusal::HeadTooLarge);
            }
            if lines.ends_with(b"\r\n\r\n") {
                return Ok(Some(self.searched));
            }
        }
        self.searched = held.len();
        if self.searched > LONGEST_HEAD {
            return Err(Refusal::HeadTooLarge);
        }
        Ok(None)
    }

    fn line_end(&mut self, held: &[u8]) -> Result<Option<usize>, Refusal> {
        let end = self.next_line_end(held)?;
        let length = end.unwrap_or(held.len());
        match self.place {
            Place::Trailers(before) if before + length > LONGEST_HEAD => {
                Err(Refusal::TrailersTooLarge)
            }
            Place::ChunkEnd if length > 2 => {
                Err(Refusal::Malformed("a chunk is longer than its size"))
            }
            Place::ChunkSize if length > LONGEST_SIZE_LINE => {
                Err(Refusal::Malformed("a chunk's size is too long a line"))
            }
            Place::Head
            | Place::Body(_)
            | Place::ChunkSize
            | Place::ChunkData(_)
            | Place::ChunkEnd
            | Place::Trailers(_)
            | Place::Rest => Ok(end),
        }
    }

    /// The end of the next line that was not searched yet.
    fn next_line_end(&mut self, held: &[u8]) -> Result<Option<usize>, Refusal> {
        let unsearched = held.get(self.searched..).unwrap_or_default();
        let Some(found) = memchr::memchr(b'\n', unsearched) else {
            self.searched = held.len();
            return Ok(None);
        };
        self.searched += found + 1;
        check_line_end(held.get(..self.searched).unwrap_or_default())?;
        Ok(Some(self.searched))
    }
}

/// Refuses what ends in LF alone.
fn check_line_end(lines: &[u8]) -> Result<(), Refusal> {
    if lines.ends_with(b"\r\n") {
        Ok(())
    } else {
        Err(Refusal::Malformed("a line ends in LF without CR"))
    }
}
