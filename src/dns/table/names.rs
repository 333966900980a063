//! What exists: every name of every zone, and how a name is found (RFC 1034 §4.3.2, RFC 4592).
//!
//! Compiled once per Plan. Names below a delegation or a DNAME are occluded and not in here; empty
//! non-terminals are, so that they are NODATA and not NXDOMAIN (RFC 8020).

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::rrset::{Named, RrSet, Spelled, TOUCHED};
use super::signing::Proofs;
use crate::dns::codec::code::rtype;
use crate::dns::codec::name::{WireName, label_count, parent};
use crate::dns::dnssec::Signer;
use crate::ids::ServiceId;

/// Names are the operator's, so that nobody can choose them to collide.
const HASHER: FixedState = FixedState::with_seed(0);

/// The label that stands for all others.
pub(super) const WILDCARD: [u8; 2] = *b"\x01*";

/// Every name of every zone.
#[derive(Debug)]
pub(in crate::dns) struct Names {
    nodes: HashTable<Node>,
    /// The apexes of zones that lie in others here, and what the zone above has at each, if anything.
    inner_apexes: HashMap<Box<[u8]>, Option<Node>>,
    zones: Vec<ZoneFacts>,
    /// Labels of the deepest name: below it nothing is searched for.
    deepest: usize,
}

/// The names before they can be found.
#[derive(Debug, Default)]
pub(super) struct Unindexed {
    /// Each name once.
    pub(super) nodes: Vec<NodeDraft>,
    /// What a zone has at the apexes of zones that lie in it and are here too.
    pub(super) inner_apexes: Vec<NodeDraft>,
    /// Apexes of which the zone above knows nothing.
    pub(super) lone_apexes: Vec<Box<[u8]>>,
    pub(super) zones: Vec<ZoneFacts>,
}

/// What a zone says of itself.
#[derive(Debug)]
pub(in crate::dns) struct ZoneFacts {
    /// The zone's name.
    pub(in crate::dns) apex: Box<[u8]>,
    /// For negative answers: its TTL is the lesser of its own and `minimum` (RFC 2308 §3).
    pub(in crate::dns) negative_soa: Option<RrSet>,
    /// Seconds that the SOA lives elsewhere.
    pub(super) soa_ttl: u32,
    /// Seconds that negative answers live.
    pub(in crate::dns) negative_ttl: u32,
    /// What signs it, if it is signed.
    pub(in crate::dns) signer: Option<Signer>,
}

/// What stands at a name, in one cache line. What most queries ask for, the name itself and its first
/// RRset, is one pointer away; all else is two.
#[derive(Debug)]
#[repr(align(64))]
pub(in crate::dns) struct Node {
    /// The name, in lower case, and the first RRset if it has one.
    named: Named,
    zone: u32,
    has_wildcard: bool,
    /// Whether there is anything [`Special`] to look for.
    is_special: bool,
    /// A service answers for it.
    pub(in crate::dns) steered: Option<ServiceId>,
    more: Option<Box<More>>,
}

/// What few queries ask for.
#[derive(Debug, Default)]
struct More {
    /// Those behind the first.
    rrsets: Vec<RrSet>,
    special: Special,
    /// In a signed zone.
    proofs: Option<Proofs>,
}

/// What few names have.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Special {
    /// The zone ends here.
    pub(super) delegation: Option<Delegation>,
    /// Names below this one are other names.
    pub(super) dname: Option<Redirection>,
    /// This name is another name.
    pub(super) cname: Option<Redirection>,
    /// Addresses of the name servers of a zone that begins here, which spare a lookup.
    pub(super) server_addresses: Spelled,
}

/// A name before it has its place in the table.
#[derive(Debug)]
pub(super) struct NodeDraft {
    /// In lower case.
    pub(super) name: Box<[u8]>,
    /// Its zone's place among all.
    pub(super) zone: usize,
    /// Everything that is neither a delegation nor steered, CNAME and DNAME included.
    pub(super) rrsets: Vec<RrSet>,
    pub(super) steered: Option<ServiceId>,
    pub(super) special: Special,
    pub(super) proofs: Option<Proofs>,
}

impl From<NodeDraft> for Node {
    fn from(draft: NodeDraft) -> Self {
        let mut rrsets = draft.rrsets.into_iter();
        let more = More {
            special: draft.special,
            proofs: draft.proofs,
            rrsets: Vec::new(),
        };
        let named = Named::new(&draft.name, rrsets.next());
        let rrsets: Vec<RrSet> = rrsets.collect();
        let is_special = more.special != Special::default();
        let has_more = is_special || !rrsets.is_empty() || more.proofs.is_some();
        Self {
            named,
            zone: u32::try_from(draft.zone).unwrap_or(u32::MAX),
            has_wildcard: false,
            is_special,
            steered: draft.steered,
            more: has_more.then(|| Box::new(More { rrsets, ..more })),
        }
    }
}

