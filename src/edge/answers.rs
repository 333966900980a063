//! Publishes what DNS answers, and never waits for signatures: what the Plan decides is signed before it comes here.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::Notify;

use crate::dns::{Lasting, Live, presign_at_once};
use crate::steering::Snapshot;

/// Signatures that were made anew, until the next table is published with them.
pub(super) type Renewed = ArcSwapOption<Lasting>;

/// What publishes one Plan's answers.
pub(super) struct Answers {
    pub(super) dns: Arc<ArcSwap<Live>>,
    /// What the Plan decides.
    pub(super) lasting: Arc<Lasting>,
    pub(super) renewed: Arc<Renewed>,
    /// Told of every table.
    pub(super) published: Arc<Notify>,
}

impl Answers {
    /// Publishes a snapshot's, on renewed signatures if there are any. Returns what it replaces.
    pub(super) fn publish(&mut self, snapshot: Arc<Snapshot>) -> Arc<Live> {
        // Those of a Plan that is in force no more are of no use.
        let renewed = self.renewed.swap(None);
        if let Some(renewed) = renewed.filter(|renewed| renewed.is_of(&snapshot.plan)) {
            self.lasting = renewed;
        }
        let before = self.dns.load_full();
        let live = Live::on(snapshot, Arc::clone(&self.lasting), Some(&before));
        presign_at_once(&live, &before);
        let replaced = self.dns.swap(Arc::new(live));
        self.published.notify_one();
        replaced
    }
}
