//! How long a body may take: the longest pause, the whole time, and how slowly a request's may come.
//!
//! Pauses alone would let a client hold a connection to an origin for ever with a byte now and then. A request's body
//! of which n bytes have come is waited for no longer than `timeouts.idle` and n / `limits.body_rate` seconds in all.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::activity::Activity;
use super::body::BodyError;

/// Which body of an exchange it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A request that its client has, and sends as fast as it can.
    Request,
    /// A client's messages of a call, which come when there is something to say.
    Messages,
    Answer,
}

/// How long a body may take.
#[derive(Clone)]
pub(super) struct Pace {
    pub(super) part: Part,
    /// When a byte last passed, either way.
    pub(super) activity: Arc<Activity>,
    /// The longest time without one; zero: any.
    pub(super) idle: Duration,
    /// When it must have ended; none: never.
    pub(super) deadline: Option<Instant>,
    /// The least bytes in a second, beyond `idle`, as long as there is no answer; zero: any.
    pub(super) rate: u64,
}

/// Times a body.
pub(super) struct Timer {
    pace: Pace,
    /// None: it may take any time.
    sleep: Option<Pin<Box<Sleep>>>,
    sender: Sender,
}

/// How fast a body has come, by the time for which it was waited for.
#[derive(Default)]
struct Sender {
    bytes: u64,
    waited: Duration,
    since: Option<Instant>,
}

impl Sender {
    fn sent(&mut self, bytes: usize) {
        self.bytes = self
            .bytes
            .saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
    }

    /// When so many bytes in a second will not have come, if no more come; none: they need not.
    fn late(&self, pace: &Pace) -> Option<Instant> {
        if pace.rate == 0 || pace.idle.is_zero() || pace.activity.is_answered() {
            return None;
        }
        let allowed = pace.idle + Duration::from_secs(self.bytes / pace.rate);
        Some(self.since? + allowed.saturating_sub(self.waited))
    }
}

impl Pace {
    /// Times a body from now on.
    pub(super) fn timer(self) -> Timer {
        let sleep = |wake| Box::pin(tokio::time::sleep_until(wake));
        Timer {
            sleep: self.wake().map(sleep),
            pace: self,
            sender: Sender::default(),
        }
    }

    /// When to look next whether it has taken too long.
    fn wake(&self) -> Option<Instant> {
        let quiet = (!self.idle.is_zero()).then(|| self.activity.last() + self.idle);
        match (quiet, self.deadline) {
            (Some(quiet), Some(deadline)) => Some(quiet.min(deadline)),
            (quiet, deadline) => quiet.or(deadline),
        }
    }
}

impl Timer {
    /// Bytes have come.
    pub(super) fn passed(&mut self, bytes: usize) {
        match self.pace.part {
            Part::Request | Part::Messages => self.pace.activity.pass_upload(),
            Part::Answer => self.pace.activity.pass_answer(),
        }
        self.sender.sent(bytes);
    }

    /// Whether the body should have ended: one that is taken slowly is always there.
    pub(super) fn is_late(&self) -> bool {
        let deadline = self.pace.deadline;
        deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Who sends it knows that more is wanted.
    pub(super) fn asks_for_more(&self) {
        match self.pace.part {
            Part::Request => self.pace.activity.await_client(),
            Part::Messages => self.pace.activity.await_message(),
            Part::Answer => self.pace.activity.await_origin(),
        }
    }

    /// Waits for more; ready only when that has taken too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        let Some(sleep) = &mut self.sleep else {
            return Poll::Pending;
        };
        if self.pace.rate > 0 && self.sender.since.is_none() {
            self.sender.since = Some(Instant::now());
        }
        loop {
            let late = self.sender.late(&self.pace);
            if let Some(late) = late.filter(|late| *late < sleep.deadline()) {
                sleep.as_mut().reset(late);
            }
            ready!(sleep.as_mut().poll(cx));
            let now = Instant::now();
            if late.is_some_and(|late| late <= now) {
                return Poll::Ready(BodyError::Slow(self.pace.rate));
            }
            if self.pace.deadline.is_some_and(|deadline| deadline <= now) {
                return Poll::Ready(BodyError::Late);
            }
            match self.pace.wake() {
                Some(wake) if wake > now => sleep.as_mut().reset(wake),
                Some(_) | None => return Poll::Ready(BodyError::Stalled(self.pace.idle)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const IDLE: Duration = Duration::from_secs(60);

    fn timer(rate: u64) -> (Timer, Arc<Activity>) {
        let activity = Arc::new(Activity::new());
        let pace = Pace {
            part: Part::Request,
            activity: activity.clone(),
            idle: IDLE,
            deadline: None,
            rate,
        };
        (pace.timer(), activity)
    }

    /// Waits for bytes that come every second; how long it took until they were too slow.
    async fn trickle(timer: &mut Timer, bytes: usize, seconds: u32) -> Option<Duration> {
        let began = Instant::now();
        for _ in 0..seconds {
            let waiting = poll_fn(|cx| timer.poll(cx));
            match tokio::time::timeout(Duration::from_secs(1), waiting).await {
                Ok(error) => {
                    assert!(matches!(error, BodyError::Slow(500)), "{error}");
                    return Some(began.elapsed());
                }
                Err(_) => timer.passed(bytes),
            }
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_ends_when_it_is_behind_by_more_than_idle() {
        let (mut timer, _) = timer(500);
        let took = trickle(&mut timer, 1, 1_000).await.unwrap();
        assert!((59..=61).contains(&took.as_secs()), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_at_its_rate_goes_on_for_ever_and_one_below_it_does_not() {
        let (mut at_rate, _) = timer(500);
        assert_eq!(trickle(&mut at_rate, 500, 10_000).await, None);
        let (mut below, _) = timer(500);
        let took = trickle(&mut below, 250, 10_000).await.unwrap();
        assert!((118..=122).contains(&took.as_secs()), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_for_which_an_origin_takes_nothing_is_not_the_client_s() {
        let (mut timer, activity) = timer(500);
        for _ in 0..10 {
            assert_eq!(trickle(&mut timer, 500, 5).await, None);
            // Nobody asks for more.
            tokio::time::sleep(IDLE * 10).await;
            activity.touch();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn once_there_is_an_answer_only_a_pause_is_too_long() {
        let (mut timer, activity) = timer(500);
        activity.answer();
        assert_eq!(trickle(&mut timer, 1, 1_000).await, None);
        let error = poll_fn(|cx| timer.poll(cx)).await;
        assert!(matches!(error, BodyError::Stalled(IDLE)), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_a_byte_now_and_then_is_enough() {
        let (mut timer, _) = timer(0);
        assert_eq!(trickle(&mut timer, 1, 1_000).await, None);
    }
}
