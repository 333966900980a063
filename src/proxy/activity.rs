//! When a byte last passed within one exchange: what every idle time-out goes by.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use super::body::{BodyError, Held};
use super::http1::Http1;

/// A client that takes nothing of its answer for so long holds its origin back.
const HELD_BACK: Duration = Duration::from_secs(1);

/// How often a wait looks whether it is in vain.
const LOOKS: Duration = Duration::from_secs(1);

/// Why a wait is over before what is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// No byte passed for as long as none may.
    Quiet,
    /// It is in vain.
    Vain,
}

/// When a byte last passed, in either direction.
pub(super) struct Activity {
    began: Instant,
    /// Milliseconds after `began`.
    last_ms: AtomicU64,
    /// Whether some of the request has still to be sent.
    uploads: AtomicBool,
    /// Whether what is waited for is more of a body.
    waits_for_more: AtomicBool,
    /// Whether anything of the answer had to wait until its client took more.
    was_held_back: AtomicBool,
    /// Whether the request's body broke off.
    is_broken: AtomicBool,
    /// Whether the answer has begun.
    is_answered: AtomicBool,
}

/// Sending a request's body; to be held by it.
pub(super) struct Upload(Arc<Activity>);

impl Held for Upload {
    fn ended(self: Box<Self>, _: Option<Http1>) {
        self.0.uploads.store(false, Ordering::Relaxed);
    }

    fn broke_off(self: Box<Self>, _: &BodyError) {
        self.0.is_broken.store(true, Ordering::Relaxed);
    }
}

impl Activity {
    /// It begins now.
    pub(super) fn new() -> Self {
        Self::since(Instant::now())
    }

    /// It has begun.
    pub(super) fn since(began: Instant) -> Self {
        Self {
            began,
            last_ms: AtomicU64::new(0),
            uploads: AtomicBool::new(false),
            waits_for_more: AtomicBool::new(false),
            was_held_back: AtomicBool::new(false),
            is_broken: AtomicBool::new(false),
            is_answered: AtomicBool::new(false),
        }
    }

    /// A request's body begins.
    pub(super) fn upload(self: &Arc<Self>) -> Upload {
        self.uploads.store(true, Ordering::Relaxed);
        Upload(self.clone())
    }

    /// Whether some of the request has still to be sent: then its connection takes no other.
    pub(super) fn is_uploading(&self) -> bool {
        self.uploads.load(Ordering::Relaxed)
    }

    /// More of a body is waited for, or is there.
    pub(super) fn waits(&self, is_for_more: bool) {
        self.waits_for_more.store(is_for_more, Ordering::Relaxed);
    }

    /// Bytes of a body pass.
    pub(super) fn pass(&self) {
        if self.was_left_waiting() {
            self.was_held_back.store(true, Ordering::Relaxed);
        }
        self.waits(false);
        self.touch();
    }

    /// Whether bytes of the answer had to wait for the client: its origin may have been tired of that, and of what it had sent before
    /// much can still be on its way.
    pub(super) fn was_held_back(&self) -> bool {
        self.was_held_back.load(Ordering::Relaxed) || self.was_left_waiting()
    }

    /// Whether nobody has asked for more for so long.
    fn was_left_waiting(&self) -> bool {
        let waits = self.waits_for_more.load(Ordering::Relaxed);
        !waits && self.last().elapsed() >= HELD_BACK
    }

    /// Whether it is the client that keeps the request from being sent whole.
    pub(super) fn waits_for_client(&self) -> bool {
        self.is_uploading() && self.waits_for_more.load(Ordering::Relaxed)
    }

