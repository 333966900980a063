//! What goes wrong, and for how long.

use super::run::Run;
use crate::steering::Forced;

/// A fault that can be mended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// A region is down.
    Down(usize),
    /// Two regions do not hear each other.
    Cut(usize, usize),
    /// An edge does not reach a region.
    Unreached(usize, usize),
    /// An operator drains a region at an edge.
    Drained(usize, usize),
    /// An operator has a region count as healthy or not at an edge, whatever its probes say.
    Forced(usize, usize),
    /// It is over as soon as it happens.
    Momentary,
}

impl Fault {
    /// Something goes wrong; what, and for how many ms.
    pub(super) fn strike(run: &mut Run) -> Option<(Self, u64)> {
        let regions = run.store.regions.len();
        let (one, other) = (run.random.below(regions), run.random.below(regions));
        let edge = run.random.below(run.edges.len());
        let lasts_ms = run.random.pick(&[300, 2_000, 10_000, 30_000]);
        let fault = match run.random.below(19) {
            0 | 1 => {
                run.store.regions[one].is_up = false;
                Self::Down(one)
            }
            2 | 3 if one != other => {
                run.cut.insert((one.min(other), one.max(other)));
                Self::Cut(one, other)
            }
            4 => {
                run.unreached.insert((edge, one));
                Self::Unreached(edge, one)
            }
            5 => {
                run.edges[edge].set_drained(one, true);
                Self::Drained(edge, one)
            }
            6 => {
                run.store.back_up(one);
                Self::Momentary
            }
            7 | 14 => Self::restore(run, one)?,
            8 | 15 | 16 => Self::promote(run, one)?,
            17 | 18 => Self::crash(run, one)?,
            9 => {
                let signing = run.random.pick(&[1, 2]);
                run.edges[edge].reload(signing);
                Self::Momentary
            }
            10 | 12 => {
                run.crash(edge);
                Self::Momentary
            }
            13 => {
                let forced = run.random.pick(&[Forced::Up, Forced::Down]);
                run.edges[edge].set_forced(one, Some(forced));
                Self::Forced(edge, one)
            }
            11 => {
                run.lag_ms = run.random.pick(&[5, 50, 400, 3_000]);
                Self::Momentary
            }
            _ => return None,
        };
        run.tell(|| format!("fault: {fault:?}, region {one}, edge {edge}"));
        Some((fault, lasts_ms))
    }

    fn restore(run: &mut Run, region: usize) -> Option<Self> {
        let is_silent = run.store.regions[region].speech.is_silent();
        let epoch = run.store.epoch(region) + 1;
        let has_new_epoch = run.random.chance(70);
        if run.store.regions[region].backup.is_none() || is_silent {
            return None;
        }
        let new_epoch = has_new_epoch.then_some(epoch);
        run.store.restore(region, new_epoch, run.now_ms);
        run.tell(|| format!("region {region} is restored, new epoch: {has_new_epoch}"));
        Some(Self::Momentary)
    }

    /// A region loses what it had acknowledged and not flushed. One that says no positions cannot say that it did.
    fn crash(run: &mut Run, region: usize) -> Option<Self> {
        if run.store.regions[region].speech.is_silent() {
            return None;
        }
        let new_epoch = run.random.chance(70).then(|| run.store.epoch(region) + 1);
        run.store.crash(region, new_epoch, run.now_ms);
        run.tell(|| format!("region {region} crashes, new epoch: {new_epoch:?}"));
        Some(Self::Momentary)
    }

    fn promote(run: &mut Run, region: usize) -> Option<Self> {
        let of_region = &run.store.regions[region];
        let mut replicas = of_region.replicas.len();
        if replicas > 1
            && !run.store.is_asked((region, replicas - 1))
            && !run.store.is_closed(region)
        {
            replicas -= 1;
        }
        if replicas < 2 {
            return None;
        }
        let next = (of_region.leader + 1) % replicas;
        let epoch = run.store.epoch(region) + 1;
        run.store.promote(region, next, epoch);
        run.tell(|| {
            format!("replica {next} of region {region} leads it from now on, epoch {epoch}")
        });
        Some(Self::Momentary)
    }

    pub(super) fn mend(self, run: &mut Run) {
        match self {
            Self::Down(region) => run.store.regions[region].is_up = true,
            Self::Cut(one, other) => {
                run.cut.remove(&(one.min(other), one.max(other)));
            }
            Self::Unreached(edge, region) => {
                run.unreached.remove(&(edge, region));
            }
            Self::Drained(edge, region) => run.edges[edge].set_drained(region, false),
            Self::Forced(edge, region) => run.edges[edge].set_forced(region, None),
            Self::Momentary => {}
        }
    }
}
