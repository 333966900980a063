//! Fetches from memory what a batch of queries will need, before any of them is answered.
//!
//! Decides nothing. A table of thousands of names does not fit the processor's nearest caches, and a
//! query that is looked up alone waits for memory three or four times in a row. Loads of different
//! queries do not depend on each other: close together in one loop, they wait together.

use std::hint::black_box;
use std::net::IpAddr;

use smallvec::SmallVec;

use super::AnswerTable;
use super::names::Node;
use crate::geo::{PlaceId, Seek};
use crate::ids::ServiceId;
use crate::steering::Snapshot;

/// As many queries as come with one system call.
const BATCH: usize = 32;

/// What a query will look for.
#[derive(Clone, Copy, Debug)]
pub(in crate::dns) struct Wanted<'q> {
    /// In lower case.
    pub(in crate::dns) name: &'q [u8],
    pub(in crate::dns) client: IpAddr,
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
    /// Touches what these queries will look for, and says of each what was found.
    pub(in crate::dns) fn warm(
        &self,
        snapshot: &Snapshot,
        wanted: &[Wanted<'_>],
    ) -> SmallVec<[Ahead<'_>; BATCH]> {
        let names = self.names();
        let hashes: SmallVec<[u64; BATCH]> = wanted
            .iter()
            .map(|wanted| names.hash(wanted.name))
            .collect();
        let mut ahead: SmallVec<[Ahead<'_>; BATCH]> = hashes
            .iter()
            .zip(wanted)
            .map(|(hash, wanted)| Ahead {
                node: names.glance(*hash, wanted.name.len()),
                located: None,
            })
            .collect();
        let seeks: SmallVec<[Option<Seek<'_, PlaceId>>; BATCH]> = ahead
            .iter()
            .zip(wanted)
            .map(|(ahead, wanted)| {
                let node = ahead.node?;
                black_box(node.first_byte());
                let seek = snapshot.clients.seek(node.steered?, wanted.client)?;
                black_box(seek.glance());
                Some(seek)
            })
            .collect();
        for seek in seeks.iter().flatten() {
            black_box(seek.glance_on());
        }
        for (ahead, seek) in ahead.iter_mut().zip(&seeks) {
            ahead.located = seek.as_ref().and_then(|seek| {
                let service = ahead.node?.steered?;
                let (place, scope) = seek.find()?;
                Some(Located {
                    service,
                    place,
                    scope,
                })
            });
        }
        ahead
    }
}
