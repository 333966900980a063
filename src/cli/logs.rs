//! The edge's own log: to stderr, by a thread of its own.
//!
//! Whoever reads stderr may stop or go. A line that does not fit is dropped and counted: probes, requests and the end wait
//! for nobody's log.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use clap::Args;
use tracing_subscriber::EnvFilter;

/// Lines that wait to be written.
const MOST_WAITING: usize = 4_096;

/// How long the end waits for the last lines.
const LAST_LINES_WITHIN: Duration = Duration::from_secs(1);

/// How to log.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Logs {
    /// Log JSON, an object a line
    #[arg(long)]
    log_json: bool,
}

impl Logs {
    /// Logs go to stderr; `RUST_LOG` chooses which.
    pub(super) fn start(self) -> io::Result<Log> {
        self.start_at("info")
    }

    /// Logs of the lab: errors alone, unless it is to tell all.
    pub(super) fn quiet_unless(verbose: bool) -> io::Result<Log> {
        Self { log_json: false }.start_at(if verbose { "info" } else { "error" })
    }

    fn start_at(self, level: &str) -> io::Result<Log> {
        let (log, lines) = Log::to(io::stderr())?;
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
        let logs = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(is_colored())
            .with_writer(move || lines.clone());
        if self.log_json {
            logs.json().init();
        } else {
            logs.with_target(false).init();
        }
        // As by default, where nobody's stderr is waited for.
        std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
        Ok(log)
    }
}

/// Colors are for people (<https://no-color.org>): a file or a pipe gets plain text.
fn is_colored() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !refused
}

/// A log that is written while it lives; its last lines when it goes, if somebody takes them.
pub(super) struct Log(SyncSender<Said>);

enum Said {
    Line(Vec<u8>),
    /// All before is to be written, and the sender dropped.
    Last(SyncSender<()>),
}

impl Log {
    fn to(output: impl Write + Send + 'static) -> io::Result<(Self, Lines)> {
        let (sender, said) = sync_channel(MOST_WAITING);
        let dropped = Arc::default();
        let lines = Lines {
            sender: sender.clone(),
            dropped: Arc::clone(&dropped),
        };
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_out(&said, &dropped, output))?;
        Ok((Self(sender), lines))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let (written, wait) = sync_channel(1);
        // Without room nobody reads, and nobody will.
        if self.0.try_send(Said::Last(written)).is_ok() {
            let _ = wait.recv_timeout(LAST_LINES_WITHIN);
        }
    }
}

/// Where lines are put.
#[derive(Clone)]
struct Lines {
    sender: SyncSender<Said>,
    dropped: Arc<AtomicU64>,
}

impl Write for Lines {
    /// Takes a line whole, or drops it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.sender.try_send(Said::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            metrics::counter!("meridian_log_lines_dropped_total").increment(1);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_out(said: &Receiver<Said>, dropped: &AtomicU64, mut output: impl Write) {
    // Where the log cannot be written there is nowhere to tell it.
    while let Ok(said) = said.recv() {
        match said {
            Said::Line(line) => {
                let _ = output.write_all(&line);
            }
            Said::Last(written) => drop(written),
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(lost, "lines of this log are lost: nobody took them in time");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// An output that nobody takes anything from until it is told so.
    struct Stuck {
        go_on: mpsc::Receiver<()>,
        written: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Stuck {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            // Told once, it goes on for good.
            let _ = self.go_on.recv();
            self.written.send(line.to_vec()).unwrap();
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_nobody_takes_is_dropped_and_counted_and_the_rest_comes_in_order() {
        let (goes_on, go_on) = mpsc::channel();
        let (sender, written) = mpsc::channel();
        let stuck = Stuck {
            go_on,
            written: sender,
        };
        let (log, mut lines) = Log::to(stuck).unwrap();
        for number in 0..MOST_WAITING + 10 {
            lines.write_all(number.to_string().as_bytes()).unwrap();
        }
        // The thread may hold one beside those that wait.
        let dropped = lines.dropped.load(Ordering::Relaxed);
        assert!((9..=10).contains(&dropped), "{dropped}");
        drop(goes_on);
        let first: Vec<Vec<u8>> = written.iter().take(3).collect();
        assert_eq!(first, [b"0", b"1", b"2"]);
        let rest = written.iter().take(MOST_WAITING - 3).count();
        assert_eq!(rest, MOST_WAITING - 3);
        lines.write_all(b"last").unwrap();
        drop(log);
        assert_eq!(written.try_iter().last().unwrap(), b"last");
    }
}
