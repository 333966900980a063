//! What the access log is written to: standard output or error, or a file.
//!
//! A file is looked at before each write: one that was renamed or removed, as log rotation does, is made anew under its
//! name.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::config::plan::LogTarget;

/// Who may read a log that was made: it tells who did what.
pub(super) const MODE: u32 = 0o640;

/// What is written to.
pub(super) enum Output {
    Stdout,
    Stderr,
    File(LogFile),
}

pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// Whether the last line was cut off by an error, so that the next one needs a line of its own.
    is_torn: bool,
    /// Whether the last attempt to make the file anew failed, which is told once.
    is_stuck: bool,
}

impl Output {
    pub(super) fn open(target: &LogTarget) -> io::Result<Self> {
        Ok(match target {
            LogTarget::Stdout => Self::Stdout,
            LogTarget::Stderr => Self::Stderr,
            LogTarget::File(file) => Self::File(LogFile {
                path: file.path.clone(),
                file: open_file(&file.path)?,
                is_torn: false,
                is_stuck: false,
            }),
        })
    }

    /// Writes whole lines; how many of them were lost.
    pub(super) fn write(&mut self, lines: &[u8]) -> u64 {
        let outcome = match self {
            Self::Stdout => write_whole(&mut io::stdout().lock(), lines),
            Self::Stderr => write_whole(&mut io::stderr().lock(), lines),
            Self::File(file) => file.write(lines),
        };
        let Err((error, rest)) = outcome else {
            return 0;
        };
        // Where standard error is the log, this could fail the same way: it is told, not repeated.
        tracing::debug!(%error, "the access log could not be written");
        let lost = rest.iter().filter(|byte| **byte == b'\n').count();
        u64::try_from(lost).unwrap_or(u64::MAX)
    }
}

impl LogFile {
    fn write<'l>(&mut self, lines: &'l [u8]) -> Result<(), (io::Error, &'l [u8])> {
        self.follow_name();
        if self.is_torn && self.file.write_all(b"\n").is_ok() {
            self.is_torn = false;
        }
        let outcome = write_whole(&mut self.file, lines);
        if let Err((_, rest)) = &outcome {
            let written = lines.len() - rest.len();
            let before = written.checked_sub(1).and_then(|last| lines.get(last));
            self.is_torn |= before.is_some_and(|byte| *byte != b'\n');
        }
        outcome
    }

    /// Makes the file anew if another one, or none, has its name.
    fn follow_name(&mut self) {
        let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let named = std::fs::metadata(&self.path).ok().map(identity);
        let ours = self.file.metadata().ok().map(identity);
        if named == ours {
            return;
        }
        match open_file(&self.path) {
            Ok(file) => {
                (self.file, self.is_torn, self.is_stuck) = (file, false, false);
            }
            Err(error) if !self.is_stuck => {
                tracing::error!(%error, path = %self.path.display(), "the access log cannot be made anew: the old file is written on");
                self.is_stuck = true;
            }
            Err(_) => {}
        }
    }
}

/// Opens a file at its end. A named pipe without a reader would never open, and is refused.
fn open_file(path: &Path) -> io::Result<File> {
    if std::fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo()) {
        let message = "it is a named pipe, and a file is expected";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(MODE)
        .open(path)
}

/// Writes all, or says what was not written.
fn write_whole<'l>(to: &mut impl Write, lines: &'l [u8]) -> Result<(), (io::Error, &'l [u8])> {
    let mut rest = lines;
    while !rest.is_empty() {
        match to.write(rest) {
            Ok(0) => return Err((io::ErrorKind::WriteZero.into(), rest)),
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((error, rest)),
        }
    }
    to.flush().map_err(|error| (error, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes some bytes, then fails.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            if taken == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_was_not_written_is_known() {
        let lines = b"one\ntwo\nthree\n";
        assert!(write_whole(&mut Full(99), lines).is_ok());
        let (_, rest) = write_whole(&mut Full(5), lines).unwrap_err();
        assert_eq!(rest, b"wo\nthree\n");
    }

    #[test]
    fn a_line_that_was_cut_off_does_not_spoil_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let file = open_file(&path).unwrap();
        let mut log = LogFile {
            path: path.clone(),
            file,
            is_torn: false,
            is_stuck: false,
        };
        log.file.write_all(b"{\"cut").unwrap();
        log.is_torn = true;
        log.write(b"{}\n").unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "{\"cut\n{}\n");
    }

    #[test]
    fn a_named_pipe_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        assert!(open_file(&path).is_err());
    }
}
