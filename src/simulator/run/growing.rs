//! A reload adds a replica to a region: what all others have was taken out of tokens, and the new one may lack it.

use super::{Event, LASTS_MS, Run};

/// Runs in which a region grows, of a hundred.
const GROWS_PERCENT: u64 = 25;

impl Run {
    pub(super) fn plan_growth(&mut self) {
        let region = self.growth.below(self.store.regions.len());
        let after = self.growth.between(1_000, LASTS_MS * 3 / 4);
        // A pin leads to a region, and to any of its replicas.
        let has_pins =
            self.terms.room < 512 || self.store.regions[region].speech.takes_one_replica();
        if self.growth.chance(GROWS_PERCENT) && !has_pins {
            self.after(after, Event::Grows { region });
        }
    }

    /// The new replica has what the last backup has, or nothing. All edges reload at this moment.
    pub(super) fn grow(&mut self, region: usize) {
        let at = self.store.grow(region, self.now_ms);
        for edge in &mut self.edges {
            edge.grow(region);
        }
        self.seen.grown += 1;
        self.tell(|| format!("region {region} has replica {} from now on", at.1));
        let after_ms = self.growth.pick(&[1, 400, 2_000, 5_000]);
        self.begin_replica(at, after_ms);
    }
}
