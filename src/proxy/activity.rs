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
    /// Whether more of the request is waited for, by a client that is to send all of it at once.
    awaits_client: AtomicBool,
    /// Whether more of it may be waited for, by a client that sends it when it has something to say.
    awaits_message: AtomicBool,
    /// When something of the answer last passed, milliseconds after `began`.
    passed_ms: AtomicU64,
    /// Whether more of the answer is waited for.
    awaits_origin: AtomicBool,
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
            awaits_client: AtomicBool::new(false),
            awaits_message: AtomicBool::new(false),
            passed_ms: AtomicU64::new(0),
            awaits_origin: AtomicBool::new(false),
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

    /// More of the request is waited for.
    pub(super) fn await_client(&self) {
        self.awaits_client.store(true, Ordering::Relaxed);
    }

    /// The client has no more to say at the moment.
    pub(super) fn await_message(&self) {
        self.awaits_message.store(true, Ordering::Relaxed);
    }

    /// Some of the request passes.
    pub(super) fn pass_upload(&self) {
        self.awaits_client.store(false, Ordering::Relaxed);
        self.awaits_message.store(false, Ordering::Relaxed);
        self.touch();
    }

    /// Whether it is the client that keeps the request from being sent whole.
    pub(super) fn awaits_client(&self) -> bool {
        self.is_uploading() && self.awaits_client.load(Ordering::Relaxed)
    }

    /// Whether nobody can tell if it is the client or the origin that is to speak next.
    pub(super) fn awaits_anybody(&self) -> bool {
        self.is_uploading() && self.awaits_message.load(Ordering::Relaxed)
    }

    /// More of the answer is waited for.
    pub(super) fn await_origin(&self) {
        self.awaits_origin.store(true, Ordering::Relaxed);
    }

    /// Some of the answer passes.
    pub(super) fn pass_answer(&self) {
        let now_ms = self.ms();
        if self.is_left_waiting(now_ms) {
            self.was_held_back.store(true, Ordering::Relaxed);
        }
        self.awaits_origin.store(false, Ordering::Relaxed);
        self.passed_ms.store(now_ms, Ordering::Relaxed);
        self.last_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Whether anything of the answer had to wait for the client: its origin may have been tired of that, and of what it had sent before
    /// much can still be on its way.
    pub(super) fn was_held_back(&self) -> bool {
        self.was_held_back.load(Ordering::Relaxed) || self.is_left_waiting(self.ms())
    }

    /// Whether nobody has asked for more of the answer for so long.
    fn is_left_waiting(&self, now_ms: u64) -> bool {
        let passed = Duration::from_millis(self.passed_ms.load(Ordering::Relaxed));
        let waited = Duration::from_millis(now_ms).saturating_sub(passed);
        !self.awaits_origin.load(Ordering::Relaxed) && waited >= HELD_BACK
    }

    /// Whether the request's body broke off, for whichever reason.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed)
    }

    /// The answer begins: what the client still sends is its part of a conversation.
    pub(super) fn answer(&self) {
        self.is_answered.store(true, Ordering::Relaxed);
        let now_ms = self.ms();
        self.passed_ms.store(now_ms, Ordering::Relaxed);
        self.last_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Whether the answer has begun.
    pub(super) fn is_answered(&self) -> bool {
        self.is_answered.load(Ordering::Relaxed)
    }

    /// A byte passes.
    pub(super) fn touch(&self) {
        self.last_ms.store(self.ms(), Ordering::Relaxed);
    }

    /// Now.
    fn ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
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
        activity.answer();
        activity.await_origin();
        pause(3 * HELD_BACK).await;
        assert!(!activity.was_held_back(), "its origin is waited for");
        activity.pass_answer();
        assert!(!activity.was_held_back());
        pause(HELD_BACK / 2).await;
        activity.pass_answer();
        assert!(!activity.was_held_back(), "it takes more soon enough");
        pause(HELD_BACK).await;
        assert!(activity.was_held_back());
        // What had been sent meanwhile passes.
        activity.pass_answer();
        activity.await_origin();
        assert!(activity.was_held_back());
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_client_sends_says_nothing_of_how_it_takes_its_answer() {
        let (activity, pause) = (Arc::new(Activity::new()), tokio::time::sleep);
        let _upload = activity.upload();
        activity.pass_upload();
        pause(3 * HELD_BACK).await;
        activity.pass_upload();
        activity.answer();
        assert!(!activity.was_held_back(), "its origin took nothing");
        activity.await_origin();
        activity.pass_upload();
        pause(3 * HELD_BACK).await;
        activity.await_client();
        assert!(!activity.was_held_back(), "its origin is waited for");
        assert!(activity.awaits_client());
        activity.pass_answer();
        assert!(activity.awaits_client());
        pause(HELD_BACK).await;
        activity.pass_upload();
        assert!(activity.was_held_back(), "it sends, and takes nothing");
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
