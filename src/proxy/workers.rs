//! Worker threads: each a current-thread runtime with pools of its own.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

use super::context::{Context, Worker};
use super::{memory, pool, strain};
use crate::per_core::serve_on;

/// The worker threads of the proxy.
pub struct Workers {
    workers: Vec<(Handle, Arc<Worker>)>,
    threads: Vec<JoinHandle<()>>,
    stop: CancellationToken,
}

impl Workers {
    /// Starts `count` threads.
    pub fn start(count: usize) -> std::io::Result<Self> {
        let stop = CancellationToken::new();
        let (mut workers, mut threads) = (Vec::new(), Vec::new());
        let count = count.max(1);
        for index in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            workers.push((runtime.handle().clone(), Arc::new(Worker::one_of(count))));
            let stop = stop.clone();
            let thread = std::thread::Builder::new()
                .name(format!("http-{index}"))
                .spawn(move || {
                    serve_on(index);
                    runtime.block_on(stop.cancelled());
                })?;
            threads.push(thread);
        }
        Ok(Self {
            workers,
            threads,
            stop,
        })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.workers.len()
    }

    /// Lets every worker see whether it keeps up, and look after its pool, from now on; and one of them to the memory of all.
    pub fn watch(&self, context: &Arc<Context>) {
        if let Some((runtime, _)) = self.iter().next() {
            runtime.spawn(memory::watch(context.clone()));
        }
        for (runtime, worker) in self.iter() {
            runtime.spawn(pool::keep_swept(worker.clone()));
            runtime.spawn(strain::watch(worker.clone(), context.clone()));
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Handle, &Arc<Worker>)> {
        self.workers.iter().map(|(handle, worker)| (handle, worker))
    }

    /// Stops the threads, and with them every connection that is left.
    pub fn stop(self) {
        self.stop.cancel();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a proxy worker has panicked");
            }
        }
    }
}
