//! The time between an answer and the next head of a client.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Request;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::Times;
use super::line::Line;
use crate::proxy::problem::Problem;

/// How long connections without a request are kept open at the end: what is on its way to one that closes would be
/// lost (RFC 9112 §9.5).
pub(super) const LAST_REQUEST: Duration = Duration::from_secs(1);

/// What comes after a pause.
pub(super) enum Next {
    Head(Request<()>, Duration),
    /// It is none, or was not in time.
    Refused(Problem, Option<Duration>),
    /// Nothing in that time.
    Nothing,
    /// Nothing any more.
    End,
}

/// The time between an answer and the next head.
pub(super) struct Pause {
    times: Times,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Set to when something may be late, or before that: it is not set anew for each head.
    sleep: Pin<Box<Sleep>>,
    began: Instant,
    /// Since when a head has been arriving.
    head_since: Option<Instant>,
    /// Since when the connection is to end.
    stopped: Option<Instant>,
}

impl Pause {
    pub(super) fn new(times: Times, stop: CancellationToken) -> Self {
        Self {
            times,
            stop: Box::pin(stop.cancelled_owned()),
            sleep: Box::pin(tokio::time::sleep(times.idle)),
            began: Instant::now(),
            head_since: None,
            stopped: None,
        }
    }

    pub(super) fn begin(&mut self) {
        self.began = Instant::now();
        self.head_since = None;
    }

    /// Whether nothing more is waited for.
    pub(super) fn is_over(&self) -> bool {
        self.until(self.times.idle) <= Instant::now()
    }

    pub(super) fn poll_head(
        &mut self,
        line: &mut Line,
        within: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<Next> {
        loop {
            match line.head() {
                Ok(Some(head)) => {
                    let took = self
                        .head_since
                        .map_or(Duration::ZERO, |since| since.elapsed());
                    return Poll::Ready(Next::Head(head, took));
                }
                Err(refusal) => return Poll::Ready(self.refused(refusal.into())),
                Ok(None) => {}
            }
            match line.poll_fill(cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Next::End),
                Poll::Pending => break,
            }
        }
        if line.has_more() && self.head_since.is_none() {
            self.head_since = Some(Instant::now());
        }
        self.poll_late(within, cx)
    }

    fn poll_late(&mut self, within: Duration, cx: &mut Context<'_>) -> Poll<Next> {
        if self.stopped.is_none() && self.stop.as_mut().poll(cx).is_ready() {
            self.stopped = Some(Instant::now());
        }
        ready!(self.poll_until(self.until(within), cx));
        Poll::Ready(match self.head_since {
            Some(_) => self.refused(Problem::Stalled),
            None => Next::Nothing,
        })
    }

    fn refused(&self, problem: Problem) -> Next {
        Next::Refused(problem, self.head_since.map(|since| since.elapsed()))
    }

    /// When no head is waited for any more that has this time to begin.
    fn until(&self, within: Duration) -> Instant {
        match (self.head_since, self.stopped) {
            (Some(since), _) => since + self.times.head,
            (None, Some(stopped)) => stopped.max(self.began) + within.min(LAST_REQUEST),
            (None, None) => self.began + within.min(self.times.idle),
        }
    }

    fn poll_until(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.sleep.deadline() > until {
                self.sleep.as_mut().reset(until);
            }
            ready!(self.sleep.as_mut().poll(cx));
            if until <= Instant::now() {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(until);
        }
    }
}
