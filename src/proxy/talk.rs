//! A client's connection from its first byte to its last: PROXY header, TLS, HTTP/1.1 or HTTP/2, and a graceful end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::accept::{Accepting, Face};
use super::body::Source;
use super::calm::Calm;
use super::client_cert;
use super::connection::{Connection, Tls};
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
use crate::chance;
use crate::proxy_protocol::Ends;
use crate::registered::Registered;

static FAILED_HANDSHAKES: Registered<(), 1> =
    Registered::new(|()| metrics::counter!("meridian_tls_handshakes_failed_total"));

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

/// What is spoken on a connection that is open.
type Talk = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Accepting {
    /// Serves a connection until it ends.
    pub(super) async fn serve(self, stream: TcpStream, peer: SocketAddr) {
        // Boxed, one after the other: a connection that is open has no room for how it was opened.
        if let Some(talk) = Box::pin(self.open(stream, peer)).await {
            talk.await;
        }
    }

    /// Opens a connection; what is then spoken on it.
    async fn open(self, stream: TcpStream, peer: SocketAddr) -> Option<Talk> {
        // Small writes must not wait for acknowledgements; failing to say so costs only time.
        let _ = stream.set_nodelay(true);
        let own = Ends {
            source: peer,
            destination: stream.local_addr().ok()?, // The peer may have gone already.
        };
        let plan = self.context.live.load().snapshot.plan.clone();
        let limits = &plan.listen.limits;
        let seat = self.context.crowd.enter(limits).map(Arc::new)?;
        let stream = Moving::new(stream, plan.listen.timeouts.idle).holding(seat.clone());
        let (stream, ends) = preread(stream, own, &plan.listen).await?;
        let client = ends.source.ip().to_canonical();
        // A trusted proxy's own connections carry many clients.
        let is_proxy = is_trusted(client, &plan.listen.trusted_proxies);
        if !is_proxy && !seat.is_granted(client, limits) {
            return None;
        }
        if self.face == Face::Http {
            let connection = Connection::new(self.face, peer, ends, None);
            return Some(self.http1(stream, connection));
        }
        let began = Instant::now();
        let acceptor = TlsAcceptor::from(self.tls.load_full());
        let accepting = acceptor.accept(stream);
        let accepted = tokio::time::timeout(plan.listen.timeouts.handshake, accepting).await;
        let Ok(Ok(stream)) = accepted else {
            FAILED_HANDSHAKES.increment(&());
            return None;
        };
        let tls = stream.get_ref().1;
        let is_http2 = tls.alpn_protocol() == Some(b"h2");
        let tls = agreed(tls, began.elapsed());
        let connection = Connection::new(self.face, peer, ends, Some(tls));
        Some(if is_http2 {
            Box::pin(self.http2(stream, connection))
        } else {
            self.http1(stream, connection)
        })
    }

    fn http1<S>(self, stream: S, client: Arc<Connection>) -> Talk
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
        Box::pin(http1::serve(Box::new(stream), times, stop, serving))
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
                // Boxed: hyper moves it several times.
                let Answer {
                    response,
                    in_flight,
                } = Box::pin(serving.answer_after(None, request, None)).await;
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
        let response = handle(context, worker, arrival, request).await;
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
