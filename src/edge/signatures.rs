//! Keeps DNS signatures ahead of those who ask: due ones are made anew, and those that follow from a
//! snapshot are made as soon as it is published.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::control::Control;
use crate::dns::{Live, presign};

/// How often it is looked whether signatures are due: a key takes effect this late at most.
const RENEWAL_CHECK: Duration = Duration::from_secs(1);

/// Has DNS answers compiled anew when signatures or keys are due (RFC 6781 §4.4.2), or the clock was set back.
pub(super) async fn renew(control: Control, dns: Arc<ArcSwap<Live>>, stop: CancellationToken) {
    let is_due = || dns.load().answers.is_due(clock::unix_secs());
    whenever(is_due, || control.republish(), stop).await;
}

/// Does something whenever it is found due, until `stop`.
async fn whenever<F: Future<Output = ()>>(
    is_due: impl Fn() -> bool,
    work: impl Fn() -> F,
    stop: CancellationToken,
) {
    let mut tick = tokio::time::interval(RENEWAL_CHECK);
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        if is_due() {
            work().await;
        }
    }
}

/// Signs what each published table can answer, beside those who answer from it. A newer table puts an
/// end to the work on an older one.
pub(super) async fn make_ahead(
    dns: Arc<ArcSwap<Live>>,
    published: Arc<Notify>,
    stop: CancellationToken,
) {
    let mut done: Option<Arc<Live>> = None;
    while stop
        .run_until_cancelled(published.notified())
        .await
        .is_some()
    {
        let live = dns.load_full();
        let (next, before) = (live.clone(), done.clone());
        let (current, stop) = (dns.clone(), stop.clone());
        let signing = tokio::task::spawn_blocking(move || {
            let is_wanted = || Arc::ptr_eq(&current.load(), &next) && !stop.is_cancelled();
            presign(&next, before.as_deref(), is_wanted)
        });
        if let Ok(Some(rrsets)) = signing.await {
            tracing::debug!(rrsets, "DNS answers are signed");
            done = Some(live);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_due_is_done_a_second_later_at_most_and_nothing_before_it_is_due() {
        let start = Instant::now();
        let due_at = Duration::from_millis(2_400);
        let done: RefCell<Vec<Duration>> = RefCell::default();
        let stop = CancellationToken::new();
        let is_due = || start.elapsed() >= due_at && done.borrow().len() < 2;
        let work = || {
            done.borrow_mut().push(start.elapsed());
            std::future::ready(())
        };
        let ended = async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            stop.cancel();
        };
        tokio::join!(whenever(is_due, work, stop.clone()), ended);
        let seconds: Vec<u64> = done.borrow().iter().map(Duration::as_secs).collect();
        assert_eq!(seconds, [3, 4]);
    }
}
