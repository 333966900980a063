//! Where a new process asks to take this one's place.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{Uid, geteuid};
use tokio::net::{UnixListener, UnixStream};

use super::handover::Successor;
use crate::disk::Claim;

/// How often it is looked whether the socket is still there.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A socket in the file system, for this user and root alone.
pub(super) struct Door {
    listener: UnixListener,
    path: PathBuf,
    /// The hold on `state_dir`.
    claim: Option<Claim>,
}

impl Door {
    /// Opens it, in the place of whoever had it before.
    pub(super) fn open(path: &Path, claim: Option<Claim>) -> io::Result<Self> {
        Ok(Self {
            listener: bind(path)?,
            path: path.to_owned(),
            claim,
        })
    }

    /// Waits for a process of this user that asks to take over. A socket that somebody removes is put there again.
    pub(super) async fn knocked(&mut self) -> Successor {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = gone(&self.path) => {
                    self.open_again();
                    continue;
                }
            };
            match accepted {
                Ok((stream, _)) if is_trusted(&stream) => return Successor(stream),
                Ok(_) => tracing::warn!("another user's process asked to take over"),
                Err(error) => {
                    tracing::warn!(%error, "nobody can take over for now");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    /// Unless the folder is another edge's by now, or gone.
    fn open_again(&mut self) {
        let is_own = self
            .claim
            .as_ref()
            .is_none_or(|claim| claim.assure().is_ok());
        if is_own && let Ok(listener) = bind(&self.path) {
            self.listener = listener;
            let socket = self.path.display();
            tracing::warn!(
                "{socket} was removed; it is there again, for another process to take over"
            );
        }
    }

    /// Takes the path away; not to be called once a successor has put its own there.
    pub(super) fn close(self) {
        // Somebody else may have done so: nothing is lost.
        let _ = std::fs::remove_file(self.path);
    }
}

/// It takes its name when it is ready, in one step.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let mut new = path.to_owned().into_os_string();
    new.push(".new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&new)?;
    std::fs::set_permissions(&new, Permissions::from_mode(0o600))?;
    std::fs::rename(&new, path)?;
    Ok(listener)
}

/// Ends when there is nothing of this name. A disk that hangs holds nobody up.
async fn gone(path: &Path) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let path = path.to_owned();
        let look = tokio::task::spawn_blocking(move || path.symlink_metadata());
        let is_gone = |error: io::Error| error.kind() == io::ErrorKind::NotFound;
        if look.await.is_ok_and(|look| look.is_err_and(is_gone)) {
            return;
        }
    }
}

fn is_trusted(stream: &UnixStream) -> bool {
    let peer = stream.peer_cred().map(|peer| Uid::from_raw(peer.uid()));
    peer.is_ok_and(|peer| peer.is_root() || peer == geteuid())
}
