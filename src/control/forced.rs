//! What operators have said of regions' health, whatever their probes say.

use std::sync::Arc;

use crate::steering::Forced;

/// A region that counts as healthy or unhealthy, for one service or for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForcedState {
    /// The region.
    pub region: Arc<str>,
    /// The service; none: all.
    pub service: Option<Arc<str>>,
    /// As what it counts.
    pub state: Forced,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// Until when; none: until it is undone.
    pub until_ms: Option<u64>,
    /// Who asked for it, as the audit log calls them; none: that is not known.
    pub by: Option<Arc<str>>,
    /// Why.
    pub reason: Option<String>,
}

impl ForcedState {
    fn is_over(&self, now_ms: u64) -> bool {
        self.until_ms.is_some_and(|until| until <= now_ms)
    }

    fn is_of(&self, region: &str, service: Option<&str>) -> bool {
        *self.region == *region && self.service.as_deref() == service
    }
}

/// All that are in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ForcedStates(Vec<ForcedState>);

impl ForcedStates {
    /// Those in force, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &ForcedState> {
        self.0.iter()
    }

    /// Adds one, in the place of that of the same region and service.
    pub(super) fn put(&mut self, forced: ForcedState) {
        self.take(&forced.region, forced.service.as_deref());
        self.0.push(forced);
    }

    /// Ends one.
    pub(super) fn take(&mut self, region: &str, service: Option<&str>) -> Option<ForcedState> {
        let at = self
            .0
            .iter()
            .position(|forced| forced.is_of(region, service))?;
        Some(self.0.remove(at))
    }

    /// The clock has been set by so much. Ends stay as they were told.
    pub(super) fn shift(&mut self, by_ms: i64) {
        for forced in &mut self.0 {
            forced.since_ms = forced.since_ms.saturating_add_signed(by_ms);
        }
    }

    /// Ends those whose time is over, and returns them.
    pub(super) fn expire(&mut self, now_ms: u64) -> Vec<ForcedState> {
        self.0
            .extract_if(.., |forced| forced.is_over(now_ms))
            .collect()
    }

    /// When the next is over.
    pub(super) fn next_change_ms(&self) -> Option<u64> {
        self.0.iter().filter_map(|forced| forced.until_ms).min()
    }

    /// As what a region counts for a service; what was said of the service alone counts first.
    pub(super) fn of(&self, region: &str, service: &str, now_ms: u64) -> Option<Forced> {
        let said = |of: Option<&str>| {
            let mut all = self.0.iter();
            all.find(|forced| forced.is_of(region, of) && !forced.is_over(now_ms))
        };
        let forced = said(Some(service)).or_else(|| said(None))?;
        Some(forced.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forced(service: Option<&str>, state: Forced, until_ms: Option<u64>) -> ForcedState {
        ForcedState {
            region: "eu".into(),
            service: service.map(Into::into),
            state,
            since_ms: 0,
            until_ms,
            by: None,
            reason: None,
        }
    }

    #[test]
    fn what_is_said_of_a_service_counts_before_what_is_said_of_all() {
        let mut all = ForcedStates::default();
        all.put(forced(None, Forced::Down, None));
        all.put(forced(Some("api"), Forced::Up, Some(100)));
        assert_eq!(all.of("eu", "api", 99), Some(Forced::Up));
        assert_eq!(all.of("eu", "shop", 99), Some(Forced::Down));
        assert_eq!(all.of("us", "api", 99), None);
        assert_eq!(all.of("eu", "api", 100), Some(Forced::Down));
        assert_eq!((all.expire(100).len(), all.iter().count()), (1, 1));
    }

    #[test]
    fn the_last_word_counts() {
        let mut all = ForcedStates::default();
        all.put(forced(None, Forced::Down, None));
        all.put(forced(None, Forced::Up, None));
        assert_eq!(
            (all.of("eu", "api", 0), all.iter().count()),
            (Some(Forced::Up), 1)
        );
        assert!(all.take("eu", None).is_some());
        assert_eq!(all.of("eu", "api", 0), None);
    }
}
