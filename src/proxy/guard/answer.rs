//! How an answer begins: its status line, and what of it and of the request frames it. RFC 9112 §4, §6.3.

use super::Refusal;
use super::field::{Framing, Version, are_text, read_fields, split_head};
use super::pieces::{Heads, Place};

/// Interim answers before the final one; honest origins send one or two.
const MOST_INTERIM: u8 = 16;

/// What of a request frames its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Question {
    /// HEAD: the answer has no body, whatever it says.
    Head,
    /// Any other method that is forwarded: CONNECT never is.
    Other,
}

/// The answers on one connection, of which at most one is expected at a time.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Answers {
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

    /// RFC 9110 §15.2: any number of interim answers may come before the final one; not here.
    fn interim(&mut self) -> Result<Place, Refusal> {
        self.interim += 1; // Cannot overflow: it ends at `MOST_INTERIM`.
        if self.interim > MOST_INTERIM {
            return Err(Refusal::Malformed("there is no end of interim answers"));
        }
        Ok(Place::Head)
    }
}

impl Heads for Answers {
    fn begin(&self) -> Result<(), Refusal> {
        match self.expected {
            Some(_) => Ok(()),
            None => Err(Refusal::Malformed(
                "the origin sent more than it was asked for",
            )),
        }
    }

    fn empty_line(&mut self) -> Result<(), Refusal> {
        Err(Refusal::Malformed("an answer begins with an empty line"))
    }

    fn read(&mut self, head: &[u8]) -> Result<Place, Refusal> {
        let (status_line, fields) = split_head(head)?;
        let (version, status) = read_status_line(status_line)?;
        let framing = read_fields(fields, |_, _| Ok(()))?;
        framing.check_version(version)?;
        check_bodiless(status, framing)?;
        match status {
            101 => {
                self.expected = None;
                Ok(Place::Rest)
            }
            100..=199 => self.interim(),
            status => {
                let question = self.expected.take();
                Ok(place(question, status, framing))
            }
        }
    }
}

/// RFC 9112 §6.1, RFC 9110 §8.6: 1xx and 204 announce no body. Many an origin says `Content-Length: 0` with
/// 204, which everybody reads alike.
fn check_bodiless(status: u16, framing: Framing) -> Result<(), Refusal> {
    let is_bodiless = status < 200 || status == 204;
    let announces = framing.is_chunked || framing.length.is_some_and(|length| length > 0);
    if is_bodiless && announces {
        return Err(Refusal::Malformed(
            "a body is announced with a status that has none",
        ));
    }
    Ok(())
}

/// RFC 9112 §6.3: where the body of a final answer begins.
fn place(question: Option<Question>, status: u16, framing: Framing) -> Place {
    if question == Some(Question::Head) || matches!(status, 204 | 304) {
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
fn read_status_line(text: &[u8]) -> Result<(Version, u16), Refusal> {
    let refuse = || Refusal::Malformed("the status line is not `HTTP/1.1 200 reason`");
    let (version, rest) = text.split_at_checked(8).ok_or_else(refuse)?;
    let version = Version::read(version)?;
    let [b' ', status @ ..] = rest else {
        return Err(refuse());
    };
    let (digits, reason) = status.split_at_checked(3).ok_or_else(refuse)?;
    let is_status = matches!(digits, [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9']);
    if !is_status || !matches!(reason.first(), None | Some(b' ')) {
        return Err(refuse());
    }
    if !are_text(reason) {
        return Err(Refusal::Malformed("the reason has control characters"));
    }
    let status = digits
        .iter()
        .fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    Ok((version, status))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Guard, what_passes_of_answers};
    use super::*;

    #[track_caller]
    fn check_passes(text: &str, question: Question) {
        for size in [1, 7, 1 << 20] {
            let to_head = question == Question::Head;
            let (out, why) = what_passes_of_answers(text.as_bytes(), size, to_head);
            assert_eq!(why, None, "{text:?}");
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    /// What passes of an answer that is refused.
    #[track_caller]
    fn check_refused(text: &str, question: Question, passes: &str) {
        for size in [1, 7, 1 << 20] {
            let to_head = question == Question::Head;
            let (out, why) = what_passes_of_answers(text.as_bytes(), size, to_head);
            assert!(why.is_some(), "{text:?}");
            assert_eq!(String::from_utf8(out).unwrap(), passes, "{text:?}");
        }
    }

    #[test]
    fn an_answer_is_framed_as_its_status_and_its_fields_say() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200 \r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 999 What?\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\na\nb\r\n0\r\nSum: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\nto the end\n\r\0",
            "HTTP/1.0 200 OK\r\n\r\nto the end",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\n\r\0",
        ] {
            check_passes(text, Question::Other);
        }
        check_passes(
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
            Question::Head,
        );
        check_passes(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            Question::Head,
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
        check_passes(&format!("{most}{answer}"), Question::Other);
        check_refused(&format!("{most}{interim}{answer}"), Question::Other, &most);
    }

    #[test]
    fn the_next_request_has_the_next_answer() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";
        let (mut guard, mut out) = (Guard::new(Answers::default()), Vec::new());
        for _ in 0..3 {
            guard.heads_mut().expect(Question::Other);
            assert_eq!(guard.judge(answer, &mut out), Ok(()));
        }
        assert_eq!(out, answer.repeat(3));
    }

    proptest! {
        #[test]
        fn what_passes_is_a_beginning_of_what_came(text in "(HTTP/1\\.[01] [1-5][0-9]{2} ?[A-Z :\\r\\n0-9a-fHTP.;,-]{0,200})?", size in 1_usize..40) {
            let (out, _) = what_passes_of_answers(text.as_bytes(), size, false);
            prop_assert!(text.as_bytes().starts_with(&out));
        }
    }
}
