//! From a listening socket to requests: accept, TLS, HTTP/1.1 or HTTP/2, and a graceful end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Request;
use http::uri::Scheme;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::body::Source;
use super::calm::Calm;
use super::client_cert;
use super::connection::{Connection, Tls};
use super::context::{Context, Worker};
use super::gather::Gather;
use super::handle::{Arrival, handle};
use super::http1::{self, Answer, Handler, Times};
use super::inbound::is_trusted;
use super::interim::Interim;
use super::outcome::count_problem;
use super::preread::preread;
use super::problem::{Problem, Shed};
use super::turns::{InTurn, Turns};
use super::unread::{Moving, Streams};
use super::workers::Workers;
use crate::chance;
use crate::proxy_protocol::Ends;

/// Requests at once on one HTTP/2 connection.
const MOST_STREAMS: u32 = 256;

/// The largest head of an HTTP/2 request, bytes.
const LARGEST_HEAD: u32 = 256 << 10;

/// What an HTTP/2 client may send ahead of its origin, of one request and of all on its connection, bytes. The h2 crate
/// ends a connection on which small DATA frames wait for more than half of its window, counting 256 bytes for each that
/// has less: at this ratio a stream of messages of 29 bytes and more is held back by its own window before that.
const STREAM_WINDOW: u32 = 512 << 10;
const CONNECTION_WINDOW: u32 = 8 << 20;

/// What an answer over HTTP/2 may be ahead of its client, bytes.
const STREAM_BUFFER: usize = 64 << 10;

/// A pause after `accept` failed for want of descriptors or memory, so as not to spin.
const BREATHER: Duration = Duration::from_millis(50);

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

/// One worker's part of a listener.
#[derive(Clone)]
struct Accepting {
    face: Face,
    context: Arc<Context>,
    worker: Arc<Worker>,
    tls: Arc<ArcSwap<ServerConfig>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Accepting {
    async fn run(self, socket: std::net::TcpListener) {
        let listener = match TcpListener::from_std(socket) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "listener lost"),
        };
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.begin(stream, peer),
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(BREATHER).await;
                }
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

    async fn serve(self, stream: TcpStream, peer: SocketAddr) {
        // Small writes must not wait for acknowledgements; failing to say so costs only time.
        let _ = stream.set_nodelay(true);
        let Ok(local) = stream.local_addr() else {
            return; // The peer has gone already.
        };
        let own = Ends {
            source: peer,
            destination: local,
        };
        let plan = self.context.live.load().snapshot.plan.clone();
        let limits = &plan.listen.limits;
        let Some(seat) = self.context.crowd.enter(limits).map(Arc::new) else {
            return;
        };
        let stream = Moving::new(stream, plan.listen.timeouts.idle).holding(seat.clone());
        let Some((stream, ends)) = preread(stream, own, &plan.listen).await else {
            return;
        };
        let client = ends.source.ip().to_canonical();
        // A trusted proxy's own connections carry many clients.
        let is_proxy = is_trusted(client, &plan.listen.trusted_proxies);
        if !is_proxy && !seat.is_granted(client, limits) {
            return;
        }
        match self.face {
            Face::Http => {
                let connection = Connection::new(self.face, peer, ends, None);
                self.http1(stream, connection).await;
            }
            Face::Https => {
                let began = Instant::now();
                let limit = plan.listen.timeouts.handshake;
                let acceptor = TlsAcceptor::from(self.tls.load_full());
                let Ok(Ok(stream)) = tokio::time::timeout(limit, acceptor.accept(stream)).await
                else {
                    metrics::counter!("meridian_tls_handshakes_failed_total").increment(1);
                    return;
                };
                let tls = stream.get_ref().1;
                let is_http2 = tls.alpn_protocol() == Some(b"h2");
                let tls = agreed(tls, began.elapsed());
                let connection = Connection::new(self.face, peer, ends, Some(tls));
                if is_http2 {
                    self.http2(stream, connection).await;
                } else {
                    self.http1(stream, connection).await;
                }
            }
        }
    }

    async fn http1<S>(self, stream: S, client: Arc<Connection>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static,
    {
        let timeouts = self.context.live.load().snapshot.plan.listen.timeouts;
        let times = Times {
            head: timeouts.headers,
            idle: timeouts.idle,
        };
        let stop = self.stop.clone();
        let serving = Serving {
            accepting: self,
            client,
        };
        http1::serve(stream, times, stop, serving).await;
    }

    async fn http2<S>(self, stream: S, client: Arc<Connection>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let timeouts = self.context.live.load().snapshot.plan.listen.timeouts;
        let (stop, turns) = (self.stop.clone(), Turns::new());
        let idle = turns.clone();
        let stream = Gather::new(Calm::new(stream, timeouts.headers));
        let serving = Arc::new(Serving {
            accepting: self,
            client,
        });
        let service = service_fn(move |request: Request<Incoming>| {
            let (serving, turn) = (serving.clone(), turns.begin());
            async move {
                let request = request.map(Source::Hyper);
                let Answer {
                    response,
                    in_flight,
                } = serving.answer_after(None, request, None).await;
                Ok::<_, Infallible>(response.map(|body| InTurn::new(body, turn, in_flight)))
            }
        });
        let connection = http2::Builder::new(Streams::new(timeouts.idle))
            .timer(TokioTimer::new())
            .keep_alive_interval(timeouts.idle)
            .max_concurrent_streams(MOST_STREAMS)
            .max_header_list_size(LARGEST_HEAD)
            .enable_connect_protocol()
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(STREAM_BUFFER)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = idle.until_idle(timeouts.idle) => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    // What was sent last is not taken, or nothing was ever begun.
                    () = idle.until_idle_from_now(timeouts.idle) => Ok(()),
                }
            }
        };
        note_end(ended);
    }
}

