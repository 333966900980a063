//! HTTP/1.1 framing as it must be, before hyper's parser sees it. Pure.
//!
//! hyper settles some ambiguities silently (with both framings it drops Content-Length, it takes lines
//! that end in a bare LF), and whoever settles them otherwise behind or before us is open to request
//! smuggling. So every byte from a client passes here first, and what two parsers could read differently
//! is refused. RFC 9112 §2.2, §3, §5, §6, §7.1.

/// The longest head, bytes.
const LONGEST_HEAD: usize = 256 << 10;

/// The most fields that reach hyper's parser; the contract's 100 are checked behind it.
pub(super) const PARSED_FIELDS: usize = 256;

/// The longest line of a chunk's size with its extensions, bytes.
const LONGEST_SIZE_LINE: usize = 256;

/// Why a connection's bytes go no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// 400.
    #[error("{0}")]
    Malformed(&'static str),
    /// 431.
    #[error("the head is longer than {LONGEST_HEAD} bytes")]
    HeadTooLarge,
    /// 431.
    #[error("the head has more than {PARSED_FIELDS} fields")]
    TooManyFields,
}

/// Where in a request the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Head,
    /// A body with this many bytes to come.
    Body(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    /// The answer decides whether a WebSocket begins here, or the next request.
    Undecided,
    /// No longer HTTP.
    Tunnel,
}

/// The framing of one connection.
#[derive(Debug)]
pub(super) struct Guard {
    place: Place,
    /// Bytes that have not passed yet.
    held: Vec<u8>,
    /// How much of `held` was searched for the end of a line or head.
    searched: usize,
    /// Requests whose heads have passed.
    requests: u32,
}

impl Guard {
    pub(super) fn new() -> Self {
        Self {
            place: Place::Head,
            held: Vec::new(),
            searched: 0,
            requests: 0,
        }
    }

    /// How many requests' heads have passed.
    pub(super) fn requests(&self) -> u32 {
        self.requests
    }

    /// How many bytes may pass unseen now: of a body or a tunnel.
    pub(super) fn unseen(&self) -> u64 {
        match self.place {
            Place::Body(left) | Place::ChunkData(left) if self.held.is_empty() => left,
            Place::Tunnel if self.held.is_empty() => u64::MAX,
            Place::Head
            | Place::Body(_)
            | Place::ChunkSize
            | Place::ChunkData(_)
            | Place::ChunkEnd
            | Place::Trailers
            | Place::Undecided
            | Place::Tunnel => 0,
        }
    }

    /// Bytes have passed unseen.
    pub(super) fn passed(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.place = match self.place {
            Place::Body(left) => body_or_head(left.saturating_sub(bytes)),
            Place::ChunkData(left) if left > bytes => Place::ChunkData(left - bytes),
            Place::ChunkData(_) => Place::ChunkEnd,
            place @ (Place::Head
            | Place::ChunkSize
            | Place::ChunkEnd
            | Place::Trailers
            | Place::Undecided
            | Place::Tunnel) => place,
        };
    }

    /// Whether bytes of a head have come, and not yet all of it.
    pub(super) fn is_within_head(&self) -> bool {
        self.place == Place::Head && !self.held.is_empty()
    }

    /// Whether a request's body is under way.
    pub(super) fn is_within_body(&self) -> bool {
        match self.place {
            Place::Body(_)
            | Place::ChunkSize
            | Place::ChunkData(_)
            | Place::ChunkEnd
            | Place::Trailers => true,
            Place::Head | Place::Undecided | Place::Tunnel => false,
        }
    }

    /// Whether nothing may be read before [`decide`](Self::decide) is called.
    pub(super) fn is_undecided(&self) -> bool {
        self.place == Place::Undecided
    }

    /// The request that asked for a WebSocket was answered.
    pub(super) fn decide(&mut self, is_tunnel: bool) {
        self.place = if is_tunnel {
            Place::Tunnel
        } else {
            Place::Head
        };
    }

    /// Whether bytes that came before the decision wait to be released.
    pub(super) fn has_more(&self) -> bool {
        self.searched == 0 && !self.held.is_empty()
    }

    /// Takes bytes as they came from the client.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// Moves what may pass to `out`; more may pass once more has come.
    pub(super) fn release(&mut self, out: &mut Vec<u8>) -> Result<(), Refusal> {
        loop {
            let length = match self.place {
                Place::Undecided => return Ok(()),
                Place::Tunnel => self.held.len(),
                Place::Body(left) | Place::ChunkData(left) => usize::try_from(left)
                    .unwrap_or(usize::MAX)
                    .min(self.held.len()),
                Place::Head => match self.head_end()? {
                    Some(end) => end,
                    None => return Ok(()),
                },
                Place::ChunkSize | Place::ChunkEnd | Place::Trailers => match self.line_end()? {
                    Some(end) => end,
                    None => return Ok(()),
                },
            };
            if length == 0 {
                return Ok(());
            }
            let rest = self.held.split_off(length);
            let piece = std::mem::replace(&mut self.held, rest);
            self.searched = 0;
            self.step(&piece)?;
            out.extend_from_slice(&piece);
        }
    }

