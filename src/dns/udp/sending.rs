//! Responses on their way out, in runs that leave from the same address.

use std::io::IoSlice;
use std::os::fd::RawFd;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, sendmmsg};
use smallvec::SmallVec;

use super::address::{Family, Local};
use super::{BATCH, Received};
use crate::dns::count::Counters;

/// Room for a response, so that none allocates; no power of two, for the same reason as `QUERY_STRIDE`.
const RESPONSE_BYTES: usize = 1536 + 64;

/// Responses that wait to be sent, and places for more: each by parts, as the system call takes them.
pub(super) struct Responses<S> {
    pub(super) to: SmallVec<[Option<S>; BATCH]>,
    pub(super) from: SmallVec<[Option<Local>; BATCH]>,
    /// Those that wait come first.
    pub(super) bytes: Vec<Vec<u8>>,
}

impl<S> Responses<S> {
    pub(super) fn with_room() -> Self {
        let place = || Vec::with_capacity(RESPONSE_BYTES);
        Self {
            to: SmallVec::new(),
            from: SmallVec::new(),
            bytes: std::iter::repeat_with(place).take(BATCH).collect(),
        }
    }

    /// Where the next one is written.
    pub(super) fn place(&mut self) -> Option<&mut Vec<u8>> {
        self.bytes.get_mut(self.to.len())
    }

    /// Keeps what was written there.
    pub(super) fn keep(&mut self, received: Received<S>) {
        self.to.push(received.from);
        self.from.push(received.to);
    }

    pub(super) fn clear(&mut self) {
        self.to.clear();
        self.from.clear();
    }
}

/// Responses that leave from one address.
#[derive(Clone, Copy)]
pub(super) struct Run<'r, S> {
    pub(super) to: &'r [Option<S>],
    pub(super) bytes: &'r [Vec<u8>],
}

impl<S> Run<'_, S> {
    /// Without the first.
    fn behind(self, count: usize) -> Self {
        Self {
            to: self.to.get(count..).unwrap_or_default(),
            bytes: self.bytes.get(count..).unwrap_or_default(),
        }
    }
}

/// Sends responses that leave from one address. One that the network refuses is counted and left
/// out; the others follow.
pub(super) fn send_run<S: Family>(
    fd: RawFd,
    headers: &mut MultiHeaders<S>,
    run: Run<'_, S>,
    control: &[ControlMessage<'_>],
    counters: &Counters,
) {
    let mut left = run;
    while !left.to.is_empty() {
        match send_some(fd, headers, left, control) {
            Ok(sent) if sent > 0 => left = left.behind(sent),
            Err(Errno::EINTR) => {}
            Ok(_) | Err(_) => {
                counters.unsent(1);
                left = left.behind(1);
            }
        }
    }
}

/// Sends what the kernel takes at once. Returns how many that were.
fn send_some<S: Family>(
    fd: RawFd,
    headers: &mut MultiHeaders<S>,
    run: Run<'_, S>,
    control: &[ControlMessage<'_>],
) -> Result<usize, Errno> {
    let mut slices = [[IoSlice::new(&[])]; BATCH];
    for (slice, response) in slices.iter_mut().zip(run.bytes) {
        *slice = [IoSlice::new(response)];
    }
    let flags = MsgFlags::empty();
    sendmmsg(fd, headers, slices.iter(), run.to, control, flags).map(Iterator::count)
}
