//! What happens next, to whom.

use std::rc::Rc;

use super::telling::Poll;
use super::{Answer, Received};
use crate::positions::RegionName;
use crate::proxy::onward::Try;
use crate::simulator::edge::{At, Heard};
use crate::simulator::fault::Fault;
use crate::simulator::store::{Log, Write};

pub(super) enum Event {
    Act {
        client: usize,
        tab: usize,
    },
    /// A request reaches a region.
    Arrives {
        request: u64,
        attempt: u32,
        at: At,
        write: Option<Write>,
    },
    /// A region holds a read until it can satisfy it.
    Holds {
        request: u64,
        attempt: u32,
        at: At,
        until_ms: u64,
    },
    /// An answer, or that there is none, reaches the edge.
    Answers {
        request: u64,
        attempt: u32,
        at: At,
        answer: Box<Answer>,
    },
    /// A try comes to nothing.
    Misses {
        request: u64,
        attempt: u32,
        tried: Try,
    },
    /// A request asks again, or the next region.
    Asks {
        request: u64,
        attempt: u32,
    },
    /// A waiting read whose turn it is asks health paths.
    Inquires {
        request: u64,
        attempt: u32,
    },
    /// A read may wait no longer.
    TimesOut {
        request: u64,
    },
    /// A read that waits has lost its patience.
    LooksElsewhere {
        request: u64,
    },
    /// A read that waits since then has the regions asked to which it would go.
    LooksOn {
        request: u64,
        since_ms: u64,
    },
    /// A client goes away.
    Leaves {
        request: u64,
    },
    /// An answer reaches its client.
    Received {
        client: usize,
        tab: usize,
        received: Received,
    },
    Probe {
        edge: usize,
        at: At,
    },
    /// An edge hears what an origin said.
    Hears {
        edge: usize,
        at: At,
        heard: Box<Heard>,
    },
    Push {
        edge: usize,
        at: At,
    },
    /// An edge sends a long poll.
    Polls {
        edge: usize,
        at: At,
        life: u64,
    },
    /// A long poll reaches its region.
    Polled(Box<Poll>),
    /// A region holds a long poll no longer.
    Lapses(Box<Poll>),
    Saves {
        edge: usize,
    },
    Replicate {
        to: At,
        from: usize,
    },
    Copies {
        to: At,
        region: RegionName,
        log: Rc<Log>,
    },
    /// A reload adds a replica to a region.
    Grows {
        region: usize,
    },
    /// A reload adds a region.
    Opens,
    /// The next edge reloads, and has the new region.
    Adds {
        edge: usize,
        replicas: usize,
    },
    /// Whoever runs the new region looks whether it has what all others had.
    MayServe {
        lacking: Rc<Vec<Write>>,
    },
    /// A reload removes a replica of a region.
    Shrinks {
        region: usize,
    },
    /// A reload removes the last region.
    Closes,
    Fault,
    Mends(Fault),
}
