//! The wall clock is set, forward or back: what is under way goes on from where it is.

use super::World;
use super::shown::Stale;

impl World {
    /// Whether drains, their sessions or ramps are on their way.
    pub fn is_under_way(&self) -> bool {
        let turns = self
            .drains
            .next_turn_ms(&self.session_times, self.settled_ms);
        turns.is_some() || self.ramps.is_any_under_way()
    }

    /// The clock has been set by so many ms; what began by the old one has come as far by the new one. Ends of drains and of forced
    /// states stay as they were told.
    pub fn shift(&mut self, by_ms: i64) {
        self.drains.shift(by_ms);
        self.ramps.shift(by_ms);
        self.forced.shift(by_ms);
        let watched = self.targets.iter_mut();
        let watched = watched.flat_map(|watched| {
            watched.history.shift(by_ms);
            let states = watched.state.iter_mut();
            states
                .map(|state| &mut state.since_ms)
                .chain([&mut watched.ejected_at_ms])
        });
        let healths = self.health.values_mut().map(|(_, since_ms)| since_ms);
        let suspects = self.suspects.values_mut();
        let last = [&mut self.settled_ms, &mut self.shown.at_ms];
        for at_ms in watched.chain(healths).chain(suspects).chain(last) {
            *at_ms = at_ms.saturating_add_signed(by_ms);
        }
        self.shown.stale = Stale::All;
    }
}
