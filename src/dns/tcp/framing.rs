//! Messages one after the other, each behind its length (RFC 1035 §4.2.2): those that came, and those that wait to be written.

/// The length before a message, RFC 1035 §4.2.2.
pub(super) const LENGTH_BYTES: usize = 2;

/// The length of the message that `input` begins with, if it is all there.
pub(super) fn whole_message(input: &[u8]) -> Option<usize> {
    let (length, rest) = input.split_first_chunk::<LENGTH_BYTES>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    (rest.len() >= length).then_some(length)
}

/// How many messages `input` has or begins.
pub(super) fn begun(input: &[u8]) -> u64 {
    ending_behind(input, 0)
}

/// How many messages of `bytes` end behind a place, or have no end there.
fn ending_behind(bytes: &[u8], place: usize) -> u64 {
    let (mut rest, mut end, mut count) = (bytes, 0, 0);
    while !rest.is_empty() {
        let length = whole_message(rest).map_or(rest.len(), |length| LENGTH_BYTES + length);
        end += length;
        count += u64::from(end > place);
        rest = rest.get(length..).unwrap_or_default();
    }
    count
}

/// Responses that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) bytes: Vec<u8>,
}

impl Output {
    pub(super) fn append(&mut self, response: &[u8]) {
        let length = u16::try_from(response.len()).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(response);
    }

    /// How many responses are not whole in the bytes that were written.
    pub(super) fn unsent(&self, written: usize) -> u64 {
        ending_behind(&self.bytes, written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_written_whole_is_unsent() {
        let mut output = Output::default();
        output.append(b"one");
        output.append(b"");
        output.append(b"three");
        let unsent = [0, 4, 5, 6, 7, 13, 14].map(|written| output.unsent(written));
        assert_eq!(unsent, [3, 3, 2, 2, 1, 1, 0]);
    }

    #[test]
    fn a_message_counts_from_its_first_byte() {
        let counts = [&b""[..], b"\0", b"\0\x01", b"\0\x01a", b"\0\x01a\0\0\0"].map(begun);
        assert_eq!(counts, [0, 1, 1, 1, 3]);
    }
}
