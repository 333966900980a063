//! The client map: address → place, for each class of services that rank clients alike.
//!
//! Compiled once per reload from the database, `geo.networks` and the services' overrides. A place
//! is all the clients that a service ranks alike, so that the prefix found for a client is the
//! widest true scope of RFC 7871.

use std::net::IpAddr;

use crate::earth::Country;
use crate::ids::{RegionId, ServiceId, Table};

/// A place of one class of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlaceId(pub(super) u16);

/// Clients that a service ranks alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// The service's regions, nearest first; `None`: nobody knows where these clients are, or
    /// their distance does not matter to the service.
    pub nearest: Option<Box<[RegionId]>>,
    /// Their country, if an override or residency of the service names it.
    pub country: Option<Country>,
    /// Which of the service's overrides is theirs.
    pub matched_override: Option<u16>,
}

/// The client maps of all services.
#[derive(Debug, Default)]
pub struct ClientMap {
    classes: Vec<Class>,
    of_service: Table<ServiceId, usize>,
}

/// Services that rank clients alike.
#[derive(Debug)]
struct Class {
    places: Vec<Place>,
}

impl ClientMap {
    /// Where a client is for a service, and the length of the widest prefix around it whose clients
    /// are all of that place.
    pub fn locate(&self, service: ServiceId, client: IpAddr) -> (PlaceId, u8) {
        let _ = (service, client);
        (PlaceId(0), 0)
    }

    /// What is known of a place.
    pub fn place(&self, service: ServiceId, place: PlaceId) -> &Place {
        static NOWHERE: Place = Place {
            nearest: None,
            country: None,
            matched_override: None,
        };
        self.places(service)
            .get(usize::from(place.0))
            .unwrap_or(&NOWHERE)
    }

    /// Every place of a service, in the order of their ids.
    pub fn places(&self, service: ServiceId) -> &[Place] {
        self.of_service
            .get(service)
            .and_then(|class| self.classes.get(*class))
            .map_or(&[], |class| &class.places)
    }
}
