//! A reload adds a replica: what all others have was taken out of tokens, and the new one may lack it. Or it removes one, or a
//! region: what was written there is still asked for, and what all others have of it is what all have.

use super::{Event, LASTS_MS, Run};
use crate::simulator::broken::Broken;
use crate::simulator::edge::At;
use crate::simulator::terms::NAMES;

/// Runs in which a region grows, of a hundred, in which one opens, and of the others those in which one closes.
const GROWS_PERCENT: u64 = 25;
const OPENS_PERCENT: u64 = 20;
const CLOSES_PERCENT: u64 = 30;

/// Those in which a region of several replicas that does not grow loses one, of a hundred.
const SHRINKS_PERCENT: u64 = 50;

impl Run {
    pub(super) fn plan_growth(&mut self) {
        let region = self.growth.below(self.store.regions.len());
        let after = self.growth.between(1_000, LASTS_MS * 3 / 4);
        // A pin leads to a region, and to any of its replicas.
        let has_pins =
            self.terms.room < 512 || self.store.regions[region].speech.takes_one_replica();
        let grows = self.growth.chance(GROWS_PERCENT) && !has_pins;
        if grows {
            self.after(after, Event::Grows { region });
        }
        if self.growth.chance(OPENS_PERCENT) && self.store.regions.len() < NAMES.len() {
            let after = self.growth.between(1_000, LASTS_MS * 3 / 4);
            self.after(after, Event::Opens);
        } else if self.growth.chance(CLOSES_PERCENT) {
            let after = self.growth.between(1_000, LASTS_MS * 3 / 4);
            self.after(after, Event::Closes);
        }
        let has_several = self.store.regions[region].replicas.len() > 1;
        if has_several && !grows && self.growth.chance(SHRINKS_PERCENT) {
            self.after(after, Event::Shrinks { region });
        }
    }

    /// The new replica has what the last backup has, or nothing. All edges reload at this moment.
    pub(super) fn grow(&mut self, region: usize) {
        if self.store.is_closed(region) {
            return;
        }
        let at = self.store.grow(region, self.now_ms);
        for edge in &mut self.edges {
            edge.reload_with(|terms| terms.replicas[region] += 1, self.now_ms);
        }
        self.seen.grown += 1;
        self.tell(|| format!("region {region} has replica {} from now on", at.1));
        let after_ms = self.delay_ms();
        self.meet(at, after_ms);
    }

    /// No edge has the last replica of a region in its configuration any more, unless that leads the region.
    pub(super) fn shrink(&mut self, region: usize) {
        let of_region = &self.store.regions[region];
        let last = of_region.replicas.len() - 1;
        if of_region.leader == last || self.store.is_closed(region) {
            return;
        }
        self.store.remove((region, last));
        for edge in &mut self.edges {
            edge.reload_with(|terms| terms.replicas[region] = last, self.now_ms);
        }
        self.stop_polls();
        self.seen.shrunk += 1;
        self.tell(|| format!("replica {last} of region {region} is removed"));
    }

    /// No edge has the last region in its configuration any more. Who is asking it goes on.
    pub(super) fn close(&mut self) {
        let region = self.store.regions.len() - 1;
        self.store.close(region);
        for edge in &mut self.edges {
            edge.reload_with(|terms| terms.replicas.truncate(region), self.now_ms);
        }
        self.stop_polls();
        self.seen.closed += 1;
        self.tell(|| format!("region {region} is removed"));
    }

    pub(super) fn meet(&mut self, at: At, after_ms: u64) {
        if self.broken == Some(Broken::TrustsNewcomers) {
            for edge in &self.edges {
                let origin = edge.origin(at.0, at.1);
                edge.applied().has_answered(&NAMES[at.0].into(), &origin);
            }
        }
        self.begin_replica(at, after_ms);
    }

    /// How long edges and regions take to get in touch with what is new.
    pub(super) fn delay_ms(&mut self) -> u64 {
        self.growth.pick(&[1, 400, 2_000, 5_000])
    }
}
