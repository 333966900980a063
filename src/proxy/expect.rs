//! `Expect: 100-continue` (RFC 9110 §10.1.1): a client keeps its body back until the origin wants it.
//!
//! The client's connection says 100 when the body is first asked for. So the body is not asked for until the origin has
//! said 100, or has said nothing for a while.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use http::{Request, Version, header};
use hyper::body::Body;
use tokio::time::Sleep;

/// How long an origin may keep a client waiting that cannot say 100. Clients themselves wait as long (curl).
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether the body is wanted: what the origin says.
#[derive(Clone, Default)]
pub(super) struct Wanted(Arc<Shared>);

#[derive(Default)]
struct Shared {
    wish: AtomicU8,
    waiting: AtomicWaker,
}

/// Nothing was said yet.
const UNKNOWN: u8 = 0;
const WANTED: u8 = 1;
/// The origin answers without the body.
const REFUSED: u8 = 2;
/// And that answer has ended.
const OVER: u8 = 3;

/// What becomes of a body that waits.
pub(super) enum Wish {
    /// It is sent.
    Send,
    /// It is not sent, and not ended either while the answer comes.
    Keep,
    /// It is broken off.
    BreakOff,
}

/// Holds a body back until it is wanted.
pub(super) struct Gate {
    wanted: Wanted,
    patience: Option<Pin<Box<Sleep>>>,
}

/// Whether a request's client waits until it is asked for the body.
pub(super) fn expects_continue<B>(request: &Request<B>) -> bool {
    // RFC 9110 §10.1.1: HTTP/1.0 has no interim answers.
    request.version() >= Version::HTTP_11 && says_continue(request)
}

fn says_continue<B>(request: &Request<B>) -> bool {
    let expect = request.headers().get(header::EXPECT);
    expect.is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

impl Wanted {
    /// What opens the gate of a request that expects 100, left with it for whoever asks an origin.
    pub(super) fn of<B: Body>(request: &mut Request<B>) -> Option<Self> {
        if !says_continue(request) {
            return None;
        }
        // RFC 9110 §10.1.1: without a body there is nothing to wait for, and no origin is to be asked for it.
        if !expects_continue(request) || request.body().is_end_stream() {
            request.headers_mut().remove(header::EXPECT);
            return None;
        }
        let wanted = Self::default();
        request.extensions_mut().insert(wanted.clone());
        Some(wanted)
    }

    /// The body is wanted.
    pub(super) fn open(&self) {
        self.say(UNKNOWN, WANTED);
    }

    /// The request is answered; whether its body was refused by that.
    pub(super) fn answered(&self) -> bool {
        self.say(UNKNOWN, REFUSED);
        !self.is_open()
    }

    fn say(&self, before: u8, now: u8) {
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        // Who speaks first is right.
        let _ = self.0.wish.compare_exchange(before, now, success, failure);
        self.0.waiting.wake();
    }

    fn is_open(&self) -> bool {
        self.0.wish.load(Ordering::Acquire) == WANTED
    }

    /// To be held as long as the answer comes.
    pub(super) fn until_over(&self) -> UntilOver {
        UntilOver(self.clone())
    }
}

/// Ends a body that was refused when the answer has ended: the origin's connection can then be closed.
pub(super) struct UntilOver(Wanted);

impl Drop for UntilOver {
    fn drop(&mut self) {
        // An answer without content has ended before it is passed on.
        self.0.say(UNKNOWN, REFUSED);
        self.0.say(REFUSED, OVER);
    }
}

impl Gate {
    /// Opens when this says so.
    pub(super) fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            patience: None,
        }
    }

    pub(super) fn into_wanted(self) -> Wanted {
        self.wanted
    }

    /// Ready once something was said, or nothing for a while.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Wish> {
        self.wanted.0.waiting.register(cx.waker());
        loop {
            match self.wanted.0.wish.load(Ordering::Acquire) {
                WANTED => return Poll::Ready(Wish::Send),
                REFUSED => return Poll::Ready(Wish::Keep),
                OVER => return Poll::Ready(Wish::BreakOff),
                _ => {}
            }
            let sleep = || Box::pin(tokio::time::sleep(PATIENCE));
            let patience = self.patience.get_or_insert_with(sleep);
            ready!(patience.as_mut().poll(cx));
            self.wanted.open();
        }
    }

    /// Whether the body was wanted.
    pub(super) fn is_open(&self) -> bool {
        self.wanted.is_open()
    }
}
