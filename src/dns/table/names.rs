//! What exists: every name of every zone, and how a name is found (RFC 1034 §4.3.2, RFC 4592).
//!
//! Compiled once per Plan. Names below a delegation or a DNAME are occluded and not in here; empty
//! non-terminals are, so that they are NODATA and not NXDOMAIN (RFC 8020).

use std::collections::HashMap;

use super::rrset::{RrSet, Spelled};
use super::signing::{Denials, SteeredSignatures};
use crate::dns::codec::code::rtype;
use crate::dns::codec::name::{label_count, parent};
use crate::dns::dnssec::Signer;
use crate::ids::ServiceId;

/// Every name of every zone.
#[derive(Debug, Default)]
pub(in crate::dns) struct Names {
    pub(super) by_name: HashMap<Box<[u8]>, u32>,
    pub(super) nodes: Vec<Node>,
    /// Delegations to zones that are here too, by their apex.
    pub(super) inner_cuts: HashMap<Box<[u8]>, u32>,
    pub(super) zones: Vec<ZoneFacts>,
    /// Labels of the deepest name: below it nothing is searched for.
    pub(super) deepest: usize,
}

/// What a zone says of itself.
#[derive(Debug)]
pub(in crate::dns) struct ZoneFacts {
    /// Bytes of the apex's name.
    pub(in crate::dns) apex_length: usize,
    /// For negative answers: its TTL is the lesser of its own and `minimum` (RFC 2308 §3).
    pub(in crate::dns) negative_soa: Option<RrSet>,
    /// Seconds that negative answers live.
    pub(in crate::dns) negative_ttl: u32,
    /// What signs it, if it is signed.
    pub(in crate::dns) signer: Option<Signer>,
}

/// What stands at a name.
#[derive(Debug, Default)]
pub(in crate::dns) struct Node {
    pub(super) zone: usize,
    /// Bytes of its name.
    pub(in crate::dns) name_length: usize,
    /// The child `*`.
    pub(super) wildcard: Option<u32>,
    /// The zone ends here.
    pub(in crate::dns) delegation: Option<Delegation>,
    /// Names below this one are other names.
    pub(in crate::dns) dname: Option<Redirection>,
    /// This name is another name.
    pub(in crate::dns) cname: Option<Redirection>,
    /// A service answers for it.
    pub(in crate::dns) steered: Option<ServiceId>,
    /// Everything else, CNAME and DNAME included.
    pub(in crate::dns) rrsets: Vec<RrSet>,
    /// Addresses of the name servers of a zone that begins here, which spare a lookup.
    pub(in crate::dns) server_addresses: Spelled,
    /// What proves that it has no other types.
    pub(in crate::dns) denials: Denials,
    /// Of what the service answers for it.
    pub(in crate::dns) steered_signatures: SteeredSignatures,
}

impl Node {
    /// The records of a type.
    pub(in crate::dns) fn rrset(&self, rtype: u16) -> Option<&RrSet> {
        self.rrsets.iter().find(|set| set.rtype() == rtype)
    }
}

/// A delegation (RFC 1034 §4.2.1).
#[derive(Debug, Default)]
pub(in crate::dns) struct Delegation {
    /// The name servers.
    pub(in crate::dns) servers: RrSet,
    /// Addresses without which they are not found (RFC 9471 §3.1): all or a truncated response.
    pub(in crate::dns) glue: Spelled,
    /// Addresses that spare a lookup: left out when there is no room.
    pub(in crate::dns) siblings: Spelled,
}

/// Where CNAME or DNAME leads.
#[derive(Debug)]
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
    /// Finds a lower-case name.
    pub(in crate::dns) fn find(&self, name: &[u8]) -> Found<'_> {
        let Some((node, is_exact)) = self.closest(name) else {
            return Found::Outside;
        };
        if let Some(delegation) = &node.delegation {
            let is_cut = is_exact;
            return Found::Delegated(node, Delegated { delegation, is_cut });
        }
        if is_exact {
            return Found::Node(node);
        }
        if let Some(dname) = &node.dname {
            return Found::Redirected(node, dname);
        }
        // RFC 4592 §3.3.1: the one source of synthesis is `*` below the closest encloser.
        match node.wildcard.and_then(|wildcard| self.node(wildcard)) {
            Some(wildcard) => Found::Wildcard(wildcard),
            None => self.zone_of(node).map_or(Found::Outside, Found::Missing),
        }
    }

    /// The delegation to a zone that is here too: what its parent has there is the parent's.
    pub(in crate::dns) fn cut_above(&self, apex: &[u8]) -> Option<&Node> {
        self.node(*self.inner_cuts.get(apex)?)
    }

    /// The zone of a node.
    pub(in crate::dns) fn zone_of(&self, node: &Node) -> Option<&ZoneFacts> {
        self.zones.get(node.zone)
    }

    /// The node of the name or of its closest encloser.
    fn closest(&self, name: &[u8]) -> Option<(&Node, bool)> {
        let too_deep = label_count(name).saturating_sub(self.deepest);
        let start = (0..too_deep).try_fold(name, |name, _| parent(name))?;
        std::iter::successors(Some(start), |name| parent(name))
            .find_map(|candidate| Some((candidate, *self.by_name.get(candidate)?)))
            .and_then(|(found, index)| Some((self.node(index)?, found.len() == name.len())))
    }

    pub(super) fn node(&self, index: u32) -> Option<&Node> {
        self.nodes.get(usize::try_from(index).ok()?)
    }
}

/// Whether a type is answered by the service at a steered name.
pub(in crate::dns) fn is_steered_type(qtype: u16) -> bool {
    matches!(qtype, rtype::A | rtype::AAAA | rtype::HTTPS)
}
