//! Whose a `state_dir` is: two edges that write into one would overwrite each other's drains.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::before::Start;

/// The file in the folder that is locked. It is never removed: who waits for another's lock on a file without a name waits for
/// nothing.
const FILE: &str = "lock";

/// Why a folder is not this edge's.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// The file cannot be made or looked at.
    #[error("state_dir {}: {FILE}: {error}", folder.display())]
    Open {
        /// The folder.
        folder: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another process holds it.
    #[error(
        "state_dir {}: another edge uses it, and each would overwrite the other's drains: give this edge a folder of its own, stop \
         the other, or take its place with --upgrade",
        .0.display()
    )]
    InUse(PathBuf),
}

/// How long an edge that lets nobody take over any more takes to end: its last log lines and the admin's last clients.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// Between two looks whether it has.
const AGAIN: Duration = Duration::from_millis(20);

/// The hold on a folder, for as long as this lives.
///
/// The lock is that of flock(2): the kernel takes it from a process that dies, and it belongs to the open file, so that an edge
/// whose place another takes passes it on without a moment in which nobody has it.
pub(super) struct Claim(File);

impl Claim {
    /// Takes hold of a folder, by what the edge before passed on if that is a hold on the same one. `None` where the file system
    /// knows no locks.
    pub(super) fn of(folder: &Path, passed: Option<OwnedFd>) -> Result<Option<Self>, ClaimError> {
        let refused = |error| ClaimError::Open {
            folder: folder.to_owned(),
            error,
        };
        let file = open(&folder.join(FILE)).map_err(refused)?;
        if let Some(passed) = passed.map(File::from)
            && is_same(&passed, &file).map_err(refused)?
        {
            return Ok(Some(Self(passed)));
        }
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Err(ClaimError::InUse(folder.to_owned())),
            Err(TryLockError::Error(error)) => {
                tracing::warn!(
                    "state_dir {}: its file system locks no files ({error}): nothing keeps a second edge from it",
                    folder.display()
                );
                Ok(None)
            }
        }
    }

    /// Takes hold of a folder that nobody passes on. Who wants another's place waits for one that is about to end.
    pub(super) async fn of_nobody(folder: &Path, start: Start) -> Result<Option<Self>, ClaimError> {
        let end = Instant::now() + ENDS_WITHIN;
        loop {
            match Self::of(folder, None) {
                Err(ClaimError::InUse(_)) if start == Start::Upgrade && Instant::now() < end => {
                    tokio::time::sleep(AGAIN).await;
                }
                claimed => return claimed,
            }
        }
    }

    /// What is passed on to the edge that takes this one's place: the same hold, which ends when neither has it.
    pub(super) fn duplicate(&self) -> io::Result<OwnedFd> {
        Ok(self.0.try_clone()?.into())
    }
}

/// Made if need be. What is there and no file is not opened: a pipe would hold up who opens it.
fn open(path: &Path) -> io::Result<File> {
    if std::fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return Err(io::Error::other("not a file"));
    }
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o600).open(path)
}

fn is_same(one: &File, other: &File) -> io::Result<bool> {
    let (one, other) = (one.metadata()?, other.metadata()?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_edge_s_until_that_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let claim = Claim::of(folder.path(), None).unwrap();
        let second = Claim::of(folder.path(), None).err().unwrap();
        let said = second.to_string();
        let place = folder.path().display().to_string();
        assert!(
            said.contains(&place) && said.contains("--upgrade"),
            "{said}"
        );
        drop(claim);
        assert!(Claim::of(folder.path(), None).unwrap().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_wants_the_place_of_one_that_ends_waits_ten_seconds_for_it_and_nobody_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let ending = Claim::of(folder.path(), None).unwrap();
        for (start, waited) in [
            (Start::Fresh, Duration::ZERO),
            (Start::Upgrade, ENDS_WITHIN),
        ] {
            let began = Instant::now();
            let refused = Claim::of_nobody(folder.path(), start).await;
            assert!(matches!(refused, Err(ClaimError::InUse(_))));
            assert_eq!(began.elapsed(), waited);
        }
        let end = async { drop(ending) };
        let (claimed, ()) = tokio::join!(Claim::of_nobody(folder.path(), Start::Upgrade), end);
        assert!(claimed.unwrap().is_some());
    }

    #[test]
    fn a_hold_that_is_passed_on_lasts_until_both_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let first = Claim::of(folder.path(), None).unwrap().unwrap();
        let passed = Some(first.duplicate().unwrap());
        let second = Claim::of(folder.path(), passed).unwrap();
        drop(first);
        assert!(Claim::of(folder.path(), None).is_err());
        drop(second);
        assert!(Claim::of(folder.path(), None).is_ok());
    }

    #[test]
    fn a_pipe_in_the_place_of_the_lock_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join(FILE);
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let refused = Claim::of(folder.path(), None).err().unwrap();
        assert!(refused.to_string().ends_with("lock: not a file"));
    }

    #[test]
    fn a_hold_on_another_folder_is_none_on_this() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let elsewhere = Claim::of(other.path(), None).unwrap().unwrap();
        let holder = Claim::of(folder.path(), None).unwrap();
        let passed = || Some(elsewhere.duplicate().unwrap());
        assert!(Claim::of(folder.path(), passed()).is_err());
        drop(holder);
        assert!(Claim::of(folder.path(), passed()).is_ok());
    }
}
