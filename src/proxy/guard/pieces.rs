//! Bytes of a connection, cut into heads, lines and stretches of body, and passed on once they are judged.

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
    /// The answer decides whether a WebSocket begins here, or the next request.
    Undecided,
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

    /// Where the next byte stands after some of a body.
    fn after(self, bytes: usize) -> Self {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        match self {
            Self::Body(left) => Self::body(left.saturating_sub(bytes)),
            Self::ChunkData(left) if left > bytes => Self::ChunkData(left - bytes),
            Self::ChunkData(_) => Self::ChunkEnd,
            Self::Head
            | Self::ChunkSize
            | Self::ChunkEnd
            | Self::Trailers(_)
            | Self::Undecided
            | Self::Rest => self,
        }
    }
}

/// In what requests and answers differ: how they begin.
pub(in crate::proxy) trait Heads {
    /// Refuses bytes where no message may begin.
    fn begin(&self) -> Result<(), Refusal>;

    /// Takes an empty line before a head.
    fn empty_line(&mut self) -> Result<(), Refusal>;

    /// Reads a whole head; where the next byte stands.
    fn read(&mut self, head: &[u8]) -> Result<Place, Refusal>;
}

/// The framing of one direction of a connection.
#[derive(Debug)]
pub(in crate::proxy) struct Guard<H> {
    heads: H,
    place: Place,
    /// Bytes that have not passed yet.
    held: Vec<u8>,
    /// How much of `held` was searched for the end of a line or head.
    searched: usize,
}

impl<H: Heads> Guard<H> {
    pub(in crate::proxy) fn new(heads: H) -> Self {
        Self {
            heads,
            place: Place::Head,
            held: Vec::new(),
            searched: 0,
        }
    }

    /// What is known of the messages.
    pub(in crate::proxy) fn heads(&self) -> &H {
        &self.heads
    }

    /// What is known of the messages, to be told more.
    pub(in crate::proxy) fn heads_mut(&mut self) -> &mut H {
        &mut self.heads
    }

    /// Whether bytes of a head have come, and not yet all of it.
    pub(in crate::proxy) fn is_within_head(&self) -> bool {
        self.place == Place::Head && !self.held.is_empty()
    }

    /// Whether a message's body is under way.
    pub(in crate::proxy) fn is_within_body(&self) -> bool {
        match self.place {
            Place::Body(_)
            | Place::ChunkSize
            | Place::ChunkData(_)
            | Place::ChunkEnd
            | Place::Trailers(_) => true,
            Place::Head | Place::Undecided | Place::Rest => false,
        }
    }

    /// Whether nothing may be read before [`decide`](Self::decide) is called.
    pub(in crate::proxy) fn is_undecided(&self) -> bool {
        self.place == Place::Undecided
    }

    /// The request that asked for a WebSocket was answered.
    pub(in crate::proxy) fn decide(&mut self, is_tunnel: bool) {
        self.place = if is_tunnel { Place::Rest } else { Place::Head };
    }

    /// Whether bytes that came before the decision wait to be released.
    pub(in crate::proxy) fn has_more(&self) -> bool {
        self.searched == 0 && !self.held.is_empty()
    }

    /// Judges bytes as they came. What was held before and may pass now goes to `out`, and of `bytes` as
    /// many pass after it as are told; the others are held until more has come.
    pub(in crate::proxy) fn sift(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> (usize, Result<(), Refusal>) {
        if self.held.is_empty() {
            let (passed, judged) = self.walk(bytes);
            let rest = bytes.get(passed..).unwrap_or_default();
            self.held.extend_from_slice(rest);
            (passed, judged)
        } else {
            self.held.extend_from_slice(bytes);
            (0, self.release(out))
        }
    }

    /// As [`sift`](Self::sift), with all that passes in `out`.
    pub(super) fn judge(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        let (passed, judged) = self.sift(bytes, out);
        out.extend_from_slice(bytes.get(..passed).unwrap_or_default());
        judged
    }

    /// Moves what is held and may pass to `out`.
    pub(in crate::proxy) fn release(&mut self, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let mut held = std::mem::take(&mut self.held);
        let (passed, judged) = self.walk(&held);
        out.extend(held.drain(..passed));
        self.held = held;
        judged
    }

    /// Goes through whole pieces; returns how many bytes they are.
    fn walk(&mut self, bytes: &[u8]) -> (usize, Result<(), Refusal>) {
        let mut passed = 0;
        loop {
            let rest = bytes.get(passed..).unwrap_or_default();
            let length = match self.next_piece(rest) {
                Ok(Some(length)) => length,
                Ok(None) => return (passed, Ok(())),
                Err(refusal) => return (passed, Err(refusal)),
            };
            self.searched = 0;
            if let Err(refusal) = self.step(rest.get(..length).unwrap_or(rest)) {
                return (passed, Err(refusal));
            }
            passed += length;
        }
    }

    /// How long the next head, line or stretch of body is, if it has come.
    fn next_piece(&mut self, held: &[u8]) -> Result<Option<usize>, Refusal> {
        if held.is_empty() {
            return Ok(None);
        }
        match self.place {
            Place::Undecided => Ok(None),
            Place::Rest => Ok(Some(held.len())),
            Place::Body(left) | Place::ChunkData(left) => {
                let left = usize::try_from(left).unwrap_or(usize::MAX);
                Ok(Some(left.min(held.len())))
            }
            Place::Head => self.head_end(held),
            Place::ChunkSize | Place::ChunkEnd | Place::Trailers(_) => self.line_end(held),
        }
    }

    /// Moves on by a piece: a whole head, a line, or some of a body.
    fn step(&mut self, piece: &[u8]) -> Result<(), Refusal> {
        self.place = match self.place {
            Place::Head if piece == b"\r\n" => {
                self.heads.empty_line()?;
                Place::Head
            }
            Place::Head => self.heads.read(piece)?,
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
            Place::Body(_) | Place::ChunkData(_) | Place::Undecided | Place::Rest => {
                self.place.after(piece.len())
            }
        };
        Ok(())
    }

    /// Where the head ends, if it has; a line before it that ends otherwise than in CRLF is refused.
    fn head_end(&mut self, held: &[u8]) -> Result<Option<usize>, Refusal> {
        self.heads.begin()?;
        if held.starts_with(b"\r\n") {
            return Ok(Some(2));
        }
        while let Some(end) = self.next_line_end(held)? {
            let is_empty_line = held.get(end.saturating_sub(4)..end) == Some(b"\r\n\r\n");
            if end > LONGEST_HEAD {
                break;
            }
            if is_empty_line {
                return Ok(Some(end));
            }
        }
        if self.searched > LONGEST_HEAD {
            return Err(Refusal::HeadTooLarge);
        }
        Ok(None)
    }

    fn line_end(&mut self, held: &[u8]) -> Result<Option<usize>, Refusal> {
        let end = self.next_line_end(held)?;
        let length = end.unwrap_or(held.len());
        match self.place {
            Place::Trailers(before) if before + length > LONGEST_HEAD => Err(Refusal::HeadTooLarge),
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
            | Place::Undecided
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
        let feed = self.searched + found;
        self.searched = feed + 1;
        match feed.checked_sub(1).and_then(|at| held.get(at)) {
            Some(b'\r') => Ok(Some(feed + 1)),
            Some(_) | None => Err(Refusal::Malformed("a line ends in LF without CR")),
        }
    }
}
