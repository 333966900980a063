//! Where lines go: buffers of bounded size that requests append to, and a thread that writes them out.
//!
//! A request never waits for the log: what does not fit is dropped and counted. The thread collects for a
//! moment and writes what has come in one call. A file is looked at before each write: one that was
//! renamed or removed, as log rotation does, is made anew under its name.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use metrics::Counter;

use super::waiting::{Batch, Pushed, Waiting};
use crate::clock;
use crate::config::plan::LogTarget;

/// How long lines are collected before they are written.
const COLLECT: Duration = Duration::from_millis(20);

/// Who may read a log that was made: it tells who did what.
const MODE: u32 = 0o640;

/// One target and the thread that writes to it.
pub struct Sink {
    target: LogTarget,
    shared: Arc<Shared>,
    writer: Thread,
    dropped: Counter,
    is_ending: AtomicBool,
}

/// What requests and the thread share.
#[derive(Default)]
struct Shared {
    waiting: Waiting,
    /// Something has come since the thread last took it.
    has_come: AtomicBool,
    /// Nothing more is to be collected before it is written.
    is_urgent: AtomicBool,
    /// Whether the thread has written all and ended; requests have no part in it.
    has_ended: Mutex<bool>,
    ended: Condvar,
}

impl Sink {
    /// Opens the target and starts its thread.
    pub fn open(target: &LogTarget) -> io::Result<Self> {
        let output = Output::open(target)?;
        let shared = Arc::new(Shared::default());
        let of_thread = shared.clone();
        let writer = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || of_thread.write_out(output))?;
        Ok(Self {
            target: target.clone(),
            shared,
            writer: writer.thread().clone(),
            dropped: outcome("dropped"),
            is_ending: AtomicBool::new(false),
        })
    }

    /// What is cut off from now on has not lost its client: the edge ends.
    pub fn end_begins(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }

    /// Where lines go.
    pub fn target(&self) -> &LogTarget {
        &self.target
    }

    /// Appends a line, with its line feed; drops it if there is no room.
    pub(super) fn push(&self, line: &[u8]) {
        match self.shared.waiting.push(line) {
            Pushed::First => self.call(&self.shared.has_come),
            Pushed::Half => self.call(&self.shared.is_urgent),
            Pushed::Another => {}
            Pushed::Dropped => self.dropped.increment(1),
        }
    }

    fn call(&self, why: &AtomicBool) {
        why.store(true, Ordering::Release);
        self.writer.unpark();
    }

    /// Writes what has come, and takes no more. Whoever reads the log may be stuck, so this waits no
    /// longer than `limit`.
    pub fn close(&self, limit: Duration) {
        self.end();
        let shared = &self.shared;
        let has_ended = shared.has_ended.lock();
        let has_ended = has_ended.unwrap_or_else(PoisonError::into_inner);
        let waited = shared
            .ended
            .wait_timeout_while(has_ended, limit, |has_ended| !*has_ended);
        let waited = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.1.timed_out() {
            let lines = shared.waiting.count();
            tracing::warn!(lines, "nobody takes the access log: lines are lost");
        }
    }

    /// The thread writes what there is and ends by itself.
    fn end(&self) {
        self.shared.waiting.close();
        self.writer.unpark();
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.end();
    }
}

/// Lines by what became of them.
fn outcome(outcome: &'static str) -> Counter {
    metrics::counter!("meridian_access_log_lines_total", "outcome" => outcome)
}

impl Shared {
    fn write_out(&self, mut output: Output) {
        let (written, failed) = (outcome("written"), outcome("failed"));
        let mut batch = Batch::default();
        loop {
            self.collect();
            let is_last = self.waiting.is_closed();
            self.waiting.take(&mut batch);
            if batch.count() > 0 {
                let lost = output.write(batch.text()).min(batch.count());
                written.increment(batch.count() - lost);
                failed.increment(lost);
            }
            if is_last {
                break;
            }
        }
        let has_ended = self.has_ended.lock();
        *has_ended.unwrap_or_else(PoisonError::into_inner) = true;
        self.ended.notify_all();
    }

    /// Waits until something has come, and then a moment for more.
    fn collect(&self) {
        while !self.has_come.load(Ordering::Acquire) && !self.waiting.is_closed() {
            thread::park();
        }
        let until_ms = clock::steady_ms() + u64::try_from(COLLECT.as_millis()).unwrap_or(0);
        while !self.is_urgent.load(Ordering::Acquire) && !self.waiting.is_closed() {
            let left_ms = until_ms.saturating_sub(clock::steady_ms());
            if left_ms == 0 {
                break;
            }
            thread::park_timeout(Duration::from_millis(left_ms));
        }
        // What comes from here on may be taken too, and then this is said once too often.
        self.has_come.store(false, Ordering::Release);
        self.is_urgent.store(false, Ordering::Release);
    }
}

/// What is written to.
enum Output {
    Stdout,
    Stderr,
    File(LogFile),
}

struct LogFile {
    path: PathBuf,
    file: File,
    /// Whether the last line was cut off by an error, so that the next one needs a line of its own.
    is_torn: bool,
    /// Whether the last attempt to make the file anew failed, which is told once.
    is_stuck: bool,
    /// Whether the last attempt to write failed, which is told once.
    is_failing: bool,
}

impl Output {
    fn open(target: &LogTarget) -> io::Result<Self> {
        Ok(match target {
            LogTarget::Stdout => Self::Stdout,
            LogTarget::Stderr => Self::Stderr,
            LogTarget::File(file) => Self::File(LogFile {
                path: file.path.clone(),
                file: open_file(&file.path)?,
                is_torn: false,
                is_stuck: false,
                is_failing: false,
            }),
        })
    }

    /// Writes whole lines; how many of them were lost.
    fn write(&mut self, lines: &[u8]) -> u64 {
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
        self.tell(outcome.as_ref().err().map(|(error, _)| error));
        outcome
    }

    fn tell(&mut self, error: Option<&io::Error>) {
        let path = self.path.display();
        match (self.is_failing, error) {
            (false, Some(error)) => {
                tracing::error!(%error, %path, "the access log cannot be written: lines are lost and counted as failed until it can");
            }
            (true, None) => tracing::info!(%path, "the access log is written again"),
            (false, None) | (true, Some(_)) => {}
        }
        self.is_failing = error.is_some();
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
    use crate::config::plan::{FileRef, SourceAt};

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

    fn target(path: PathBuf) -> LogTarget {
        let at = SourceAt {
            file: Path::new("edge.yaml").into(),
            line: 1,
            column: 1,
        };
        LogTarget::File(FileRef { path, at })
    }

    #[test]
    fn closing_writes_all_that_has_come_and_takes_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let sink = Sink::open(&target(path.clone())).unwrap();
        for number in 0..1000 {
            sink.push(format!("{number}\n").as_bytes());
        }
        sink.close(Duration::from_secs(10));
        sink.push(b"late\n");
        let written = std::fs::read_to_string(&path).unwrap();
        assert_eq!(written.lines().count(), 1000);
        assert!(written.ends_with("999\n"));
        assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o777 & !MODE, 0);
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
            is_failing: false,
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
