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
        self.spawn(accept(listener, router, self.clone(), places()));
    }
}

fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(CONNECTIONS_MAX))
}

async fn accept(listener: TcpListener, router: Router, life: Life, places: Arc<Semaphore>) {
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

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Asks, and reads the head of an answer without a body.
    async fn converse_once(stream: &mut TcpStream) {
        ask(stream).await;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 404"));
    }

    async fn ask(stream: &mut TcpStream) {
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: lab\r\n\r\n")
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn the_1025th_connection_waits_until_another_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let life = Life::begin(&CancellationToken::new());
        let places = places();
        // All but one are taken already.
        let _others = places.clone().acquire_many_owned(1_023).await.unwrap();
        life.spawn(accept(
            listener,
            Router::new(),
            life.clone(),
            places.clone(),
        ));
        let mut first = TcpStream::connect(address).await.unwrap();
        converse_once(&mut first).await;
        let mut second = TcpStream::connect(address).await.unwrap();
        ask(&mut second).await;
        // All of it runs on this thread: whoever had a place would have its answer by then.
        for _ in 0..20 {
            converse_once(&mut first).await;
        }
        let waits = second.try_read(&mut [0; 1]).unwrap_err();
        assert_eq!(waits.kind(), ErrorKind::WouldBlock);
        drop(first);
        assert_eq!(second.read_u8().await.unwrap(), b'H');
        life.end().await;
    }
}
