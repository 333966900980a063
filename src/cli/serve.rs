//! `meridian serve`.

use std::num::NonZeroUsize;
use std::pin::pin;

use clap::Args;
use nix::libc::SIGXFSZ;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::logs::Logs;
use super::successor::Program;
use super::{Config, Done, Failed};
use crate::admin::Metrics;
use crate::edge::{Edge, News, Source, Start, StartError, tell};

/// Runs the edge: DNS, health checks, proxy, admin
///
/// SIGHUP reloads the configuration, as a change of its files does; SIGTERM and SIGINT drain and end.
/// SIGUSR2 starts the program anew with `--upgrade`.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    config: Config,
    /// Take over from the edge that runs with this configuration, without losing a request
    ///
    /// It hands over its sockets and all that it has learned, and finishes what it has begun. It is found by
    /// `node.upgrade_socket` (default: upgrade.sock in `node.state_dir`); if none runs, this is a fresh start.
    #[arg(long)]
    upgrade: bool,
    #[command(flatten)]
    logs: Logs,
}

impl Serve {
    pub(super) fn run(self) -> Done {
        let _log = self.logs.start()?;
        let runtime = runtime()?;
        let done = runtime.block_on(async {
            let (signals, program) = (Signals::catch()?, Program::note()?);
            let whose_place = if self.upgrade {
                Start::Upgrade
            } else {
                Start::Fresh
            };
            let hint = self.config.hint("");
            let edge = start(Source::paths(self.config.paths), whose_place)
                .await
                .map_err(|Failed(why)| Failed(why + &hint))?;
            tracing::info!("ready");
            tell(News::Ready);
            tokio::select! {
                done = signals.obey(edge) => done,
                never = program.start_when_asked() => match never {},
            }
        });
        // A thread that waits for a file system that hangs may wait for ever.
        runtime.shutdown_background();
        done
    }
}

/// The runtime of everything that is not a request: checks, control, admin, DNS over TCP.
pub(super) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("control")
        .enable_all()
        .build()
}

/// Starts an edge with a thread per core.
pub(super) async fn start(source: Source, whose_place: Start) -> Result<Edge, Failed> {
    crate::proxy::raise_descriptors();
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let metrics = Metrics::install()?;
    Edge::start(source, metrics, threads, whose_place)
        .await
        .map_err(|error| match error {
            StartError::Config(problems) => Failed(problems.to_string()),
            StartError::Listen(_)
            | StartError::Predecessor(_)
            | StartError::Store(_)
            | StartError::Claim(_)
            | StartError::System(_) => Failed::from(error),
        })
}

/// The signals that a server obeys; to be caught before it starts, so that none ends it by default.
pub(super) struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Catches them from now on.
    pub(super) fn catch() -> std::io::Result<Self> {
        // What was caught once is so for good: a write past `RLIMIT_FSIZE` fails, and ends nobody.
        drop(signal(SignalKind::from_raw(SIGXFSZ))?);
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Reloads on SIGHUP; drains and returns on SIGTERM or SIGINT, without waiting for anybody on a second one, and when
    /// another process has taken over. A third ends it as it is.
    pub(super) async fn obey(mut self, edge: Edge) -> Done {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => edge.reload(),
                _ = self.terminate.recv() => break tell(News::Stopping),
                _ = self.interrupt.recv() => break tell(News::Stopping),
                // Whoever supervises this process looks at the other one by now.
                () = edge.succeeded() => break,
            }
        }
        tracing::info!("draining");
        let hurry = CancellationToken::new();
        let mut draining = pin!(edge.drain(&hurry));
        loop {
            tokio::select! {
                () = &mut draining => {
                    tracing::info!("done");
                    return Ok(());
                }
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
            if hurry.is_cancelled() {
                tracing::warn!("told three times to end: what is not saved is lost");
                return Ok(());
            }
            hurry.cancel();
        }
    }
}
