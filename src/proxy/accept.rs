//! From a listening socket to requests: accept, TLS, HTTP/1.1 or HTTP/2, and a graceful end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::calm::Calm;
use super::connection::{Connection, Tls};
use super::context::{Context, Worker};
use super::guard::{MOST_BUFFERED, PARSED_FIELDS};
use super::handle::{Arrival, handle};
use super::inbound::is_trusted;
use super::patience::{InTurn, Patient, Refusals, Turn, Turns};
use super::preread::preread;
use super::problem::Shed;
use super::unread::{Moving, Streams};
use super::workers::Workers;
use crate::proxy_protocol::Ends;

/// Requests at once on one HTTP/2 connection.
const MOST_STREAMS: u32 = 256;

/// The largest head of an HTTP/2 request, bytes.
const LARGEST_HEAD: u32 = 256 << 10;

/// What an HTTP/2 client may send ahead of its origin, of one request and of all on its connection, bytes.
const STREAM_WINDOW: u32 = 512 << 10;
const CONNECTION_WINDOW: u32 = 2 << 20;

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
        for (socket, (runtime, worker)) in self.sockets.into_iter().zip(workers.iter()) {
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
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let connection = self.clone().serve(stream, peer);
                    tokio::spawn(self.tasks.track_future(connection));
                }
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(BREATHER).await;
                }
            }
        }
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

    /// Logs the heads that the guard refuses.
    fn refusals(&self, connection: &Arc<Connection>) -> Refusals {
        let (context, connection) = (self.context.clone(), connection.clone());
        Box::new(move |problem, head, id| {
            if let Some(log) = &context.live.load().access_log {
                log.refuse(&connection, head, problem, id);
            }
        })
    }

    async fn http1<S>(self, stream: S, client: Arc<Connection>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let plan = self.context.live.load().snapshot.plan.clone();
        let timeouts = plan.listen.timeouts;
        let (stop, turns) = (self.stop.clone(), Turns::new());
        let node = plan.node.name.clone();
        let patient = Patient::new(stream, turns.clone(), timeouts.headers, node)
            .telling(self.refusals(&client));
        let service = service_fn(move |request: Request<Incoming>| {
            let head = Some(turns.head_time());
            self.clone()
                .answer(client.clone(), head, turns.begin(), request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(timeouts.headers.max(timeouts.idle))
            .max_headers(PARSED_FIELDS)
            .max_buf_size(MOST_BUFFERED)
            .serve_connection(TokioIo::new(patient), service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        note_end(ended);
    }

    async fn http2<S>(self, stream: S, client: Arc<Connection>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let timeouts = self.context.live.load().snapshot.plan.listen.timeouts;
        let (stop, turns) = (self.stop.clone(), Turns::new());
        let idle = turns.clone();
        let stream = Calm::new(stream, timeouts.headers);
        let service = service_fn(move |request: Request<Incoming>| {
            self.clone()
                .answer(client.clone(), None, turns.begin(), request)
        });
        let connection = http2::Builder::new(Streams::new(timeouts.idle))
            .timer(TokioTimer::new())
            .keep_alive_interval(timeouts.idle)
            .max_concurrent_streams(MOST_STREAMS)
            .max_header_list_size(LARGEST_HEAD)
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
                    () = idle.until_quiet(timeouts.idle) => Ok(()),
                }
            }
        };
        note_end(ended);
    }

    async fn answer(
        self,
        connection: Arc<Connection>,
        head: Option<Duration>,
        turn: Turn,
        request: Request<Incoming>,
    ) -> Result<http::Response<InTurn>, Infallible> {
        let limits = self.context.live.load().snapshot.plan.listen.limits;
        let in_flight = self.context.crowd.begin(&limits);
        let arrival = Arrival {
            connection: &connection,
            head,
            shed: match &in_flight {
                None => Some(Shed::InFlight),
                Some(_) if self.worker.strain.sheds(fastrand::u32(..1000)) => Some(Shed::Late),
                Some(_) => None,
            },
        };
        // Boxed: hyper keeps room for a request's future as long as the connection is open.
        let response = Box::pin(handle(&self.context, &self.worker, arrival, request)).await;
        if response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
            turn.leave_http();
        }
        Ok(response.map(|body| InTurn::new(body, turn, in_flight)))
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
    }
}

fn note_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "client connection ended");
    }
}
