//! Whose a `state_dir` is: two edges that write into one would overwrite each other's drains.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The file in the folder that is locked. No edge removes it: whoever came next would lock another file of this name. What somebody
/// else removes, or moves away with the folder, is found by [`Claim::assure`].
const FILE: &str = "lock";

/// Why nothing is written any more.
const LOST: &str = "another edge uses it: `lock` was removed or replaced, and this edge writes nothing over what that one has; restart this one once the other has ended";

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
pub(crate) const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// Between two looks whether it has.
const AGAIN: Duration = Duration::from_millis(20);

/// The hold on a folder, for as long as one of these lives or until it is let go.
///
/// The lock is that of flock(2): the kernel takes it from a process that dies, and it belongs to the open file, so that an edge
/// whose place another takes passes it on without a moment in which nobody has it.
#[derive(Clone, Debug)]
pub(crate) struct Claim(Arc<Hold>);

#[derive(Debug)]
struct Hold {
    folder: PathBuf,
    held: Mutex<Held>,
}

#[derive(Debug)]
enum Held {
    /// By the lock on this file.
    By(File),
    /// It was let go, for the process that takes this one's place.
    Passed,
    /// Another edge came while the lock was gone: what there is is its own, also when it has ended.
    Lost,
}

impl Claim {
    /// Takes hold of a folder, by what the edge before passed on if that is a hold on the same one. `None` where the file system
    /// knows no locks.
    pub(crate) fn of(folder: &Path, passed: Option<OwnedFd>) -> Result<Option<Self>, ClaimError> {
        let refused = |error| ClaimError::Open {
            folder: folder.to_owned(),
            error,
        };
        let file = open(&folder.join(FILE)).map_err(refused)?;
        if let Some(passed) = passed.map(File::from)
            && is_same(&passed, &file).map_err(refused)?
        {
            return Ok(Some(Self::new(folder, passed)));
        }
        match file.try_lock() {
            Ok(()) => Ok(Some(Self::new(folder, file))),
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

    fn new(folder: &Path, file: File) -> Self {
        Self(Arc::new(Hold {
            folder: folder.to_owned(),
            held: Mutex::new(Held::By(file)),
        }))
    }

    /// Takes hold of a folder that nobody passes on, once whoever has it ends `within` this time.
    pub(crate) async fn of_nobody(
        folder: &Path,
        within: Duration,
    ) -> Result<Option<Self>, ClaimError> {
        let end = Instant::now() + within;
        loop {
            match Self::of(folder, None) {
                Err(ClaimError::InUse(_)) if Instant::now() < end => {
                    tokio::time::sleep(AGAIN).await;
                }
                claimed => return claimed,
            }
        }
    }

    /// What is passed on to the edge that takes this one's place: the same hold, which ends when neither has it.
    pub(crate) fn duplicate(&self) -> io::Result<Option<OwnedFd>> {
        match &*self.held() {
            Held::By(file) => Ok(Some(file.try_clone()?.into())),
            Held::Passed | Held::Lost => Ok(None),
        }
    }

    /// Lets go: from now on the folder is another's.
    pub(crate) fn release(&self) {
        *self.held() = Held::Passed;
    }

    /// To be called before a file of the folder is replaced: an error says whose it is instead. Where the locked file is gone, with or
    /// without the folder, and nobody else has come, the one of its name is locked from now on.
    pub(crate) fn assure(&self) -> io::Result<()> {
        let mut held = self.held();
        let locked = match &*held {
            Held::By(locked) => locked,
            Held::Passed => return Err(io::Error::other("another process has taken over")),
            Held::Lost => return Err(io::Error::other(LOST)),
        };
        let file = open(&self.0.folder.join(FILE))?;
        if is_same(locked, &file)? {
            return Ok(());
        }
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                *held = Held::Lost;
                return Err(io::Error::other(LOST));
            }
            Ok(()) | Err(TryLockError::Error(_)) => *held = Held::By(file),
        }
        let folder = self.0.folder.display();
        tracing::warn!("state_dir {folder}: {FILE} was removed or replaced; it is locked again");
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
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
    async fn who_may_wait_for_one_that_ends_waits_ten_seconds_and_nobody_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let ending = Claim::of(folder.path(), None).unwrap();
        for within in [Duration::ZERO, ENDS_WITHIN] {
            let began = Instant::now();
            let refused = Claim::of_nobody(folder.path(), within).await;
            assert!(matches!(refused, Err(ClaimError::InUse(_))));
            assert_eq!(began.elapsed(), within);
        }
        let end = async { drop(ending) };
        let (claimed, ()) = tokio::join!(Claim::of_nobody(folder.path(), ENDS_WITHIN), end);
        assert!(claimed.unwrap().is_some());
    }

    #[test]
    fn a_hold_that_is_passed_on_lasts_until_both_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let first = Claim::of(folder.path(), None).unwrap().unwrap();
        let passed = first.duplicate().unwrap();
        let second = Claim::of(folder.path(), passed).unwrap();
        first.release();
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
        let passed = || elsewhere.duplicate().unwrap();
        assert!(Claim::of(folder.path(), passed()).is_err());
        drop(holder);
        assert!(Claim::of(folder.path(), passed()).is_ok());
    }

    #[test]
    fn a_hold_on_a_file_that_was_removed_is_taken_on_the_next_of_its_name_unless_another_has_that()
    {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join(FILE);
        let first = Claim::of(folder.path(), None).unwrap().unwrap();
        first.assure().unwrap();
        std::fs::remove_file(&lock).unwrap();
        first.assure().unwrap();
        assert!(Claim::of(folder.path(), None).is_err());
        std::fs::remove_file(&lock).unwrap();
        let second = Claim::of(folder.path(), None).unwrap().unwrap();
        let refused = first.assure().unwrap_err().to_string();
        assert!(refused.starts_with("another edge uses it"), "{refused}");
        second.assure().unwrap();
        drop(second);
        assert!(
            first.assure().is_err(),
            "what the second has left is its own"
        );
        let third = Claim::of(folder.path(), None).unwrap().unwrap();
        third.release();
        assert!(third.assure().is_err());
    }
}
