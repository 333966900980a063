//! Where lines go: buffers of bounded size that requests append to, one for each core, and a thread that writes them
//! out.
//!
//! A request never waits for the log, nor for a request of another core: what does not fit is dropped and counted. The
//! thread collects for a moment and writes what has come of each core in one call.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::Counter;

use super::output::Output;
use crate::config::plan::LogTarget;
use crate::per_core::PerCore;

/// Bytes of lines that wait to be written, of all cores; as much again is being written.
const MOST_WAITING: usize = 4 << 20;

/// And no less of each core, however many there are: room for the longest lines.
const LEAST_OF_A_CORE: usize = 256 << 10;

/// How long lines are collected before they are written.
const COLLECT: Duration = Duration::from_millis(20);

/// One target and the thread that writes to it.
pub struct Sink {
    target: LogTarget,
    shared: Arc<Shared>,
    is_ending: AtomicBool,
}

/// What requests and the thread share.
struct Shared {
    /// What has come, by core.
    cores: PerCore<Mutex<Lines>>,
    thread: Mutex<Thread>,
    /// Lines have come where there were none, or too many, or the end.
    changed: Condvar,
    /// The thread has ended.
    ended: Condvar,
    dropped: Counter,
}

/// What one core's requests have to say.
#[derive(Default)]
struct Lines {
    text: Vec<u8>,
    count: u64,
    is_closed: bool,
}

/// What the thread is to know.
#[derive(Default)]
struct Thread {
    has_lines: bool,
    /// Some core has half of what it may have: it is not waited for more.
    is_pressed: bool,
    is_closing: bool,
    /// All has been written, and nothing more will be.
    has_ended: bool,
}