    /// Whether the request's body broke off, for whichever reason.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed)
    }

    /// The answer begins: what the client still sends is its part of a conversation.
    pub(super) fn answer(&self) {
        self.is_answered.store(true, Ordering::Relaxed);
        self.touch();
    }

    /// Whether the answer has begun.
    pub(super) fn is_answered(&self) -> bool {
        self.is_answered.load(Ordering::Relaxed)
    }

    /// A byte passes.
    pub(super) fn touch(&self) {
        let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(ms, Ordering::Relaxed);
    }

    /// When the last one passed.
    pub(super) fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }

    /// Waits for `work` as long as bytes keep passing; `None` after `limit` (zero: any) without one.
    pub(super) async fn unless_quiet<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        if limit.is_zero() {
            return Some(work.await);
        }
        let mut work = pin!(work);
        loop {
            match tokio::time::timeout_at(self.last() + limit, work.as_mut()).await {
                Ok(done) => return Some(done),
                Err(_) if self.last() + limit > Instant::now() => {}
                Err(_) => return None,
            }
        }
    }

    /// The same with a limit that may differ from one moment to the next, what makes it less happens within `work`; and
    /// unless it is found to be in vain.
    pub(super) async fn unless_quieter<T>(
        &self,
        limit: impl Fn() -> Duration,
        is_in_vain: impl Fn() -> bool,
        work: impl Future<Output = T>,
    ) -> Result<T, Over> {
        let mut work = pin!(work);
        let mut looked = self.last();
        loop {
            let allowed = limit();
            let until_less = poll_fn(|cx| match work.as_mut().poll(cx) {
                Poll::Ready(done) => Poll::Ready(Some(done)),
                Poll::Pending if limit() < allowed => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            let until = self.ends(allowed, looked + LOOKS);
            match tokio::time::timeout_at(until, until_less).await {
                Ok(Some(done)) => return Ok(done),
                Ok(None) => {}
                Err(_) => {
                    let now = Instant::now();
                    if self.ends(limit(), now + LOOKS) <= now {
                        return Err(Over::Quiet);
                    }
                    if looked + LOOKS <= now {
                        looked = now;
                        if is_in_vain() {
                            return Err(Over::Vain);
                        }
                    }
                }
            }
        }
    }

    /// When it has been quiet for so long (zero: never), but no later than that.
    fn ends(&self, limit: Duration, latest: Instant) -> Instant {
        if limit.is_zero() {
            latest
        } else {
            latest.min(self.last() + limit)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_was_held_back_whose_client_has_taken_nothing_for_a_while() {
        let (activity, pause) = (Activity::new(), tokio::time::sleep);
        activity.waits(true);
        pause(3 * HELD_BACK).await;
        assert!(!activity.was_held_back(), "its origin is waited for");
        activity.pass();
        assert!(!activity.was_held_back());
        pause(HELD_BACK / 2).await;
        activity.pass();
        assert!(!activity.was_held_back(), "it takes more soon enough");
        pause(HELD_BACK).await;
        assert!(activity.was_held_back());
        // What had been sent meanwhile passes.
        activity.pass();
        activity.waits(true);
        assert!(activity.was_held_back());
    }

    #[tokio::test(start_paused = true)]
    async fn work_goes_on_as_long_as_bytes_pass() {
        let activity = Activity::new();
        let limit = Duration::from_secs(1);
        let slow = async {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_millis(900)).await;
                activity.touch();
            }
        };
        assert_eq!(activity.unless_quiet(limit, slow).await, Some(()));
        let quiet = std::future::pending::<()>();
        let began = Instant::now();
        assert_eq!(activity.unless_quiet(limit, quiet).await, None);
        assert_eq!(began.elapsed().as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_found_in_vain_ends_within_a_second_whatever_its_limit() {
        for limit in [Duration::ZERO, Duration::from_secs(30)] {
            let (activity, began) = (Activity::new(), Instant::now());
            let is_in_vain = || began.elapsed() > Duration::from_millis(3_500);
            let work = std::future::pending::<()>();
            let waited = activity.unless_quieter(|| limit, is_in_vain, work).await;
            assert_eq!(waited, Err(Over::Vain));
            assert_eq!(began.elapsed().as_secs(), 4);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_head_of_an_answer_is_the_last_byte_that_passed() {
        let activity = Activity::new();
        tokio::time::advance(Duration::from_secs(25)).await;
        activity.answer();
        assert_eq!(activity.last(), Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_becomes_less_meanwhile_counts_at_once() {
        let activity = Arc::new(Activity::new());
        let upload = Box::new(activity.upload());
        let began = Instant::now();
        let work = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            activity.touch();
            upload.ended(None);
            std::future::pending::<()>().await;
        };
        let limit = || Duration::from_secs(if activity.is_uploading() { 60 } else { 1 });
        let waited = activity.unless_quieter(limit, || false, work).await;
        assert_eq!(waited, Err(Over::Quiet));
        assert_eq!(began.elapsed().as_secs(), 3);
    }
}
