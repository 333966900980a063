//! The health paths of a region's origins, asked for positions beside requests.

use super::consistency::Store;
use super::context::Live;
use super::routes::Lane;
use crate::clock;
use crate::health::Target;
use crate::ids::{OriginId, RegionId, ServiceId};
use crate::positions::{RegionName, Source};

/// Those of one region of a service.
#[derive(Clone, Copy)]
pub(super) struct HealthPaths<'a> {
    pub(super) live: &'a Live,
    pub(super) store: &'a Store<'a>,
    pub(super) service: ServiceId,
    pub(super) region: RegionId,
}

impl<'a> HealthPaths<'a> {
    pub(super) fn lane(&self) -> Option<&'a Lane> {
        self.live.routes.lane(self.service, self.region)
    }

    pub(super) fn targets(&self) -> impl Iterator<Item = (OriginId, &'a Target)> + use<'a> {
        self.live.routes.probes(self.service, self.region)
    }

    /// The region's.
    pub(super) fn name(&self) -> &'a RegionName {
        &self.live.snapshot.plan.regions.of(self.region).name
    }

    /// Whether an origin tells by itself as soon as it has applied more.
    pub(super) fn is_followed(&self, origin: OriginId) -> bool {
        let origin = self.live.routes.origin(origin);
        self.store.applied.is_followed(self.name(), origin)
    }

    /// Takes in what an origin's health path says of positions; whether it said anything.
    pub(super) async fn learn(&self, origin: OriginId, target: &Target) -> bool {
        let asked_at_ms = clock::steady_ms();
        let prober = self.live.routes.prober(self.service);
        let result = prober.probe(target).await;
        let parse = |text: String| self.store.parse_applied(Source::Check, self.name(), &text);
        let Some(applied) = result.applied.and_then(parse) else {
            return false;
        };
        let origin = self.live.routes.origin(origin);
        self.store
            .report(self.name(), origin, &applied, asked_at_ms);
        true
    }
}
