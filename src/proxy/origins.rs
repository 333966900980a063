//! Which origins of a region a request is sent to, and which of them have what its client must see.

use super::consistency::Store;
use super::forward::Outbound;
use crate::chance;
use crate::clock;
use crate::config::plan::{Access, WhenUnsatisfiable};
use crate::ids::{OriginId, RegionId};

/// Origins of one region that are tried before the next region.
const MOST_ORIGINS: usize = 3;

impl Outbound<'_> {
    /// A region's origins in the order to try them: spread over clients, the able ones if any is,
    /// and of those first the ones that may have what the client must see. Those that are not read from are left out.
    pub(super) fn origins(&self, region: RegionId) -> Vec<OriginId> {
        let mut origins = self.able_origins(region);
        if origins.len() > 1 {
            let spread = chance::below(origins.len());
            origins.rotate_left(spread);
            if let Some(store) = self.store {
                let (name, required) = (self.name_of(region), &self.visit.token().vector);
                if let Some(fit) = self.fit_origins(store, name, &origins) {
                    origins = fit;
                }
                if !required.is_empty() {
                    let applied = store.applied;
                    origins.sort_by_cached_key(|origin| {
                        let origin = self.live.routes.origin(*origin);
                        // Then those that never said anything, then those that are known to be behind.
                        let shows = applied.origin_has(name, origin, required);
                        (!shows, !applied.origin_may_answer(name, origin, required))
                    });
                }
            }
        }
        origins.truncate(MOST_ORIGINS);
        origins
    }

    /// Whether an origin's probes find it unhealthy since a moment, and not those of another that is still to be asked: where none is
    /// well, it may be this edge that is not. Who was asked although it was down is not left for that.
    pub(super) fn is_left_behind(&self, origin: OriginId, since_ms: u64) -> bool {
        let plan = &self.live.snapshot.plan;
        let region_of = |origin: OriginId| plan.origins.of(origin).region;
        let down_since = |origin: OriginId| {
            let lane = self.live.routes.lane(self.service_id, region_of(origin))?;
            lane.witness(origin)?.down_since_ms()
        };
        if down_since(origin).is_none_or(|since| since < since_ms) {
            return false;
        }
        let asked_of = |region: RegionId| {
            let tried = self
                .tried
                .iter()
                .filter(|tried| region_of(**tried) == region);
            tried.count()
        };
        let ranked = self.decision.ranked.iter().map(|choice| choice.region);
        // The next origin of its own region, or another region of which none was asked yet.
        let mut open = ranked.filter(|region| match asked_of(*region) {
            0 => true,
            asked => *region == region_of(origin) && asked < MOST_ORIGINS,
        });
        open.any(|region| {
            let mut able = self.able_origins(region).into_iter();
            able.any(|origin| {
                let is_well = !self.tried.contains(&origin) && down_since(origin).is_none();
                is_well && self.may_serve(region, origin)
            })
        })
    }

    /// Whether what an origin answers is of use, as far as is known: with `when_unsatisfiable: fail`, who is behind is asked in vain.
    fn may_serve(&self, region: RegionId, origin: OriginId) -> bool {
        let token = self.visit.token();
        let only_fresh = self.store.filter(|store| {
            let is_asked = self.access == Access::Read && !token.is_empty();
            is_asked && store.consistency.when_unsatisfiable == WhenUnsatisfiable::Fail
        });
        only_fresh.is_none_or(|store| {
            let (name, origin) = (self.name_of(region), self.live.routes.origin(origin));
            let has_all = store.applied.origin_has(name, origin, &token.vector);
            has_all && !token.is_pinned_elsewhere(name)
        })
    }

    /// Those of them that are not read from while others are.
    pub(super) fn origins_left_out(&self, region: RegionId) -> Vec<OriginId> {
        let mut origins = self.able_origins(region);
        let fit = self
            .store
            .and_then(|store| self.fit_origins(store, self.name_of(region), &origins));
        match fit {
            Some(fit) => origins.retain(|origin| !fit.contains(origin)),
            None => origins.clear(),
        }
        origins.truncate(MOST_ORIGINS);
        origins
    }

    /// The able origins of a region, or all if none is.
    fn able_origins(&self, region: RegionId) -> Vec<OriginId> {
        let snapshot = &self.live.snapshot;
        let able = snapshot.services.of(self.service_id).able_origins.iter();
        let able = able.filter(|(of, _)| *of == region);
        let able: Vec<OriginId> = able.map(|(_, origin)| *origin).collect();
        if able.is_empty() {
            snapshot.plan.regions.of(region).origins.clone()
        } else {
            able
        }
    }

    /// Those that may be read from, where some of a region's are; none: all are asked. A replica that has fallen too far behind is
    /// not; one that is left out for nothing but an epoch that it has begun is, if only such have what the client must see.
    fn fit_origins(
        &self,
        store: Store<'_>,
        region: &str,
        origins: &[OriginId],
    ) -> Option<Vec<OriginId>> {
        if self.access == Access::Write || !store.applied.has_unfit() {
            return None;
        }
        let (now_ms, required) = (clock::steady_ms(), &self.visit.token().vector);
        let has = |origin: &OriginId| {
            let origin = self.live.routes.origin(*origin);
            store.applied.origin_has(region, origin, required)
        };
        let is_fit = |origin: &OriginId| {
            let origin = self.live.routes.origin(*origin);
            store.applied.origin_is_fit(region, origin, now_ms)
        };
        let has_begun_an_epoch = |origin: &OriginId| {
            let origin = self.live.routes.origin(*origin);
            let left = store.applied.left_behind(region, origin, now_ms);
            left.is_some()
        };
        let mut fit: Vec<OriginId> = origins.iter().copied().filter(is_fit).collect();
        if !fit.iter().any(has) {
            let others = origins.iter().copied();
            fit.extend(others.filter(|origin| has(origin) && has_begun_an_epoch(origin)));
        }
        Some(fit).filter(|fit| !fit.is_empty())
    }

    /// Whether an origin is known to have all that the client must see.
    pub(super) fn is_known_to_have_all(&self, region: RegionId, origin: OriginId) -> bool {
        let required = &self.visit.token().vector;
        let Some(store) = self.store.filter(|_| !required.is_empty()) else {
            return required.is_empty();
        };
        let repeat = self.repeat(&store);
        if repeat.is_some_and(|repeat| repeat.had_all(origin)) {
            return true;
        }
        let name = &self.live.snapshot.plan.regions.of(region).name;
        let url = self.live.routes.origin(origin);
        let has_all = store.applied.origin_has(name, url, required);
        if let Some(repeat) = repeat.filter(|_| has_all) {
            repeat.note_had_all(origin);
        }
        has_all
    }
}
