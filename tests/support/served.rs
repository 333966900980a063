//! An HTTP server on loopback that ends with the test.

use std::net::SocketAddr;

use axum::Router;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// A server on a thread of its own.
pub struct Served {
    pub address: SocketAddr,
    runtime: Option<(Runtime, JoinHandle<std::io::Result<()>>)>,
}

impl Served {
    /// Serves on this address; port 0 takes a free one.
    pub fn start_on(address: SocketAddr, router: Router) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind(address))
            .unwrap();
        let address = listener.local_addr().unwrap();
        let serving = runtime.spawn(async move { axum::serve(listener, router).await });
        Self {
            address,
            runtime: Some((runtime, serving)),
        }
    }

    /// The same on a free port of loopback.
    pub fn start(router: Router) -> Self {
        Self::start_on("127.0.0.1:0".parse().unwrap(), router)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Refuses new connections and cuts every other, in the order in which a system closes what a process had that is killed.
    pub fn stop(&mut self) {
        if let Some((runtime, serving)) = self.runtime.take() {
            serving.abort();
            let _ = runtime.block_on(serving);
            runtime.shutdown_background();
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop();
    }
}