/// One client's connection on which requests are answered.
struct Serving {
    accepting: Accepting,
    client: Arc<Connection>,
}

impl Serving {
    async fn answer_after(
        &self,
        head: Option<Duration>,
        request: Request<Source>,
        interim: Option<&Interim>,
    ) -> Answer {
        let Accepting {
            context, worker, ..
        } = &self.accepting;
        let limits = context.live.load().snapshot.plan.listen.limits;
        let in_flight = context.crowd.begin(&limits);
        let arrival = Arrival {
            connection: &self.client,
            head,
            shed: match &in_flight {
                None => Some(Shed::InFlight),
                Some(_) if worker.strain.sheds(chance::below(1000)) => Some(Shed::Late),
                Some(_) => None,
            },
            interim,
        };
        // Boxed: hyper moves it several times for a stream of HTTP/2.
        let response = Box::pin(handle(context, worker, arrival, request)).await;
        Answer {
            response,
            in_flight,
        }
    }
}

impl Handler for Serving {
    async fn answer(
        &self,
        request: Request<Source>,
        head: Duration,
        interim: Option<&Interim>,
    ) -> Answer {
        self.answer_after(Some(head), request, interim).await
    }

    fn refuse(&self, problem: &Problem, head: Option<Duration>) -> Vec<u8> {
        count_problem(problem);
        let id = format!("{:032x}", chance::id_128());
        let live = self.accepting.context.live.load();
        if let Some(log) = &live.access_log {
            log.refuse(&self.client, head, problem, &id);
        }
        problem.as_message(&live.snapshot.plan.node.name, &id)
    }

    fn is_ending(&self) -> bool {
        self.accepting.stop.is_cancelled()
    }
}

/// What a handshake that took this long has agreed on.
fn agreed(tls: &rustls::ServerConnection, handshake: Duration) -> Tls {
    let version = tls.protocol_version().and_then(|version| version.as_str());
    let suite = tls.negotiated_cipher_suite();
    let cipher = suite.and_then(|suite| suite.suite().as_str());
    Tls {
        // rustls calls TLS 1.3 `TLSv1_3`, and its cipher suites `TLS13_…`; IANA and everybody else do not.
        version: version.map(|version| version.replace('_', ".")),
        cipher: cipher.map(|cipher| cipher.replacen("TLS13_", "TLS_", 1)),
        sni: tls.server_name().map(str::to_owned),
        alpn: tls
            .alpn_protocol()
            .map(|protocol| String::from_utf8_lossy(protocol).into_owned()),
        is_resumed: tls.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        handshake,
        client_cert: client_cert::field_of(tls),
    }
}

fn note_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "client connection ended");
    }
}
