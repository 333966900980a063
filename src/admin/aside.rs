//! Work that takes a core for a while: beside the runtime, which probes and answers meanwhile, and one piece of a kind at a time.

use tokio::sync::Semaphore;

use super::writes::{Refused, shutting_down};

/// One kind of such work.
pub(super) struct Aside(Semaphore);

impl Aside {
    pub(super) const fn new() -> Self {
        Self(Semaphore::const_new(1))
    }

    /// Does it when its turn comes. Whoever asked may go meanwhile; the turn is taken until it ends.
    pub(super) async fn run<T: Send + 'static>(
        &'static self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let turn = self.0.acquire().await.map_err(shutting_down)?;
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        done.await.map_err(shutting_down)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn the_runtime_goes_on_meanwhile() {
        static ASIDE: Aside = Aside::new();
        let (tell, told) = channel();
        let work = ASIDE.run(move || told.recv().unwrap());
        let others = async { tell.send(7).unwrap() };
        let (done, ()) = tokio::join!(work, others);
        assert_eq!(done.unwrap(), 7);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_is_done_at_a_time() {
        static ASIDE: Aside = Aside::new();
        static NOW: AtomicUsize = AtomicUsize::new(0);
        let works = (0..50).map(|_| {
            ASIDE.run(|| {
                let at_once = NOW.fetch_add(1, Ordering::SeqCst) + 1;
                std::thread::yield_now();
                NOW.fetch_sub(1, Ordering::SeqCst);
                at_once
            })
        });
        for at_once in join_all(works).await {
            assert_eq!(at_once.unwrap(), 1);
        }
    }
}
