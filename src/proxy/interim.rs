//! Interim answers (1xx) on their way to a client over HTTP/1.1, which hyper's server cannot send.
//!
//! They are written between hyper and the socket, as bytes of their own, when the message before has gone out
//! whole and the answer to this request has not begun (RFC 9110 §15.2). What cannot be written in that time is
//! dropped: a client may never rely on an interim answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::task::AtomicWaker;
use http::{HeaderMap, StatusCode};

use super::headers::{remove_what_ends_here, write_field};

/// The most bytes that wait to be written: a client that reads nothing gets no more hints.
const MOST_WAITING: usize = 64 << 10;

/// The interim answers of one connection.
#[derive(Default)]
pub(super) struct Interims {
    state: Mutex<State>,
    /// Whether there is anything to write, to be asked before the lock is taken.
    is_waiting: AtomicBool,
    pub(super) writer: AtomicWaker,
}

#[derive(Default)]
struct State {
    /// Which request of the connection is under way.
    turn: u64,
    /// Whether its answer has not begun yet.
    is_open: bool,
    text: Vec<u8>,
}

/// What one request's origins may say before they answer.
#[derive(Clone)]
pub(super) struct Interim {
    interims: Arc<Interims>,
    turn: u64,
}

impl Interims {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each critical section leaves the state whole, even if it were to panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next request begins: what was said to those before is too late.
    pub(super) fn begin(self: &Arc<Self>) -> Interim {
        let mut state = self.state();
        state.turn += 1;
        state.is_open = true;
        state.text.clear();
        Interim {
            interims: self.clone(),
            turn: state.turn,
        }
    }

    /// What may be written now that all before it has been written.
    pub(super) fn take(&self) -> Option<Vec<u8>> {
        if !self.is_waiting.swap(false, Ordering::Acquire) {
            return None;
        }
        let text = std::mem::take(&mut self.state().text);
        (!text.is_empty()).then_some(text)
    }

    /// Something else is still being written: what the answer has overtaken is dropped.
    pub(super) fn drop_late(&self) {
        if self.is_waiting.load(Ordering::Acquire) && !self.state().is_open {
            self.take();
        }
    }
}

impl Interim {
    /// Passes an interim answer on, but for 100, which the edge says when it takes the body, and 101.
    pub(super) fn say(&self, status: StatusCode, headers: &HeaderMap) {
        let is_ours = [StatusCode::CONTINUE, StatusCode::SWITCHING_PROTOCOLS].contains(&status);
        if is_ours {
            return;
        }
        let mut state = self.interims.state();
        if state.turn != self.turn || !state.is_open || state.text.len() > MOST_WAITING {
            return;
        }
        write(status, headers.clone(), &mut state.text);
        // Within the lock: whoever closes next sees it, and nothing is left for the middle of the answer.
        self.interims.is_waiting.store(true, Ordering::Release);
        drop(state);
        self.interims.writer.wake();
    }

    /// The answer begins.
    pub(super) fn close(&self) {
        let mut state = self.interims.state();
        if state.turn == self.turn {
            state.is_open = false;
        }
    }
}

fn write(status: StatusCode, mut headers: HeaderMap, text: &mut Vec<u8>) {
    remove_what_ends_here(&mut headers);
    let reason = status.canonical_reason().unwrap_or_default();
    text.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).as_bytes());
    for (name, value) in &headers {
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
        interim.say(StatusCode::from_u16(103).unwrap(), &headers);
    }

    #[test]
    fn a_hint_is_written_once_without_what_concerns_the_origin_s_connection() {
        let interims = Arc::new(Interims::default());
        hint(&interims.begin());
        let text = String::from_utf8(interims.take().unwrap()).unwrap();
        assert_eq!(
            text,
            "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n"
        );
        assert_eq!(interims.take(), None);
    }

    #[test]
    fn a_hint_never_comes_behind_the_answer_or_in_another_request_s_turn() {
        let interims = Arc::new(Interims::default());
        let first = interims.begin();
        let second = interims.begin();
        hint(&first);
        assert_eq!(interims.take(), None, "the first one's turn is over");
        hint(&second);
        second.close();
        interims.drop_late();
        assert_eq!(interims.take(), None, "the answer has overtaken it");
        hint(&second);
        assert_eq!(interims.take(), None, "the answer has begun");
    }

    #[test]
    fn no_more_waits_for_a_client_that_does_not_read_than_its_bound() {
        let interims = Arc::new(Interims::default());
        let interim = interims.begin();
        (0..10_000).for_each(|_| hint(&interim));
        let waiting = interims.take().unwrap().len();
        assert!(
            (MOST_WAITING..MOST_WAITING + 100).contains(&waiting),
            "{waiting}"
        );
    }

    #[test]
    fn the_edge_itself_says_100_and_101() {
        let interims = Arc::new(Interims::default());
        let interim = interims.begin();
        interim.say(StatusCode::CONTINUE, &HeaderMap::new());
        interim.say(StatusCode::SWITCHING_PROTOCOLS, &HeaderMap::new());
        assert_eq!(interims.take(), None);
    }
}
