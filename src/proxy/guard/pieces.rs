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

    /// How many bytes may pass unseen now: of a body or a tunnel.
    pub(in crate::proxy) fn unseen(&self) -> u64 {
        match self.place {
            Place::Body(left) | Place::ChunkData(left) if self.held.is_empty() => left,
            Place::Rest if self.held.is_empty() => u64::MAX,
            Place::Head
            | Place::Body(_)
            | Place::ChunkSize
            | Place::ChunkData(_)
            | Place::ChunkEnd
            | Place::Trailers(_)
            | Place::Undecided
            | Place::Rest => 0,
        }
    }

    /// Bytes have passed unseen.
    pub(in crate::proxy) fn passed(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.place = match self.place {
            Place::Body(left) => Place::body(left.saturating_sub(bytes)),
            Place::ChunkData(left) if left > bytes => Place::ChunkData(left - bytes),
            Place::ChunkData(_) => Place::ChunkEnd,
            place @ (Place::Head
            | Place::ChunkSize
            | Place::ChunkEnd
            | Place::Trailers(_)
            | Place::Undecided
            | Place::Rest) => place,
        };
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

    /// Takes bytes as they came.
    pub(in crate::proxy) fn take(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// Moves what may pass to `out`; more may pass once more has come.
    pub(in crate::proxy) fn release(&mut self, out: &mut Vec<u8>) -> Result<(), Refusal> {
        while let Some(length) = self.next_piece()? {
            let rest = self.held.split_off(length);
            let piece = std::mem::replace(&mut self.held, rest);
            self.searched = 0;
            self.step(&piece)?;
            out.extend_from_slice(&piece);
        }
        Ok(())
    }

    /// How long the next head, line or stretch of body is, if it has come.
    fn next_piece(&mut self) -> Result<Option<usize>, Refusal> {
        if self.held.is_empty() {
            return Ok(None);
        }
        match self.place {
            Place::Undecided => Ok(None),
            Place::Rest => Ok(Some(self.held.len())),
            Place::Body(left) | Place::ChunkData(left) => {
                let left = usize::try_from(left).unwrap_or(usize::MAX);
                Ok(Some(left.min(self.held.len())))
            }
            Place::Head => self.head_end(),
            Place::ChunkSize | Place::ChunkEnd | Place::Trailers(_) => self.line_end(),
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
                self.passed(piece.len());
                self.place
            }
        };
        Ok(())
    }

    /// Where the head ends, if it has; a line before it that ends otherwise than in CRLF is refused.
    fn head_end(&mut self) -> Result<Option<usize>, Refusal> {
        self.heads.begin()?;
        if self.held.starts_with(b"\r\n") {
            return Ok(Some(2));
        }
        while let Some(end) = self.next_line_end()? {
            let is_empty_line = self.held.get(end.saturating_sub(4)..end) == Some(b"\r\n\r\n");
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

    fn line_end(&mut self) -> Result<Option<usize>, Refusal> {
        let end = self.next_line_end()?;
        let length = end.unwrap_or(self.held.len());
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
    fn next_line_end(&mut self) -> Result<Option<usize>, Refusal> {
        let unsearched = self.held.get(self.searched..).unwrap_or_default();
        let Some(found) = unsearched.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.held.len();
            return Ok(None);
        };
        let feed = self.searched + found;
        self.searched = feed + 1;
        match feed.checked_sub(1).and_then(|at| self.held.get(at)) {
            Some(b'\r') => Ok(Some(feed + 1)),
            Some(_) | None => Err(Refusal::Malformed("a line ends in LF without CR")),
        }
    }
}
