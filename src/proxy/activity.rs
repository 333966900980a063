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

/// When a byte last passed, in either direction.
pub(super) struct Activity {
    began: Instant,
    /// Milliseconds after `began`.
    last_ms: AtomicU64,
    /// Whether some of the request has still to be sent.
    uploads: AtomicBool,
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
        self.unless_quieter(|| limit, work).await
    }

    /// The same with a limit that may differ from one moment to the next; what makes it less happens within `work`.
    pub(super) async fn unless_quieter<T>(
        &self,
        limit: impl Fn() -> Duration,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut work = pin!(work);
        loop {
            let allowed = limit();
            if allowed.is_zero() {
                return Some(work.await);
            }
            let until_less = poll_fn(|cx| match work.as_mut().poll(cx) {
                Poll::Ready(done) => Poll::Ready(Some(done)),
                Poll::Pending if limit() < allowed => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            match tokio::time::timeout_at(self.last() + allowed, until_less).await {
                Ok(Some(done)) => return Some(done),
                Ok(None) => {}
                Err(_) if self.last() + limit() > Instant::now() => {}
                Err(_) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(activity.unless_quieter(limit, work).await, None);
        assert_eq!(began.elapsed().as_secs(), 3);
    }
}