impl Node {
    /// Its name, in lower case.
    pub(in crate::dns) fn name(&self) -> &[u8] {
        self.named.name()
    }

    /// A byte of each cache line that its name and its first RRset with its signatures stand in, if there are not many.
    pub(super) fn touched(&self) -> [u8; TOUCHED] {
        self.named.touched()
    }

    /// The records of a type.
    pub(in crate::dns) fn rrset(&self, rtype: u16) -> Option<&RrSet> {
        self.rrsets().find(|set| set.rtype() == rtype)
    }

    /// Everything that is neither a delegation nor steered, CNAME and DNAME included.
    pub(in crate::dns) fn rrsets(&self) -> impl Iterator<Item = &RrSet> {
        let more = self.more.iter().flat_map(|more| &more.rrsets);
        self.named.rrset().into_iter().chain(more)
    }

    /// The delegation, if the zone ends here.
    pub(in crate::dns) fn delegation(&self) -> Option<&Delegation> {
        self.special()?.delegation.as_ref()
    }

    /// Where names below lead, if they are other names.
    pub(in crate::dns) fn dname(&self) -> Option<&Redirection> {
        self.special()?.dname.as_ref()
    }

    /// Where this name leads, if it is another name.
    pub(in crate::dns) fn cname(&self) -> Option<&Redirection> {
        self.special()?.cname.as_ref()
    }

    /// Addresses of the name servers of a zone that begins here.
    pub(in crate::dns) fn server_addresses(&self) -> Option<&Spelled> {
        Some(&self.special()?.server_addresses)
    }

    fn special(&self) -> Option<&Special> {
        let more = self.more.as_ref().filter(|_| self.is_special)?;
        Some(&more.special)
    }

    /// Whether it has a delegation, a DNAME, a CNAME, or addresses of a zone's name servers.
    pub(in crate::dns) fn is_special(&self) -> bool {
        self.is_special
    }

    /// What proves what is here and what is not; `None` in an unsigned zone.
    pub(in crate::dns) fn proofs(&self) -> Option<&Proofs> {
        self.more.as_ref()?.proofs.as_ref()
    }
}

/// A delegation (RFC 1034 §4.2.1).
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::dns) struct Delegation {
    /// The name servers.
    pub(in crate::dns) servers: RrSet,
    /// Addresses without which they are not found (RFC 9471 §3.1): all or a truncated response.
    pub(in crate::dns) glue: Spelled,
    /// Addresses that spare a lookup: left out when there is no room.
    pub(in crate::dns) siblings: Spelled,
}

/// Where CNAME or DNAME leads.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::dns) struct Redirection {
    /// Case as the operator wrote it.
    pub(in crate::dns) target: Box<[u8]>,
    /// In lower case.
    pub(in crate::dns) key: Box<[u8]>,
    /// Seconds.
    pub(in crate::dns) ttl: u32,
}