    /// Moves on by a piece: a whole head, a line, or some of a body.
    fn step(&mut self, piece: &[u8]) -> Result<(), Refusal> {
        self.place = match self.place {
            // RFC 9112 §2.2: an empty line before a request is ignored.
            Place::Head if piece == b"\r\n" => Place::Head,
            Place::Head => {
                let place = read_head(piece)?;
                self.requests = self.requests.wrapping_add(1);
                place
            }
            Place::ChunkSize => match chunk_size(piece)? {
                0 => Place::Trailers,
                size => Place::ChunkData(size),
            },
            Place::ChunkEnd if piece == b"\r\n" => Place::ChunkSize,
            Place::ChunkEnd => {
                return Err(Refusal::Malformed("a chunk is longer than its size"));
            }
            Place::Trailers if piece == b"\r\n" => Place::Head,
            Place::Trailers => {
                read_field(line(piece)?)?;
                Place::Trailers
            }
            Place::Body(_) | Place::ChunkData(_) | Place::Undecided | Place::Tunnel => {
                self.passed(piece.len());
                self.place
            }
        };
        Ok(())
    }

    /// Where the head ends, if it has; a line before it that ends otherwise than in CRLF is refused.
    fn head_end(&mut self) -> Result<Option<usize>, Refusal> {
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
        if length > LONGEST_SIZE_LINE && self.place != Place::Trailers {
            return Err(Refusal::Malformed("a chunk's size is too long a line"));
        }
        if length > LONGEST_HEAD {
            return Err(Refusal::HeadTooLarge);
        }
        Ok(end)
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

/// What passes of a client's bytes that come in pieces of this size, and why the rest does not: for fuzzing.
pub fn what_passes(bytes: &[u8], piece: usize) -> (Vec<u8>, Option<String>) {
    let (mut guard, mut out) = (Guard::new(), Vec::new());
    for piece in bytes.chunks(piece.max(1)) {
        guard.take(piece);
        if let Err(refusal) = guard.release(&mut out) {
            return (out, Some(refusal.to_string()));
        }
    }
    (out, None)
}

fn body_or_head(left: u64) -> Place {
    if left == 0 {
        Place::Head
    } else {
        Place::Body(left)
    }
}

/// A line without its CRLF.
fn line(text: &[u8]) -> Result<&[u8], Refusal> {
    text.strip_suffix(b"\r\n")
        .ok_or(Refusal::Malformed("a line does not end in CRLF"))
}

/// RFC 9112 §7.1: hexadecimal digits, and extensions that have no say.
fn chunk_size(text: &[u8]) -> Result<u64, Refusal> {
    let refuse = || Refusal::Malformed("the size of a chunk is no hexadecimal number");
    let text = line(text)?;
    let digits = text.split(|byte| *byte == b';').next().unwrap_or_default();
    let extension = text.get(digits.len()..).unwrap_or_default();
    if !extension.iter().copied().all(is_text) {
        return Err(Refusal::Malformed(
            "a chunk's extension has control characters",
        ));
    }
    let digits = std::str::from_utf8(digits).map_err(|_| refuse())?;
    let is_hex = (1..=16).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_hex {
        return Err(refuse());
    }
    u64::from_str_radix(digits, 16).map_err(|_| refuse())
}

/// What may stand in a field's value (RFC 9110 §5.5): visible characters, space, tab, and obs-text.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// RFC 9110 §5.6.2.
fn is_token_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A field's name and value.
fn read_field(text: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    if text
        .first()
        .is_some_and(|byte| matches!(byte, b' ' | b'\t'))
    {
        return Err(Refusal::Malformed(
            "a field goes on in the next line (obs-fold)",
        ));
    }
    let colon = text.iter().position(|byte| *byte == b':');
    let colon = colon.ok_or(Refusal::Malformed("a field has no colon"))?;
    let (name, value) = text.split_at(colon);
    if name.is_empty() || !name.iter().copied().all(is_token_character) {
        return Err(Refusal::Malformed("the name of a field is no token"));
    }
    let value = value.get(1..).unwrap_or_default();
    if !value.iter().copied().all(is_text) {
        return Err(Refusal::Malformed("a field's value has control characters"));
    }
    Ok((name, value.trim_ascii()))
}

/// Reads a whole head; where the next byte stands.
fn read_head(head: &[u8]) -> Result<Place, Refusal> {
    let mut lines = head
        .strip_suffix(b"\r\n")
        .unwrap_or(head)
        .split_inclusive(|byte| *byte == b'\n');
    let is_http_11 = read_request_line(line(lines.next().unwrap_or_default())?)?;
    let mut framing = Framing::default();
    for (number, text) in lines.enumerate() {
        if number == PARSED_FIELDS {
            return Err(Refusal::TooManyFields);
        }
        let (name, value) = read_field(line(text)?)?;
        framing.add(name, value)?;
    }
    framing.place(is_http_11)
}

/// `METHOD target HTTP/1.1`; whether it is 1.1 rather than 1.0.
fn read_request_line(text: &[u8]) -> Result<bool, Refusal> {
    let mut words = text.split(|byte| *byte == b' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let (Some(method), Some(target), Some(version), None) = (method, target, version, words.next())
    else {
        return Err(Refusal::Malformed(
            "the request line is not `METHOD target HTTP/1.1`",
        ));
    };
    if method.is_empty() || !method.iter().copied().all(is_token_character) {
        return Err(Refusal::Malformed("the method is no token"));
    }
    if method == b"CONNECT" {
        return Err(Refusal::Malformed("this is no forward proxy: CONNECT"));
    }
    if target.is_empty() || !target.iter().all(|byte| *byte > b' ' && *byte != 0x7f) {
        return Err(Refusal::Malformed("the target has control characters"));
    }
    match version {
        b"HTTP/1.1" => Ok(true),
        b"HTTP/1.0" => Ok(false),
        _ => Err(Refusal::Malformed(
            "the version is not HTTP/1.1 or HTTP/1.0",
        )),
    }
}

/// What a head says of its body.
#[derive(Default)]
struct Framing {
    length: Option<u64>,
    is_chunked: bool,
    asks_websocket: bool,
}

impl Framing {
    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        if name.eq_ignore_ascii_case(b"content-length") {
            // RFC 9110 §8.6: a list of equal lengths may be taken; none that is honest sends one.
            let length = length(value).ok_or(Refusal::Malformed("Content-Length is no number"))?;
            if self.length.replace(length).is_some() {
                return Err(Refusal::Malformed("Content-Length is there twice"));
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Refusal::Malformed(
                    "Transfer-Encoding is not `chunked`, once",
                ));
            }
            self.is_chunked = true;
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.asks_websocket |= value.eq_ignore_ascii_case(b"websocket");
        }
        Ok(())
    }

    /// RFC 9112 §6.3, without its tolerance.
    fn place(&self, is_http_11: bool) -> Result<Place, Refusal> {
        match (self.is_chunked, self.length) {
            (true, Some(_)) => Err(Refusal::Malformed(
                "Content-Length and Transfer-Encoding are both there",
            )),
            (true, None) if !is_http_11 => Err(Refusal::Malformed("Transfer-Encoding in HTTP/1.0")),
            (true, None) => Ok(Place::ChunkSize),
            (false, Some(length)) if length > 0 => Ok(Place::Body(length)),
            (false, _) if self.asks_websocket => Ok(Place::Undecided),
            (false, _) => Ok(Place::Head),
        }
    }
}

/// Digits and nothing else; no sign, no list.
fn length(value: &[u8]) -> Option<u64> {
    let is_number = (1..=19).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok()?;
    is_number.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What passes of these bytes, and what is refused, whatever pieces they come in.
    fn pass(bytes: &[u8], size: usize) -> (Vec<u8>, Result<(), Refusal>) {
        let (mut guard, mut out) = (Guard::new(), Vec::new());
        for piece in bytes.chunks(size) {
            guard.take(piece);
            if let Err(refusal) = guard.release(&mut out) {
                return (out, Err(refusal));
            }
        }
        (out, Ok(()))
    }

    #[track_caller]
    fn check_passes(text: &str) {
        for size in [1, 7, 1 << 20] {
            let (out, verdict) = pass(text.as_bytes(), size);
            assert_eq!(verdict, Ok(()), "{text:?}");
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[track_caller]
    fn check_refused(text: &str) {
        for size in [1, 7, 1 << 20] {
            let (_, verdict) = pass(text.as_bytes(), size);
            assert!(matches!(verdict, Err(Refusal::Malformed(_))), "{text:?}");
        }
    }

    #[test]
    fn what_every_parser_reads_alike_passes() {
        for text in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /?q=\u{e4} HTTP/1.1\r\nHost: a\r\nX: \u{e4}\t b\r\nEmpty:\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=\"y\"\r\na\nb\r\n00a\r\n0123456789\r\n0\r\nSum: 1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            check_passes(text);
        }
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_refused() {
        for head in [
            "Content-Length: 3\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 3",
            "Content-Length: 3\r\nContent-Length: 3",
            "Content-Length: 3, 3",
            "Content-Length: +3",
            "Content-Length: -3",
            "Content-Length: 0x3",
            "Content-Length: 3 3",
            "Content-Length:",
            "Content-Length: 99999999999999999999",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: \u{b}chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding : chunked",
            "Transfer-Encoding\t: chunked",
            " Transfer-Encoding: chunked",
            "X: a\r\n b",
            "X: a\r\n\tb",
            "X: a\nY: b",
            "X: a\rY: b",
            "X: a\r\r\nY: b",
            "X: \0",
            "X: \u{7f}",
            "X",
            ": x",
            "X@: a",
            "X\u{e4}: a",
        ] {
            check_refused(&format!("POST / HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\nabc"));
        }
        for request in [
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
            " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            "GET / http/1.1\r\nHost: a\r\n\r\n",
            "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
            "G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
            "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ] {
            check_refused(request);
        }
    }

    #[test]
    fn chunks_are_what_they_say() {
        for body in [
            "g\r\nabc\r\n0\r\n\r\n",
            "0x3\r\nabc\r\n0\r\n\r\n",
            "-3\r\nabc\r\n0\r\n\r\n",
            " 3\r\nabc\r\n0\r\n\r\n",
            "3 \r\nabc\r\n0\r\n\r\n",
            "\r\nabc\r\n0\r\n\r\n",
            "3\nabc\r\n0\r\n\r\n",
            "3;\u{1}\r\nabc\r\n0\r\n\r\n",
            "3\r\nabcd\r\n0\r\n\r\n",
            "3\r\nabc\n0\r\n\r\n",
            "3\r\nabc0\r\n\r\n",
            "10000000000000000\r\nabc\r\n0\r\n\r\n",
            "0\r\nX : a\r\n\r\n",
            "0\r\n\n",
        ] {
            check_refused(&format!(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
            ));
        }
    }

    #[test]
    fn a_head_has_a_length_and_so_has_the_line_of_a_chunk() {
        let head = |length: usize| format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(length - 19));
        assert_eq!(pass(head(LONGEST_HEAD).as_bytes(), 1 << 20).1, Ok(()));
        assert_eq!(
            pass(head(LONGEST_HEAD + 1).as_bytes(), 1 << 20).1,
            Err(Refusal::HeadTooLarge)
        );
        let chunk = |length: usize| {
            format!(
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;{}",
                "x".repeat(length - 2)
            )
        };
        assert_eq!(pass(chunk(LONGEST_SIZE_LINE).as_bytes(), 1 << 20).1, Ok(()));
        assert!(
            pass(chunk(LONGEST_SIZE_LINE + 1).as_bytes(), 1 << 20)
                .1
                .is_err()
        );
    }

    #[test]
    fn a_head_has_only_so_many_fields() {
        let head = |fields: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(fields));
        assert_eq!(pass(head(PARSED_FIELDS).as_bytes(), 1 << 20).1, Ok(()));
        let one_more = pass(head(PARSED_FIELDS + 1).as_bytes(), 1 << 20).1;
        assert_eq!(one_more, Err(Refusal::TooManyFields));
    }

    #[test]
    fn behind_a_websocket_s_request_nothing_passes_before_the_answer() {
        let request =
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
        let frames = b"\x81\x85\n\r\0\xffGET";
        for (is_tunnel, expected) in [
            (true, Ok(())),
            (
                false,
                Err(Refusal::Malformed("a line ends in LF without CR")),
            ),
        ] {
            let (mut guard, mut out) = (Guard::new(), Vec::new());
            guard.take(request);
            guard.take(frames);
            guard.release(&mut out).unwrap();
            assert_eq!(out, request);
            assert!(guard.is_undecided());
            guard.decide(is_tunnel);
            assert_eq!(guard.release(&mut out), expected);
        }
    }

    proptest! {
        #[test]
        fn what_passes_is_a_beginning_of_what_came(text in "[A-Z :/\\r\\n0-9a-fHTP.;,-]{0,300}", size in 1_usize..40) {
            let (out, _) = pass(text.as_bytes(), size);
            prop_assert!(text.as_bytes().starts_with(&out));
        }

        #[test]
        fn pieces_make_no_difference(body in "[ -~]{0,60}", size in 1_usize..40) {
            let text = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}GET / HTTP/1.1\r\n\r\n", body.len());
            let (out, verdict) = pass(text.as_bytes(), size);
            prop_assert_eq!(verdict, Ok(()));
            prop_assert_eq!(out, text.into_bytes());
        }
    }
}
