//! A value that many tasks read and change, and whose changes wake those who wait for them.

use tokio::sync::watch;

/// Every change is seen whole; nobody reads across an `.await`.
#[derive(Debug)]
pub(super) struct Watched<T>(watch::Sender<T>);

impl<T> Watched<T> {
    pub(super) fn new(value: T) -> Self {
        Self(watch::Sender::new(value))
    }

    pub(super) fn read<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        read(&self.0.borrow())
    }

    /// Changes the value, wakes all watchers, and returns what the change did.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut outcome = None;
        self.0.send_modify(|value| outcome = Some(change(value)));
        #[expect(clippy::expect_used, reason = "`send_modify` always calls its closure")]
        outcome.expect("`send_modify` called the closure above")
    }

    pub(super) fn watch(&self) -> watch::Receiver<T> {
        self.0.subscribe()
    }
}
