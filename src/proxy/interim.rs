//! Interim answers (1xx) on their way to a client over HTTP/1.1.
//!
//! They are written before the answer that they belong to (RFC 9110 §15.2). What cannot be written in that time is
//! dropped: a client may never rely on an interim answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, StatusCode};

use super::headers::{remove_what_ends_here, write_field};

/// The most bytes that wait to be written: a client that reads nothing gets no more hints.
const MOST_WAITING: usize = 64 << 10;

/// What origins say before they answer, on one connection of a client.
#[derive(Clone, Default)]
pub(super) struct Interim(Arc<Shared>);

#[derive(Default)]
struct Shared {
    text: Mutex<Vec<u8>>,
    /// Whether there is anything to write, to be asked before the lock is taken.
    is_waiting: AtomicBool,
}

impl Interim {
    fn text(&self) -> MutexGuard<'_, Vec<u8>> {
        // Each critical section leaves it whole, even if it were to panic.
        self.0.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes an interim answer on, but for 100, which the edge says when it takes the body, and 101.
    pub(super) fn say(&self, status: StatusCode, headers: &HeaderMap) {
        let is_ours = [StatusCode::CONTINUE, StatusCode::SWITCHING_PROTOCOLS].contains(&status);
        let mut text = self.text();
        if !is_ours && text.len() <= MOST_WAITING {
            write(status, headers.clone(), &mut text);
            self.0.is_waiting.store(true, Ordering::Release);
        }
    }

    /// Moves what is to be written to the end of `waiting`, which bounds that with it.
    pub(super) fn take_into(&self, waiting: &mut Vec<u8>) {
        if !self.0.is_waiting.swap(false, Ordering::Acquire) {
            return;
        }
        let text = std::mem::take(&mut *self.text());
        if waiting.len() <= MOST_WAITING {
            waiting.extend_from_slice(&text);
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

    fn taken(interim: &Interim) -> String {
        let mut text = Vec::new();
        interim.take_into(&mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_hint_is_written_once_without_what_concerns_the_origin_s_connection() {
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
