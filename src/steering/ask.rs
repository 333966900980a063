//! What a face asks of steering: who, for which service, under which constraints.

use super::share::Spread;
use crate::config::plan::Access;
use crate::geo::PlaceId;
use crate::ids::{RegionId, ServiceId};
use crate::positions::Vector;

/// From where round trips count under `latency`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vantage {
    /// From the client's network: DNS, whose client will connect to the region itself.
    Client,
    /// From this edge: HTTP, whose request travels on from here.
    Edge,
}

/// What a read must see.
#[derive(Clone, Copy, Debug, Default)]
pub struct Require<'a> {
    /// The client's writes.
    pub vector: Option<&'a Vector>,
    /// The region of a write whose position is not known.
    pub pin: Option<RegionId>,
    /// The edge's steady clock.
    pub now_ms: u64,
}

/// A question to [`steer()`](super::steer()).
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// For which service.
    pub service: ServiceId,
    /// Where the client is, in the service's class of the client map.
    pub place: PlaceId,
    /// The client's place among a hundred, for regions that leave or come back little by little.
    pub spread: Spread,
    /// From where round trips count.
    pub vantage: Vantage,
    /// Read or write.
    pub access: Access,
    /// The region that the client is used to.
    pub affinity: Option<RegionId>,
    /// What residency goes by, where it is not the client's country: a label, or several between commas.
    pub residency: Option<&'a str>,
    /// The key whose home writes go to.
    pub write_key: Option<&'a str>,
    /// What a read must see.
    pub require: Require<'a>,
}

impl Ask<'_> {
    /// What DNS asks: steps 1 to 3, without affinity.
    pub fn dns(service: ServiceId, place: PlaceId) -> Self {
        Self {
            service,
            place,
            spread: Spread::default(),
            vantage: Vantage::Client,
            access: Access::Read,
            affinity: None,
            residency: None,
            write_key: None,
            require: Require::default(),
        }
    }

    /// What HTTP asks when the request carries no constraint.
    pub fn http(service: ServiceId, place: PlaceId, access: Access) -> Self {
        Self {
            vantage: Vantage::Edge,
            access,
            ..Self::dns(service, place)
        }
    }
}
