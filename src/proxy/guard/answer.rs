//! What an origin says on one connection: heads, bodies, trailers. RFC 9112 §4, §6, §7.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};

use super::Refusal;
use super::field::{Framing, Version, are_text, keeps_connection, read_head_fields, split_head};
use super::message::{Message, Part, say_fields, say_part};
use super::pieces::Place;

/// Interim answers before the final one; honest origins send one or two.
pub(in crate::proxy) const MOST_INTERIM: u8 = 16;

/// What of a request frames its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Question {
    /// HEAD: the answer has no body, whatever it says.
    Head,
    /// Any other method that is forwarded: CONNECT never is.
    Other,
}

/// The head of an answer.
#[derive(Debug)]
pub(in crate::proxy) struct Head {
    pub(in crate::proxy) status: StatusCode,
    pub(in crate::proxy) version: http::Version,
    pub(in crate::proxy) reason: Bytes,
    /// Without Transfer-Encoding, which ends here.
    pub(in crate::proxy) headers: HeaderMap,
}

impl Head {
    /// Whether another request may follow on this connection (RFC 9112 §9.3).
    pub(in crate::proxy) fn keeps_connection(&self) -> bool {
        keeps_connection(self.version, &self.headers)
    }
}

/// The answers on one connection, of which at most one is expected at a time.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Answers {
    message: Message,
    expected: Option<Question>,
    /// Interim answers since the request.
    interim: u8,
}

impl Answers {
    /// A request is on its way.
    pub(in crate::proxy) fn expect(&mut self, question: Question) {
        self.expected = Some(question);
        self.interim = 0;
    }

    /// Takes the next head, if it has come.
    pub(in crate::proxy) fn head(&mut self, input: &mut BytesMut) -> Result<Option<Head>, Refusal> {
        let Some(question) = self.expected.filter(|_| !input.is_empty()) else {
            return self.check_unasked(input).map(|()| None);
        };
        let Some(length) = self.message.pieces.next(input)? else {
            return Ok(None);
        };
        let text = input.split_to(length).freeze();
        if *text == *b"\r\n" {
            return Err(Refusal::Malformed("an answer begins with an empty line"));
        }
        let (head, framing) = read_head(&text)?;
        check_bodiless(head.status, framing)?;
        self.message.pieces.pass_head(match head.status.as_u16() {
            101 => Place::Rest,
            100..=199 => return self.interim(head).map(Some),
            status => place(question, status, framing),
        });
        self.expected = None;
        Ok(Some(head))
    }

    /// RFC 9110 §15.2: any number of interim answers may come before the final one; not here.
    fn interim(&mut self, head: Head) -> Result<Head, Refusal> {
        self.message.pieces.pass_head(Place::Head);
        self.interim += 1; // Cannot overflow: it ends at `MOST_INTERIM`.
        if self.interim > MOST_INTERIM {
            return Err(Refusal::Malformed("there is no end of interim answers"));
        }
        Ok(head)
    }

    /// Refuses what comes when nothing was asked.
    fn check_unasked(&self, input: &[u8]) -> Result<(), Refusal> {
        if self.expected.is_none() && self.is_over() && !input.is_empty() {
            return Err(Refusal::Malformed(
                "the origin sent more than it was asked for",
            ));
        }
        Ok(())
    }

    /// Takes the next part of the body, if it has come.
    pub(in crate::proxy) fn part(&mut self, input: &mut BytesMut) -> Result<Option<Part>, Refusal> {
        self.message.part(input)
    }

    /// Whether the answer has come whole, or none has begun.
    pub(in crate::proxy) fn is_over(&self) -> bool {
        self.message.is_over()
    }

    /// Whether the answer ends with its connection.
    pub(in crate::proxy) fn lasts_to_the_end(&self) -> bool {
        self.message.pieces.place == Place::Rest
    }

    /// How many bytes of the body are to come, if that is known.
    pub(in crate::proxy) fn left(&self) -> Option<u64> {
        self.message.left()
    }

