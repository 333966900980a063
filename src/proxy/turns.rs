//! The streams of a client's HTTP/2 connection: whether any is under way, and since when none is.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

use super::access_log::Logged;
use super::activity::Activity;
use super::body::BodyError;
use super::crowd::InFlight;
use super::unread::{self, Waiting};

/// The requests of one connection.
pub(super) struct Turns {
    /// Under way: head read, answer not yet sent.
    open: AtomicU32,
    activity: Activity,
}

impl Turns {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            open: AtomicU32::new(0),
            activity: Activity::new(),
        })
    }

    /// A request begins; it ends when the answer's body has been sent or dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Turn {
        self.open.fetch_add(1, Ordering::Relaxed);
        Turn(self.clone())
    }

    fn is_busy(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0
    }

    /// Waits until there has been no request for `idle` from now on.
    pub(super) async fn until_idle_from_now(&self, idle: Duration) {
        self.activity.touch();
        self.until_idle(idle).await;
    }

    /// Waits until there has been no request for `idle`.
    pub(super) async fn until_idle(&self, idle: Duration) {
        loop {
            let since = if self.is_busy() {
                Instant::now()
            } else {
                self.activity.last()
            };
            if since + idle <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(since + idle).await;
        }
    }
}

/// One request of a connection.
pub(super) struct Turn(Arc<Turns>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.activity.touch();
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer's body, which keeps its turn until it has been sent.
pub(super) struct InTurn {
    body: Logged,
    /// Told whether it is the client that is waited for.
    waiting: Option<Arc<Waiting>>,
    _turn: Turn,
    _in_flight: Option<InFlight>,
}

impl InTurn {
    pub(super) fn new(body: Logged, turn: Turn, in_flight: Option<InFlight>) -> Self {
        let waiting = unread::waiting();
        waiting.as_deref().inspect(|waiting| waiting.begin());
        Self {
            body,
            waiting,
            _turn: turn,
            _in_flight: in_flight,
        }
    }
}

impl HttpBody for InTurn {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(waiting) = &self.waiting {
            if polled.is_ready() {
                waiting.begin();
            } else {
                waiting.end();
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_only_between_requests() {
        let turns = Turns::new();
        let turn = turns.begin();
        let idle = Duration::from_secs(60);
        assert!(
            tokio::time::timeout(idle * 3, turns.until_idle(idle))
                .await
                .is_err()
        );
        drop(turn);
        let began = Instant::now();
        turns.until_idle(idle).await;
        assert_eq!(began.elapsed().as_secs(), 60);
    }
}
