//! What happened in a run, or in several.

/// How often what happened.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::simulator) struct Seen {
    pub(in crate::simulator) writes: u64,
    pub(in crate::simulator) fresh: u64,
    pub(in crate::simulator) waited: u64,
    pub(in crate::simulator) routed: u64,
    pub(in crate::simulator) stale: u64,
    pub(in crate::simulator) lost: u64,
    pub(in crate::simulator) failed: u64,
    pub(in crate::simulator) taken_back: u64,
    pub(in crate::simulator) faults: u64,
    pub(in crate::simulator) woken: u64,
    pub(in crate::simulator) timed_out: u64,
    pub(in crate::simulator) left: u64,
    pub(in crate::simulator) crashes: u64,
    pub(in crate::simulator) repeated: u64,
    pub(in crate::simulator) waived: u64,
    pub(in crate::simulator) held: u64,
    pub(in crate::simulator) unfit: u64,
    pub(in crate::simulator) found: u64,
    pub(in crate::simulator) grown: u64,
    pub(in crate::simulator) opened: u64,
    pub(in crate::simulator) closed: u64,
    pub(in crate::simulator) shrunk: u64,
    pub(in crate::simulator) rolled_out: u64,
}

impl Seen {
    pub(in crate::simulator) fn add(&mut self, other: Self) {
        let pairs = [
            (&mut self.writes, other.writes),
            (&mut self.fresh, other.fresh),
            (&mut self.waited, other.waited),
            (&mut self.routed, other.routed),
            (&mut self.stale, other.stale),
            (&mut self.lost, other.lost),
            (&mut self.failed, other.failed),
            (&mut self.taken_back, other.taken_back),
            (&mut self.faults, other.faults),
            (&mut self.woken, other.woken),
            (&mut self.timed_out, other.timed_out),
            (&mut self.left, other.left),
            (&mut self.crashes, other.crashes),
            (&mut self.repeated, other.repeated),
            (&mut self.waived, other.waived),
            (&mut self.held, other.held),
            (&mut self.unfit, other.unfit),
            (&mut self.found, other.found),
            (&mut self.grown, other.grown),
            (&mut self.opened, other.opened),
            (&mut self.closed, other.closed),
            (&mut self.shrunk, other.shrunk),
            (&mut self.rolled_out, other.rolled_out),
        ];
        for (sum, more) in pairs {
            *sum += more;
        }
    }
}
