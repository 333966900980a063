//! SIGUSR2: the running edge starts its successor itself, from the program that is now where its own was, so that it
//! stays with the supervisor of this one.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// How to start this program once more.
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    asked: Signal,
}

impl Program {
    /// As it was started; to be called early, since the file may be replaced by another. From now on SIGUSR2 ends
    /// nothing.
    pub(super) fn note() -> io::Result<Self> {
        let mut arguments = std::env::args_os();
        let named = arguments.next().map(PathBuf::from);
        // A path may be a link that leads to another version by then; a bare name was found somewhere.
        let path = match named.filter(|path| path.components().count() > 1) {
            Some(path) => path,
            None => std::env::current_exe()?,
        };
        Ok(Self {
            path,
            arguments: arguments.collect(),
            asked: signal(SignalKind::user_defined2())?,
        })
    }

    /// Starts a successor whenever it is asked to.
    pub(super) async fn start_when_asked(mut self) -> Infallible {
        loop {
            // `None` never comes: signals do not end.
            if self.asked.recv().await.is_some()
                && let Err(error) = self.start()
            {
                tracing::error!(program = %self.path.display(), %error, "no successor was started");
            }
        }
    }

    fn start(&self) -> io::Result<()> {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments);
        if !self
            .arguments
            .iter()
            .any(|argument| argument == "--upgrade")
        {
            command.arg("--upgrade");
        }
        let mut child = command.spawn()?;
        tracing::info!(pid = child.id(), "started a successor");
        // Waited for, so that one that fails does not stay as a zombie.
        std::thread::Builder::new()
            .name("successor".to_owned())
            .spawn(move || {
                if let Ok(status) = child.wait() {
                    tracing::warn!(%status, "the successor ended");
                }
            })?;
        Ok(())
    }
}
