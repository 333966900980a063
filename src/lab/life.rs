//! Tasks that end together, and the connections of a listener among them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections that one listener serves at once; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 1024;
/// After a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Tasks that are cut off when their life ends.
#[derive(Clone, Debug)]
pub(super) struct Life {
    cut: CancellationToken,
    tasks: TaskTracker,
}

impl Life {
    /// A life that ends with its parent's at the latest.
    pub(super) fn begin(parent: &CancellationToken) -> Self {
        Self {
            cut: parent.child_token(),
            tasks: TaskTracker::new(),
        }
    }

    /// Runs a task, which is dropped where it stands when this life ends.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let cut = self.cut.clone();
        self.tasks.spawn(async move {
            cut.run_until_cancelled_owned(task).await;
        });
    }

    /// Ends every task and returns when the last is gone, with its sockets.
    pub(super) async fn end(&self) {
        self.cut.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Serves HTTP/1.1; connections are cut, not drained, when this life ends.
    pub(super) fn serve(&self, listener: TcpListener, router: Router) {
        self.spawn(accept(listener, router, self.clone()));
    }
}

async fn accept(listener: TcpListener, router: Router, life: Life) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => life.spawn(converse(stream, router.clone(), place)),
            Err(error) => {
                tracing::debug!(%error, "a connection to the lab was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, router: Router, _place: OwnedSemaphorePermit) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "small answers of the lab may come late");
    }
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new()) // Without a timer there is no limit on how long a head may take.
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = conversation.await {
        tracing::debug!(%error, "a connection to the lab ended early");
    }
}
