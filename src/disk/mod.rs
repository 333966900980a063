//! Writing whole, so that a crash leaves the old or the new; and beside the runtime: a disk that hangs holds up one thread, and
//! whoever waits for it no longer than [`PATIENCE`].

mod claim;

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

pub(crate) use claim::{Claim, ClaimError, ENDS_WITHIN};

/// How long anybody waits for a disk.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// Why a write counts as failed that has not ended within [`PATIENCE`]; it goes on.
pub(crate) fn overdue() -> io::Error {
    let message = format!("writing it takes longer than {} s", PATIENCE.as_secs());
    io::Error::new(io::ErrorKind::TimedOut, message)
}

/// Puts a file in the place of the one of this name; it is on the disk when this returns. The folder is synced too: a name that only
/// the cache knows is lost with the power.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = path.to_owned().into_os_string();
    new.push(".new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Has one thing written at a time, so that a disk that hangs does not gather threads.
#[derive(Debug, Default)]
pub(crate) struct Turns(Arc<Mutex<()>>);

/// What became of a write.
#[derive(Debug)]
pub(crate) struct Written {
    /// The error is [`overdue`] if it has not ended.
    pub(crate) outcome: io::Result<()>,
    /// Nothing else is written before this goes, so that outcomes are told in their order.
    _turn: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Has something written on a thread of its own.
    pub(crate) async fn write(
        &self,
        writing: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> Written {
        let turns = self.0.clone();
        let written = timeout(PATIENCE, async {
            let turn = turns.lock_owned().await;
            tokio::task::spawn_blocking(move || Written {
                outcome: writing(),
                _turn: Some(turn),
            })
            .await
        });
        let error = match written.await {
            Ok(Ok(written)) => return written,
            Ok(Err(panicked)) => io::Error::other(panicked),
            Err(_) => overdue(),
        };
        Written {
            outcome: Err(error),
            _turn: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn what_hangs_is_waited_for_2_s_and_keeps_its_turn_until_it_ends() {
        let turns = Turns::default();
        let (go_on, hangs) = mpsc::channel::<()>();
        let hanging = turns.write(move || hangs.recv().map_err(io::Error::other));
        let next = turns.write(|| Ok(()));
        let (hanging, next) = tokio::join!(hanging, next);
        for written in [hanging, next] {
            let error = written.outcome.unwrap_err();
            assert_eq!(error.to_string(), "writing it takes longer than 2 s");
        }
        go_on.send(()).unwrap();
        let last = turns.write(|| Ok(())).await;
        assert!(last.outcome.is_ok());
    }
}
