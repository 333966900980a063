//! A client's connection from its first byte to its last: PROXY header, TLS, HTTP/1.1 or HTTP/2, and a graceful end.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::accept::{Accepting, Face};
use super::body::Source;
use super::bulk::Bulk;
use super::client_cert;
use super::connection::{Connection, Tls};
use super::handle::{Arrival, handle};
use super::handler::{Answer, Handler, Times};
use super::inbound::is_trusted;
use super::interim::Interim;
use super::outcome::count_problem;
use super::preread::preread;
use super::problem::{Problem, Shed};
use super::sockets::prepare;
use super::tunnel::Io;
use super::unread::Moving;
use super::{http1, http2};
use crate::chance;
use crate::clock;
use crate::proxy_protocol::Ends;
use crate::registered::Registered;

static FAILED_HANDSHAKES: Registered<(), 1> =
    Registered::new(|()| metrics::counter!("meridian_tls_handshakes_failed_total"));

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
        prepare(&stream);
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
            return Some(self.speak(stream, connection, false));
        }
        let began = Instant::now();
        let acceptor = TlsAcceptor::from(self.tls.load_full());
        let accepting = acceptor.accept(Bulk::new(stream));
        let accepted = tokio::time::timeout(plan.listen.timeouts.handshake, accepting).await;
        let Ok(Ok(stream)) = accepted else {
            FAILED_HANDSHAKES.increment(&());
            return None;
        };
        let tls = stream.get_ref().1;
        if client_cert::has_expired(tls, clock::unix_secs().into()) {
            FAILED_HANDSHAKES.increment(&());
            return None;
        }
        let is_http2 = tls.alpn_protocol() == Some(b"h2");
        let tls = agreed(tls, began.elapsed());
        let connection = Connection::new(self.face, peer, ends, Some(tls));
        Some(self.speak(stream, connection, is_http2))
    }

    fn speak(self, stream: impl Io + 'static, client: Arc<Connection>, is_http2: bool) -> Talk {
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
        if is_http2 {
            Box::pin(http2::serve(stream, times, stop, serving))
        } else {
            Box::pin(http1::serve(Box::new(stream), times, stop, serving))
        }
    }
}

/// One client's connection on which requests are answered.
struct Serving {
    accepting: Accepting,
    client: Arc<Connection>,
}

impl Handler for Serving {
    async fn answer(
        &self,
        request: Request<Source>,
        head: Option<Duration>,
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
                Some(_) if context.memory.is_full() => Some(Shed::Memory),
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

    fn refuse(&self, problem: &Problem, head: Option<Duration>) -> Vec<u8> {
        count_problem(problem);
        let id = format!("{:032x}", chance::id_128());
        let live = self.accepting.context.live.load();
        let (message, body) = problem.as_message(&live.snapshot.plan.node.name, &id);
        if let Some(log) = &live.access_log {
            let answered = Some((problem.status(), body));
            log.refuse(&self.client, head, problem, answered, &id);
        }
        message
    }

    fn note_refusal(&self, problem: &Problem, is_answered: bool) {
        count_problem(problem);
        if let Some(log) = &self.accepting.context.live.load().access_log {
            let id = format!("{:032x}", chance::id_128());
            let answered = is_answered.then(|| (problem.status(), 0));
            log.refuse(&self.client, None, problem, answered, &id);
        }
    }

    fn note_reset(&self, interim: &Interim, why: String) {
        interim.break_off(why.clone());
        count_problem(&Problem::Malformed(why));
    }

    fn break_off(&self, why: String) {
        self.client.break_off(why);
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
