//! How many files the system lets this process open, which bounds how many connections there can be.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Kept for listeners, DNS, probes, logs, and files that are read again.
const RESERVED: u64 = 256;

/// Where the system has set less than makes sense, so many are tried all the same.
const LEAST: u32 = 64;

/// What is assumed where the system does not say.
const USUAL: u64 = 1024;

/// Raises the limit as far as the system allows without asking anybody (`RLIMIT_NOFILE`, getrlimit(2)).
pub fn raise_descriptors() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Connections of clients for which there are files: each request on them may need a connection to an origin
/// too.
pub(super) fn for_clients() -> u32 {
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(USUAL, |(soft, _)| soft);
    half_of(files)
}

/// Connections that one of so many workers may keep to origins for later: half of what is for origins.
pub(super) fn for_kept(workers: usize) -> usize {
    let all = usize::try_from(for_clients() / 2).unwrap_or(usize::MAX);
    (all / workers.max(1)).max(1)
}

fn half_of(files: u64) -> u32 {
    let half = files.saturating_sub(RESERVED) / 2;
    u32::try_from(half).unwrap_or(u32::MAX).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_is_not_reserved_is_for_clients() {
        for (files, expected) in [
            (0, LEAST),
            (1024, 384),
            (20_000, 9_872),
            (u64::MAX, u32::MAX),
        ] {
            assert_eq!(half_of(files), expected, "{files}");
        }
    }
}
