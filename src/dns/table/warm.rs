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

impl AnswerTable {
    /// Touches what these queries will look for.
    pub(in crate::dns) fn warm(&self, snapshot: &Snapshot, wanted: &[Wanted<'_>]) {
        let names = self.names();
        let hashes: SmallVec<[u64; BATCH]> = wanted
            .iter()
            .map(|wanted| names.hash(wanted.name))
            .collect();
        let nodes: SmallVec<[Option<&Node>; BATCH]> = hashes
            .iter()
            .zip(wanted)
            .map(|(hash, wanted)| names.glance(*hash, wanted.name.len()))
            .collect();
        let mut steered: SmallVec<[(ServiceId, IpAddr); BATCH]> = SmallVec::new();
        for (node, wanted) in nodes.iter().zip(wanted) {
            let Some(node) = node else { continue };
            black_box(node.first_byte());
            steered.extend(node.steered.map(|service| (service, wanted.client)));
        }
        for (service, client) in &steered {
            black_box(snapshot.clients.glance(*service, *client));
        }
        for (service, client) in &steered {
            black_box(snapshot.clients.locate(*service, *client));
        }
    }
}