impl Sink {
    /// Opens the target and starts its thread.
    pub fn open(target: &LogTarget) -> io::Result<Self> {
        let output = Output::open(target)?;
        let shared = Arc::new(Shared {
            cores: PerCore::made(),
            thread: Mutex::default(),
            changed: Condvar::new(),
            ended: Condvar::new(),
            dropped: outcome("dropped"),
        });
        let of_thread = shared.clone();
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || of_thread.write_out(output))?;
        Ok(Self {
            target: target.clone(),
            shared,
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
        let most = self.shared.most_of_a_core();
        let mut mine = lock(self.shared.cores.mine());
        if mine.is_closed || mine.text.len() + line.len() > most {
            self.shared.dropped.increment(1);
            return;
        }
        let before = mine.text.len();
        mine.text.extend_from_slice(line);
        mine.count += 1;
        let is_pressed = before < most / 2 && mine.text.len() >= most / 2;
        drop(mine);
        if before == 0 || is_pressed {
            let mut thread = self.shared.thread();
            thread.has_lines = true;
            thread.is_pressed |= is_pressed;
            drop(thread);
            self.shared.changed.notify_one();
        }
    }

    /// Writes what has come, and takes no more. Whoever reads the log may be stuck, so this waits no
    /// longer than `limit`.
    pub fn close(&self, limit: Duration) {
        self.shared.close();
        let thread = self.shared.thread();
        let is_busy = |thread: &mut Thread| !thread.has_ended;
        let waited = self.shared.ended.wait_timeout_while(thread, limit, is_busy);
        let (thread, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(thread);
        if timeout.timed_out() {
            let counts = self.shared.cores.iter().map(|lines| lock(lines).count);
            let lines: u64 = counts.sum();
            tracing::warn!(lines, "nobody takes the access log: lines are lost");
        }
    }
}

impl Drop for Sink {
    /// The thread writes what it has and ends by itself.
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// Lines by what became of them.
fn outcome(outcome: &'static str) -> Counter {
    metrics::counter!("meridian_access_log_lines_total", "outcome" => outcome)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each critical section leaves it whole, even if it were to panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn thread(&self) -> MutexGuard<'_, Thread> {
        lock(&self.thread)
    }

    /// Bytes that wait of one core.
    fn most_of_a_core(&self) -> usize {
        (MOST_WAITING / self.cores.count()).max(LEAST_OF_A_CORE)
    }

    /// Takes no more lines; whoever appended one before has told the thread, or does.
    fn close(&self) {
        let mut has_lines = false;
        for lines in self.cores.iter() {
            let mut lines = lock(lines);
            lines.is_closed = true;
            has_lines |= !lines.text.is_empty();
        }
        let mut thread = self.thread();
        thread.is_closing = true;
        thread.has_lines |= has_lines;
        drop(thread);
        self.changed.notify_one();
    }

    fn write_out(&self, mut output: Output) {
        let (written, failed) = (outcome("written"), outcome("failed"));
        let mut batch = Vec::new();
        while self.collect() {
            for lines in self.cores.iter() {
                let mut lines = lock(lines);
                std::mem::swap(&mut lines.text, &mut batch);
                let count = std::mem::take(&mut lines.count);
                drop(lines);
                if batch.is_empty() {
                    continue;
                }
                let lost = output.write(&batch).min(count);
                written.increment(count - lost);
                failed.increment(lost);
                batch.clear();
            }
        }
        self.thread().has_ended = true;
        self.ended.notify_all();
    }

    /// Waits until lines have come, and a moment more; whether there are any before the end.
    fn collect(&self) -> bool {
        let thread = self.thread();
        let is_idle = |thread: &mut Thread| !thread.has_lines && !thread.is_closing;
        let waited = self.changed.wait_while(thread, is_idle);
        let thread = waited.unwrap_or_else(PoisonError::into_inner);
        let is_early = |thread: &mut Thread| !thread.is_closing && !thread.is_pressed;
        let collected = self.changed.wait_timeout_while(thread, COLLECT, is_early);
        let mut thread = collected.unwrap_or_else(PoisonError::into_inner).0;
        thread.is_pressed = false;
        std::mem::take(&mut thread.has_lines)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::path::{Path, PathBuf};

    use super::super::output::MODE;
    use super::*;
    use crate::config::plan::{FileRef, SourceAt};
    use crate::per_core::serve_on;

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

    /// Were there one buffer for all, this test would not end.
    #[test]
    fn a_request_does_not_wait_for_one_of_another_core() {
        let folder = tempfile::tempdir().unwrap();
        let sink = Sink::open(&target(folder.path().join("access.log"))).unwrap();
        if sink.shared.cores.count() > 1 {
            let (held, begun) = std::sync::mpsc::channel();
            let (free, freed) = std::sync::mpsc::channel::<()>();
            std::thread::scope(|scope| {
                let sink = &sink;
                scope.spawn(move || {
                    serve_on(0);
                    let mine = lock(sink.shared.cores.mine());
                    held.send(()).unwrap();
                    freed.recv().unwrap();
                    drop(mine);
                });
                begun.recv().unwrap();
                let other = scope.spawn(|| {
                    serve_on(1);
                    sink.push(b"from the other core\n");
                });
                other.join().unwrap();
                free.send(()).unwrap();
            });
        }
        sink.close(Duration::from_secs(10));
    }

    #[test]
    fn of_all_cores_every_line_is_written_whole_and_in_the_order_of_its_core() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let sink = Sink::open(&target(path.clone())).unwrap();
        std::thread::scope(|scope| {
            for core in 0..3 {
                let sink = &sink;
                scope.spawn(move || {
                    serve_on(core);
                    for number in 0..1_000 {
                        sink.push(format!("{core} {number}\n").as_bytes());
                    }
                });
            }
        });
        sink.close(Duration::from_secs(10));
        let written = std::fs::read_to_string(&path).unwrap();
        for core in 0..3 {
            let begins = format!("{core} ");
            let numbers = written
                .lines()
                .filter_map(|line| line.strip_prefix(&*begins));
            let numbers: Vec<u32> = numbers.map(|number| number.parse().unwrap()).collect();
            assert_eq!(numbers, (0..1_000).collect::<Vec<_>>(), "of core {core}");
        }
    }
}
