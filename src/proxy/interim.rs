//! Interim answers (1xx) on their way to a client.
//!
//! They are sent before the answer that they belong to (RFC 9110 §15.2). What cannot be sent in that time is
//! dropped: a client may never rely on an interim answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use http::{HeaderMap, Response, StatusCode};

use super::carried::remove_set_tokens;
use super::headers::{remove_what_ends_here, write_field};

/// The most bytes that wait to be sent: a client that reads nothing gets no more hints.
const MOST_WAITING: usize = 64 << 10;

/// What a head counts for beside its fields, bytes.
const HEAD: usize = 32;

/// What is said before an answer: on one connection of a client over HTTP/1.1, or one stream over HTTP/2.
#[derive(Clone, Default)]
pub(super) struct Interim(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Whether there is anything to send, to be asked before the lock is taken.
    is_waiting: AtomicBool,
    /// What the client did wrong, for which its stream was reset.
    wrong: OnceLock<String>,
}

#[derive(Default)]
struct Waiting {
    heads: Vec<Response<()>>,
    /// How long they are, about.
    bytes: usize,
}

impl Interim {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Each critical section leaves it whole, even if it were to panic.
        let waiting = self.0.waiting.lock();
        waiting.unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes an interim answer on, but for 100, which the edge says when it takes the body, and 101.
    pub(super) fn say(&self, status: StatusCode, headers: &HeaderMap) {
        let is_ours = [StatusCode::CONTINUE, StatusCode::SWITCHING_PROTOCOLS].contains(&status);
        if !is_ours {
            self.push(status, headers.clone());
        }
    }

    /// Tells a client over HTTP/2 that its body is wanted. Over HTTP/1.1 the connection does.
    pub(super) fn ask_for_body(&self) {
        self.push(StatusCode::CONTINUE, HeaderMap::new());
    }

    fn push(&self, status: StatusCode, mut headers: HeaderMap) {
        let mut waiting = self.waiting();
        if waiting.bytes > MOST_WAITING {
            return;
        }
        remove_what_ends_here(&mut headers);
        remove_set_tokens(&mut headers);
        let fields = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len());
        waiting.bytes += HEAD + fields.sum::<usize>();
        let mut head = Response::new(());
        *head.status_mut() = status;
        *head.headers_mut() = headers;
        waiting.heads.push(head);
        self.0.is_waiting.store(true, Ordering::Release);
    }

    /// Nothing more is said on its stream, for what the client did wrong.
    pub(super) fn break_off(&self, wrong: String) {
        let _ = self.0.wrong.set(wrong); // The first is why.
    }

    /// What the client did wrong, if its stream was reset for that.
    pub(super) fn wrong(&self) -> Option<&str> {
        self.0.wrong.get().map(String::as_str)
    }

    /// What is to be sent.
    pub(super) fn take(&self) -> Vec<Response<()>> {
        if !self.0.is_waiting.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut waiting = self.waiting();
        self.0.is_waiting.store(false, Ordering::Relaxed);
        std::mem::take(&mut *waiting).heads
    }

    /// Moves what is to be sent over HTTP/1.1 to the end of `waiting`, which bounds that with it.
    pub(super) fn take_into(&self, waiting: &mut Vec<u8>) {
        let heads = self.take();
        if waiting.len() <= MOST_WAITING {
            heads.iter().for_each(|head| write(head, waiting));
        }
    }
}

fn write(head: &Response<()>, text: &mut Vec<u8>) {
    let status = head.status();
    let reason = status.canonical_reason().unwrap_or_default();
    text.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).as_bytes());
    for (name, value) in head.headers() {
        write_field(name, value, text);
    }
    text.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(interim: &Interim) {
        let mut headers = HeaderMap::new();
        headers.insert("link", "</a.css>; rel=preload".parse().unwrap());
        headers.insert("connection", "close".parse().unwrap());
        headers.insert(
            "set-cookie",
            "meridian_seen=forged; Path=/".parse().unwrap(),
        );
        interim.say(StatusCode::from_u16(103).unwrap(), &headers);
    }

    fn taken(interim: &Interim) -> String {
        let mut text = Vec::new();
        interim.take_into(&mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_hint_is_written_once_without_what_is_the_edge_s_own_to_say() {
        let interim = Interim::default();
        hint(&interim);
        assert_eq!(
            taken(&interim),
            "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n"
        );
        assert_eq!(taken(&interim), "");
    }

    #[test]
    fn no_more_waits_for_a_client_that_does_not_read_than_its_bound() {
        let (interim, mut waiting) = (Interim::default(), Vec::new());
        for _ in 0..100 {
            (0..10_000).for_each(|_| hint(&interim));
            interim.take_into(&mut waiting);
        }
        let most = 2 * (MOST_WAITING + 100);
        assert!((MOST_WAITING..most).contains(&waiting.len()));
    }

    #[test]
    fn the_edge_itself_says_100_and_101() {
        let interim = Interim::default();
        interim.say(StatusCode::CONTINUE, &HeaderMap::new());
        interim.say(StatusCode::SWITCHING_PROTOCOLS, &HeaderMap::new());
        assert_eq!(taken(&interim), "");
    }
}
