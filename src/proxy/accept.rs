//! From a listening socket to connections.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::uri::Scheme;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::context::{Context, Worker};
use super::workers::Workers;

/// A pause after `accept` failed for want of descriptors or memory, so as not to spin.
const BREATHER: Duration = Duration::from_millis(50);

/// How long nothing is said of such failures once some were told of.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// TLS, HTTP/2 or HTTP/1.1 by ALPN.
    Https,
    /// HTTP/1.1 in clear.
    Http,
}

/// A bound address, one socket a worker.
pub struct Listener {
    sockets: Vec<std::net::TcpListener>,
    address: SocketAddr,
}

impl Face {
    pub(super) fn scheme(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }

    pub(super) fn uri_scheme(self) -> Scheme {
        match self {
            Self::Https => Scheme::HTTPS,
            Self::Http => Scheme::HTTP,
        }
    }
}

impl Listener {
    /// Binds one `SO_REUSEPORT` socket a worker. Somebody else's listener on the address, even one
    /// that would share it, is an error.
    pub fn bind(address: SocketAddr, workers: usize) -> io::Result<Self> {
        drop(bind_one(address, false)?);
        Self::bind_beside(address, workers)
    }

    /// Binds an address on which this process listens already, with sockets that are about to be closed.
    pub fn bind_beside(address: SocketAddr, workers: usize) -> io::Result<Self> {
        let first = bind_one(address, true)?;
        let address = first.local_addr()?;
        let mut sockets = vec![first];
        for _ in 1..workers.max(1) {
            sockets.push(bind_one(address, true)?);
        }
        Ok(Self { sockets, address })
    }

    /// Listens with sockets that another process has bound: with each of them, because connections may wait in
    /// any, and each worker with one.
    pub fn adopt(sockets: Vec<OwnedFd>, workers: usize) -> io::Result<Self> {
        let sockets = sockets.into_iter().map(std::net::TcpListener::from);
        let mut sockets: Vec<_> = sockets.collect();
        let none = || io::Error::other("no socket was passed for it");
        let first = sockets.first().ok_or_else(none)?;
        let address = first.local_addr()?;
        let shared = (sockets.len()..workers).map(|_| first.try_clone());
        let shared = shared.collect::<io::Result<Vec<_>>>()?;
        sockets.extend(shared);
        for socket in &sockets {
            socket.set_nonblocking(true)?;
        }
        Ok(Self { sockets, address })
    }

    /// Its sockets.
    pub fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(AsFd::as_fd)
    }

    /// Where it listens; the port that was picked if it was to pick one.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts on every worker until `stop`; connections then finish what they have begun.
    pub fn serve(
        self,
        face: Face,
        workers: &Workers,
        context: &Arc<Context>,
        tls: &Arc<ArcSwap<ServerConfig>>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let workers: Vec<_> = workers.iter().collect();
        let workers = workers.into_iter().cycle();
        for (socket, (runtime, worker)) in self.sockets.into_iter().zip(workers) {
            let accepting = Accepting {
                face,
                context: context.clone(),
                worker: worker.clone(),
                tls: tls.clone(),
                tasks: tasks.clone(),
                stop: stop.clone(),
            };
            runtime.spawn(tasks.track_future(accepting.run(socket)));
        }
    }
}

fn bind_one(address: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if shared {
        socket.listen(1024)?;
    }
    Ok(socket.into())
}

/// The next connection, however often `accept` fails before it.
async fn next(listener: &TcpListener, failures: &mut Failures) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                if let Some(times) = failures.tell(Instant::now()) {
                    tracing::warn!(%error, times, "accept failed");
                }
            }
        }
        tokio::time::sleep(BREATHER).await;
    }
}

/// Failures of `accept`, which come by the dozen when there are no descriptors left.
#[derive(Default)]
struct Failures {
    told: Option<Instant>,
    untold: u64,
}

impl Failures {
    /// Counts another; how many are to be told of, unless some were a moment ago.
    fn tell(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        if self.told.is_some_and(|told| now < told + TOLD_EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// One worker's part of a listener.
#[derive(Clone)]
pub(super) struct Accepting {
    pub(super) face: Face,
    pub(super) context: Arc<Context>,
    pub(super) worker: Arc<Worker>,
    pub(super) tls: Arc<ArcSwap<ServerConfig>>,
    tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

impl Accepting {
    async fn run(self, socket: std::net::TcpListener) {
        let listener = match TcpListener::from_std(socket) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "listener lost"),
        };
        let mut failures = Failures::default();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                (stream, peer) = next(&listener, &mut failures) => self.begin(stream, peer),
            }
        }
        if let Err(error) = self.accept_the_rest(listener) {
            tracing::warn!(%error, "connections that waited are lost");
        }
    }

    fn begin(&self, stream: TcpStream, peer: SocketAddr) {
        let connection = self.clone().serve(stream, peer);
        tokio::spawn(self.tasks.track_future(connection));
    }

    /// Accepts what waits in the listener, which would be reset when it closes.
    fn accept_the_rest(&self, listener: TcpListener) -> io::Result<()> {
        let listener = listener.into_std()?;
        while let Ok((stream, peer)) = listener.accept() {
            stream.set_nonblocking(true)?;
            self.begin(TcpStream::from_std(stream)?, peer);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// What is logged, a line each.
    #[derive(Clone, Default)]
    struct Logged(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Logged {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            logged.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_accept_that_fails_without_end_is_tried_twenty_times_a_second_and_told_of_every_ten()
    {
        let logged = Logged::default();
        let writer = logged.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone());
        let _guard = tracing::subscriber::set_default(subscriber.finish());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // Linux refuses every accept of a listener that is shut down.
        socket2::SockRef::from(&listener)
            .shutdown(std::net::Shutdown::Both)
            .unwrap();
        let mut failures = Failures::default();
        let next = next(&listener, &mut failures);
        let a_while = Duration::from_secs(25);
        assert!(tokio::time::timeout(a_while, next).await.is_err());
        let logged = logged.0.lock().unwrap();
        let logged = String::from_utf8_lossy(&logged);
        let times = logged.lines().map(|line| {
            line.rsplit("times=")
                .next()
                .unwrap()
                .trim()
                .parse()
                .unwrap()
        });
        let [1, first, second] = times.collect::<Vec<u32>>()[..] else {
            panic!("three times in 25 s: {logged}");
        };
        for in_ten_seconds in [first, second] {
            assert!((190..=210).contains(&in_ten_seconds), "{logged}");
        }
    }
}
