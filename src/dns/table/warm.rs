//! Fetches from memory what a batch of queries will need, before any of them is answered.
//!
//! Decides nothing. A table of thousands of names does not fit the processor's nearest caches, and a
//! query that is looked up alone waits for memory three or four times in a row. Loads of different
//! queries do not depend on each other: close together in one loop, they wait together.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use super::AnswerTable;
use super::names::Node;
use crate::geo::{PlaceId, Seek};
use crate::ids::ServiceId;
use crate::steering::Snapshot;

/// How many queries are read, fetched for and answered together: enough to wait for memory together, and so few
/// that what is known of them stays in the processor's nearest cache.
pub(in crate::dns) const GROUP: usize = 8;

/// What a query will look for.
#[derive(Clone, Copy, Debug)]
pub(in crate::dns) struct Wanted<'q> {
    /// In lower case.
    pub(in crate::dns) name: &'q [u8],
    pub(in crate::dns) client: IpAddr,
}

impl Wanted<'_> {
    /// Of a message that is no query.
    pub(in crate::dns) const NOTHING: Self = Self {
        name: &[],
        client: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
}

/// What was found for a query before it is answered, and need not be found again.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::dns) struct Ahead<'t> {
    /// The node that most probably has the name.
    pub(in crate::dns) node: Option<&'t Node>,
    /// Where the client is for the service that answers at that node.
    pub(in crate::dns) located: Option<Located>,
}

/// Where a client is for a service.
#[derive(Clone, Copy, Debug)]
pub(in crate::dns) struct Located {
    pub(in crate::dns) service: ServiceId,
    pub(in crate::dns) place: PlaceId,
    pub(in crate::dns) scope: u8,
}

impl AnswerTable {
    /// Touches what a group of queries will look for, and says of each in its place what was found.
    pub(in crate::dns) fn warm<'t>(
        &'t self,
        snapshot: &Snapshot,
        wanted: &[Wanted<'_>],
        aheads: &mut [Ahead<'t>; GROUP],
    ) {
        let names = self.names();
        // All hashes first: the fewer instructions lie between the loads, the more of them are on their way together.
        let mut hashes = [0; GROUP];
        for (hash, wanted) in hashes.iter_mut().zip(wanted) {
            *hash = names.hash(wanted.name);
        }
        for ((ahead, wanted), hash) in aheads.iter_mut().zip(wanted).zip(hashes) {
            ahead.node = names.glance(hash, wanted.name.len());
        }
        let mut seeks: [Option<(ServiceId, Seek<'_, PlaceId>)>; GROUP] = [const { None }; GROUP];
        let places = seeks.iter_mut().zip(aheads.iter());
        for ((place, ahead), wanted) in places.zip(wanted) {
            let Some(node) = ahead.node else { continue };
            black_box(node.touched());
            let Some(service) = node.steered else {
                continue;
            };
            let seek = snapshot.clients.seek(service, wanted.client);
            *place = seek.map(|seek| (service, seek));
        }
        for (_, seek) in seeks.iter_mut().flatten() {
            seek.go_on();
        }
        for (ahead, seek) in aheads.iter_mut().zip(&seeks) {
            if let Some((service, seek)) = seek {
                ahead.located = Located::at(*service, seek);
            }
        }
    }
}

impl Located {
    fn at(service: ServiceId, seek: &Seek<'_, PlaceId>) -> Option<Self> {
        let (place, scope) = seek.find()?;
        Some(Self {
            service,
            place,
            scope,
        })
    }
}