/// What a search came to.
#[derive(Clone, Copy, Debug)]
pub(in crate::dns) enum Found<'t> {
    /// In none of the zones.
    Outside,
    /// At this node.
    Node(&'t Node),
    /// At the wildcard that stands for the name.
    Wildcard(&'t Node),
    /// At or below a delegation.
    Delegated(&'t Node, Delegated<'t>),
    /// Below a DNAME.
    Redirected(&'t Node, &'t Redirection),
    /// The zone has no such name.
    Missing(&'t ZoneFacts),
}

/// A delegation that was met.
#[derive(Clone, Copy, Debug)]
pub(in crate::dns) struct Delegated<'t> {
    pub(in crate::dns) delegation: &'t Delegation,
    /// Whether its very name was asked for.
    pub(in crate::dns) is_cut: bool,
}

impl Names {
    /// Makes names findable.
    pub(super) fn index(names: Unindexed) -> Self {
        let deepest = names.nodes.iter().map(|node| label_count(&node.name)).max();
        let wildcards: Vec<Box<[u8]>> = names
            .nodes
            .iter()
            .filter(|node| node.name.starts_with(&WILDCARD))
            .map(|node| node.name.clone())
            .collect();
        let mut nodes = HashTable::with_capacity(names.nodes.len());
        for draft in names.nodes {
            let node = Node::from(draft);
            nodes.insert_unique(hash(node.name()), node, |node| hash(node.name()));
        }
        for encloser in wildcards.iter().filter_map(|name| parent(name)) {
            let found = nodes.find_mut(hash(encloser), |node| node.name() == encloser);
            if let Some(node) = found {
                node.has_wildcard = true;
            }
        }
        let known = names.inner_apexes.into_iter();
        let known = known.map(|draft| (draft.name.clone(), Some(draft.into())));
        let lone = names.lone_apexes.into_iter().map(|apex| (apex, None));
        Self {
            nodes,
            inner_apexes: known.chain(lone).collect(),
            zones: names.zones,
            deepest: deepest.unwrap_or(0),
        }
    }

    /// Finds a lower-case name. `ahead` is the node that it most probably has, if that was looked for.
    pub(in crate::dns) fn find<'t>(&'t self, name: &[u8], ahead: Option<&'t Node>) -> Found<'t> {
        let at_name = ahead.filter(|node| node.name() == name);
        let found = at_name.map(|node| (node, true));
        match found.or_else(|| self.closest(name)) {
            Some((node, is_exact)) => self.at(node, is_exact),
            None => Found::Outside,
        }
    }

    /// RFC 4035 §3.1.4.1: what the zone above says of an apex, if both zones are here.
    pub(in crate::dns) fn find_above(&self, apex: &[u8]) -> Option<Found<'_>> {
        if self.inner_apexes.is_empty() {
            return None;
        }
        match self.inner_apexes.get(apex)? {
            Some(node) => Some(self.at(node, true)),
            None => {
                let (node, _) = self.closest(parent(apex)?)?;
                Some(self.at(node, false))
            }
        }
    }

    /// What a node means for its name, or for one below it that does not exist.
    fn at<'t>(&'t self, node: &'t Node, is_exact: bool) -> Found<'t> {
        if let Some(delegation) = node.delegation() {
            let is_cut = is_exact;
            return Found::Delegated(node, Delegated { delegation, is_cut });
        }
        if is_exact {
            return Found::Node(node);
        }
        if let Some(dname) = node.dname() {
            return Found::Redirected(node, dname);
        }
        // RFC 4592 §3.3.1: the one source of synthesis is `*` below the closest encloser.
        match self.wildcard_below(node) {
            Some(wildcard) => Found::Wildcard(wildcard),
            None => self.zone_of(node).map_or(Found::Outside, Found::Missing),
        }
    }

    /// The nodes of signed zones whose HTTPS records of several regions are not signed with the Plan, but for wildcards:
    /// what those are asked as, only queries know.
    pub(super) fn unranked(&self) -> impl Iterator<Item = (&Node, ServiceId)> {
        let nodes = self.nodes.iter().filter(|node| {
            let proofs = node.proofs();
            proofs.is_some_and(|proofs| !proofs.steered.is_ranked())
        });
        let nodes = nodes.filter(|node| !node.name().starts_with(&WILDCARD));
        nodes.filter_map(|node| Some((node, node.steered?)))
    }

    /// The zone of a node.
    pub(in crate::dns) fn zone_of(&self, node: &Node) -> Option<&ZoneFacts> {
        self.zones.get(usize::try_from(node.zone).ok()?)
    }

    /// Whether any zone has keys that sign.
    pub(super) fn is_signed(&self) -> bool {
        self.zones.iter().any(|zone| zone.signer.is_some())
    }

    /// The node of the name or of its closest encloser.
    fn closest(&self, name: &[u8]) -> Option<(&Node, bool)> {
        let too_deep = label_count(name).saturating_sub(self.deepest);
        let start = (0..too_deep).try_fold(name, |name, _| parent(name))?;
        std::iter::successors(Some(start), |name| parent(name))
            .find_map(|candidate| Some((self.exact(candidate)?, candidate.len() == name.len())))
    }

    /// What [`Names::glance`] goes by.
    pub(super) fn hash(&self, name: &[u8]) -> u64 {
        hash(name)
    }

    /// The node that a name of this hash and length most probably has, by the node alone.
    pub(super) fn glance(&self, hash: u64, length: usize) -> Option<&Node> {
        self.nodes
            .find(hash, |node| node.named.name_length() == length)
    }

    fn exact(&self, name: &[u8]) -> Option<&Node> {
        self.nodes.find(hash(name), |node| node.name() == name)
    }

    fn wildcard_below(&self, node: &Node) -> Option<&Node> {
        let name = node
            .has_wildcard
            .then(|| WireName::joined(&WILDCARD, node.name()))??;
        self.exact(name.as_bytes())
    }
}

fn hash(name: &[u8]) -> u64 {
    let mut hasher = HASHER.build_hasher();
    hasher.write(name);
    hasher.finish()
}

/// Whether a type is answered by the service at a steered name.
pub(in crate::dns) fn is_steered_type(qtype: u16) -> bool {
    matches!(qtype, rtype::A | rtype::AAAA | rtype::HTTPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_at_a_name_is_one_cache_line() {
        assert_eq!(size_of::<Node>(), 64);
    }
}