    /// Whether the part of the body that has come is one.
    pub(in crate::proxy) fn foresee(&self, input: &[u8]) -> Result<(), Refusal> {
        self.message.foresee(input)
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
                out.extend_from_slice(head.status.as_str().as_bytes());
                out.extend_from_slice(b" ");
                out.extend_from_slice(&head.reason);
                say_fields(&head.headers, out);
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

/// Reads a whole head. Values are parts of its text and not copied.
fn read_head(text: &Bytes) -> Result<(Head, Framing), Refusal> {
    let (status_line, lines) = split_head(text)?;
    let (version, status, reason) = read_status_line(status_line)?;
    let (headers, framing) = read_head_fields(text, lines)?;
    framing.check_version(version)?;
    let head = Head {
        status,
        version: version.into(),
        reason: text.slice_ref(reason),
        headers,
    };
    Ok((head, framing))
}

/// RFC 9112 §6.1, RFC 9110 §8.6: 1xx and 204 announce no body. Many an origin says `Content-Length: 0` with
/// 204, which everybody reads alike.
fn check_bodiless(status: StatusCode, framing: Framing) -> Result<(), Refusal> {
    let is_bodiless = status.is_informational() || status == StatusCode::NO_CONTENT;
    let announces = framing.is_chunked || framing.length.is_some_and(|length| length > 0);
    if is_bodiless && announces {
        return Err(Refusal::Malformed(
            "a body is announced with a status that has none",
        ));
    }
    Ok(())
}

/// RFC 9112 §6.3: where the body of a final answer begins.
fn place(question: Question, status: u16, framing: Framing) -> Place {
    if question == Question::Head || matches!(status, 204 | 304) {
        return Place::Head;
    }
    match framing {
        Framing {
            is_chunked: true, ..
        } => Place::ChunkSize,
        Framing {
            length: Some(length),
            ..
        } => Place::body(length),
        Framing { length: None, .. } => Place::Rest,
    }
}

/// `HTTP/1.1 200 reason`; the reason may be empty, and the space before it absent, as many origins have it.
fn read_status_line(text: &[u8]) -> Result<(Version, StatusCode, &[u8]), Refusal> {
    let refuse = || Refusal::Malformed("the status line is not `HTTP/1.1 200 reason`");
    let (version, rest) = text.split_at_checked(8).ok_or_else(refuse)?;
    let version = Version::read(version)?;
    let [b' ', status @ ..] = rest else {
        return Err(refuse());
    };
    let (digits, reason) = status.split_at_checked(3).ok_or_else(refuse)?;
    let status = StatusCode::from_bytes(digits).map_err(|_| refuse())?;
    let reason = match reason {
        [b' ', reason @ ..] => reason,
        [] => reason,
        _ => return Err(refuse()),
    };
    if !are_text(reason) {
        return Err(Refusal::Malformed("the reason has control characters"));
    }
    Ok((version, status, reason))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::what_answers_say;
    use super::*;

    #[track_caller]
    fn check_says(text: &str, question: Question, expected: &str) {
        for size in [1, 7, 1 << 20] {
            let to_head = question == Question::Head;
            let (said, why) = what_answers_say(text.as_bytes(), size, to_head);
            assert_eq!(why, None, "{text:?}");
            assert_eq!(String::from_utf8(said).unwrap(), expected, "{text:?}");
        }
    }

    /// That an answer is refused after it has said as much as this beginning of it.
    #[track_caller]
    fn check_refused(text: &str, question: Question, beginning: &str) {
        for size in [1, 7, 1 << 20] {
            let to_head = question == Question::Head;
            let expected = what_answers_say(beginning.as_bytes(), size, to_head);
            let (said, why) = what_answers_say(text.as_bytes(), size, to_head);
            assert!(why.is_some(), "{text:?}");
            assert_eq!((said, None), expected, "{text:?}");
        }
    }

    #[test]
    fn an_answer_is_framed_as_its_status_and_its_fields_say() {
        for (text, expected) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
                "200 OK\ncontent-length: 3\nabc",
            ),
            (
                "HTTP/1.1 200\r\nContent-Length:3 \t\r\n\r\nabc",
                "200 \ncontent-length: 3\nabc",
            ),
            (
                "HTTP/1.1 200 \r\nContent-Length: 3\r\n\r\nabc",
                "200 \ncontent-length: 3\nabc",
            ),
            (
                "HTTP/1.1 999 What?\r\nContent-Length: 0\r\n\r\n",
                "999 What?\ncontent-length: 0\n",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\na\nb\r\n0\r\nSum: 1\r\n\r\n",
                "200 OK\na\nb\nsum: 1\n",
            ),
            (
                "HTTP/1.1 200 OK\r\n\r\nto the end\n\r\0",
                "200 OK\nto the end\n\r\0",
            ),
            ("HTTP/1.0 200 OK\r\n\r\nto the end", "200 OK\nto the end"),
            ("HTTP/1.1 204 No Content\r\n\r\n", "204 No Content\n"),
            (
                "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
                "204 No Content\ncontent-length: 0\n",
            ),
            (
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n",
                "304 Not Modified\ncontent-length: 3\n",
            ),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
                "100 Continue\n103 Early Hints\nlink: </x>\n200 OK\ncontent-length: 1\na",
            ),
            (
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\n\r\0",
                "101 Switching Protocols\nupgrade: websocket\n\n\r\0",
            ),
        ] {
            check_says(text, Question::Other, expected);
        }
        check_says(
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
            Question::Head,
            "200 OK\ncontent-length: 3\n",
        );
        check_says(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            Question::Head,
            "200 OK\n",
        );
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for line in [
            "HTTP/1.1 200 OK\r",
            "HTTP/1.1  200 OK",
            "HTTP/1.1 20 OK",
            "HTTP/1.1 2000 OK",
            "HTTP/1.1 +20 OK",
            "HTTP/1.1 099 OK",
            "HTTP/1.1\t200 OK",
            "HTTP/1.1 200\tOK",
            "HTTP/1.1 200 O\0K",
            "HTTP/1.2 200 OK",
            "HTTP/2.0 200 OK",
            "http/1.1 200 OK",
            "ICY 200 OK",
            "HTTP/1.1",
            "\r\nHTTP/1.1 200 OK",
            "HTTP/1.1 204 OK\r\nTransfer-Encoding: chunked",
            "HTTP/1.1 103 OK\r\nTransfer-Encoding: chunked",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip",
        ] {
            check_refused(&format!("{line}\r\n\r\n"), Question::Other, "");
        }
        check_refused(
            "HTTP/1.1 204 OK\r\nContent-Length: 1\r\n\r\na",
            Question::Other,
            "",
        );
    }

    #[test]
    fn what_comes_behind_an_answer_is_refused() {
        for (answer, question) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
                Question::Other,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
                Question::Head,
            ),
            ("HTTP/1.1 204 OK\r\n\r\n", Question::Other),
            (
                "HTTP/1.1 304 OK\r\nContent-Length: 1\r\n\r\n",
                Question::Other,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                Question::Other,
            ),
        ] {
            for more in ["x", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"] {
                check_refused(&format!("{answer}{more}"), question, answer);
            }
        }
    }

    #[test]
    fn interim_answers_come_to_an_end() {
        let interim = "HTTP/1.1 103 Early Hints\r\n\r\n";
        let answer = "HTTP/1.1 204 No Content\r\n\r\n";
        let most = interim.repeat(MOST_INTERIM.into());
        let said = "103 Early Hints\n".repeat(MOST_INTERIM.into()) + "204 No Content\n";
        check_says(&format!("{most}{answer}"), Question::Other, &said);
        check_refused(&format!("{most}{interim}{answer}"), Question::Other, &most);
    }

    #[test]
    fn the_next_request_has_the_next_answer() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";
        let (mut answers, mut said) = (Answers::default(), Vec::new());
        for _ in 0..3 {
            answers.expect(Question::Other);
            let mut input = BytesMut::from(&answer[..]);
            assert_eq!(answers.say_all(&mut input, &mut said), Ok(()));
        }
        assert_eq!(said, b"200 OK\ncontent-length: 1\na".repeat(3));
    }

    #[test]
    fn a_connection_is_kept_unless_the_answer_or_its_version_says_otherwise() {
        let keeps = |text: &str| {
            let text = Bytes::from(text.replace('|', "\r\n") + "\r\n\r\n");
            read_head(&text).unwrap().0.keeps_connection()
        };
        assert!(keeps("HTTP/1.1 200 OK"));
        assert!(!keeps("HTTP/1.1 200 OK|Connection: close"));
        assert!(!keeps("HTTP/1.1 200 OK|Connection: x, Close"));
        assert!(!keeps("HTTP/1.1 200 OK|Connection: x|Connection: close"));
        assert!(!keeps(
            "HTTP/1.0 200 OK|Connection: keep-alive|Connection: close"
        ));
        assert!(!keeps("HTTP/1.0 200 OK"));
        assert!(keeps("HTTP/1.0 200 OK|Connection: Keep-Alive"));
    }

    #[test]
    fn a_head_is_held_back_when_the_body_beside_it_is_none() {
        let foreseen = |body: &str| {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            let mut input = BytesMut::from(format!("{head}{body}").as_str());
            let mut answers = Answers::default();
            answers.expect(Question::Other);
            answers.head(&mut input).unwrap().unwrap();
            answers.foresee(&input).is_ok()
        };
        for fine in ["", "1\r", "1\r\na\r\n0\r\n\r\n", "0\r\n\r\nmore"] {
            assert!(foreseen(fine), "{fine:?}");
        }
        for none in ["x\r\n", "1\r\nab\r\n", "1\na", "0\r\nhost: x\r\n\r\n"] {
            assert!(!foreseen(none), "{none:?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(text in "(HTTP/1\\.[01] [1-5][0-9]{2} ?[A-Z :\\r\\n0-9a-fHTP.;,-]{0,200})?", size in 1_usize..40) {
            let (whole, why) = what_answers_say(text.as_bytes(), text.len(), false);
            let (pieces, reason) = what_answers_say(text.as_bytes(), size, false);
            prop_assert_eq!((pieces, reason), (whole, why));
        }
    }
}
