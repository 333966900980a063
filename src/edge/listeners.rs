//! The sockets of the edge: bound before anything changes, then opened, kept and closed by a reload.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{self, AdminState};
use crate::config::plan::Listen;
use crate::dns;
use crate::proxy::{self, Face, Workers};

/// What is served on an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Protocol {
    Dns,
    DnsTls,
    Https,
    Http,
    Admin,
}

impl Protocol {
    /// As logs and messages call it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::DnsTls => "dns_tls",
            Self::Https => "https",
            Self::Http => "http",
            Self::Admin => "admin",
        }
    }
}

/// An address of the configuration with what it is for.
type Wanted = (Protocol, SocketAddr);

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("listen.{} {address}: {error}", protocol.as_str())]
pub(super) struct ListenError {
    protocol: Protocol,
    address: SocketAddr,
    error: io::Error,
}

/// Bound, not yet serving.
enum Socket {
    Dns(dns::DnsSockets),
    DnsTls(std::net::TcpListener, SocketAddr),
    Proxy(Face, proxy::Listener),
    Admin(std::net::TcpListener, SocketAddr),
}

/// Whether an address is bound for the first time, or taken over from a listener of this edge that is
/// about to close: from a wildcard to one address, or from one protocol to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taking {
    New,
    Over,
}

impl Socket {
    fn bind(
        protocol: Protocol,
        address: SocketAddr,
        threads: usize,
        taking: Taking,
    ) -> io::Result<Self> {
        let tcp = || match taking {
            Taking::New => dns::bind_tcp(address),
            Taking::Over => dns::bind_tcp_beside(address),
        };
        let proxy = || match taking {
            Taking::New => proxy::Listener::bind(address, threads),
            Taking::Over => proxy::Listener::bind_beside(address, threads),
        };
        Ok(match protocol {
            Protocol::Dns => Self::Dns(match taking {
                Taking::New => dns::bind(address, threads)?,
                Taking::Over => dns::bind_beside(address, threads)?,
            }),
            Protocol::DnsTls => {
                let listener = tcp()?;
                let address = listener.local_addr()?;
                Self::DnsTls(listener, address)
            }
            Protocol::Https => Self::Proxy(Face::Https, proxy()?),
            Protocol::Http => Self::Proxy(Face::Http, proxy()?),
            Protocol::Admin => {
                let listener = tcp()?;
                listener.set_nonblocking(true)?;
                let address = listener.local_addr()?;
                Self::Admin(listener, address)
            }
        })
    }

    fn address(&self) -> SocketAddr {
        match self {
            Self::Dns(sockets) => sockets.address,
            Self::Proxy(_, listener) => listener.address(),
            Self::DnsTls(_, address) | Self::Admin(_, address) => *address,
        }
    }
}

/// What serving needs.
pub(super) struct Serving {
    pub(super) dns: Arc<ArcSwap<dns::Live>>,
    /// What networks were sent over UDP; reloads keep it.
    pub(super) rate_limiter: Arc<dns::RateLimiter>,
    pub(super) proxy: Arc<proxy::Context>,
    pub(super) admin: Arc<AdminState>,
    pub(super) https: Arc<ArcSwap<ServerConfig>>,
    pub(super) dot: Arc<ArcSwap<ServerConfig>>,
    pub(super) workers: Arc<Workers>,
    /// Requests and connections, which a drain waits for.
    pub(super) tasks: TaskTracker,
}

/// An open address.
struct Open {
    address: SocketAddr,
    stop: CancellationToken,
}

/// The open addresses.
#[derive(Default)]
pub(super) struct Listeners {
    open: HashMap<Wanted, Open>,
}

/// Sockets bound for addresses that are not open yet.
pub(super) struct Bound(Vec<(Wanted, Socket)>);

impl Listeners {
    /// Binds what is wanted and not open; nothing is served yet, nothing is closed.
    pub(super) fn bind(&self, listen: &Listen, threads: usize) -> Result<Bound, Vec<ListenError>> {
        let (mut bound, mut errors) = (Vec::new(), Vec::new());
        for (protocol, address) in wanted(listen) {
            if self.open.contains_key(&(protocol, address)) {
                continue;
            }
            let taking = self.taking(address, listen);
            match Socket::bind(protocol, address, threads, taking) {
                Ok(socket) => bound.push(((protocol, address), socket)),
                Err(error) => errors.push(ListenError {
                    protocol,
                    address,
                    error,
                }),
            }
        }
        if errors.is_empty() {
            Ok(Bound(bound))
        } else {
            Err(errors)
        }
    }

    /// Whether an open listener that is no longer wanted stands in the way of an address.
    fn taking(&self, address: SocketAddr, listen: &Listen) -> Taking {
        let still: Vec<Wanted> = wanted(listen).collect();
        let overlaps = |open: SocketAddr| {
            let (one, other) = (open.ip(), address.ip());
            open.port() == address.port()
                && address.port() != 0
                && one.is_ipv4() == other.is_ipv4()
                && (one == other || one.is_unspecified() || other.is_unspecified())
        };
        let mut going = self
            .open
            .iter()
            .filter(|(wanted, _)| !still.contains(wanted));
        if going.any(|(_, open)| overlaps(open.address)) {
            Taking::Over
        } else {
            Taking::New
        }
    }

    /// Serves what was bound, and closes what is no longer wanted: connections finish what they began.
    pub(super) fn apply(&mut self, listen: &Listen, Bound(bound): Bound, serving: &Serving) {
        for (wanted, socket) in bound {
            let (address, stop) = (socket.address(), CancellationToken::new());
            serve(socket, serving, &stop);
            tracing::info!("listening {} {address}", wanted.0.as_str());
            self.open.insert(wanted, Open { address, stop });
        }
        let still: Vec<Wanted> = wanted(listen).collect();
        self.open.retain(|wanted, open| {
            let kept = still.contains(wanted);
            if !kept {
                tracing::info!("closing {} {}", wanted.0.as_str(), open.address);
                open.stop.cancel();
            }
            kept
        });
    }

    /// Closes all but the admin: a drain has begun, and must still be seen.
    pub(super) fn close_faces(&mut self) {
        for ((protocol, _), open) in &self.open {
            if *protocol != Protocol::Admin {
                open.stop.cancel();
            }
        }
    }

    /// Closes all.
    pub(super) fn close(&mut self) {
        for open in self.open.values() {
            open.stop.cancel();
        }
    }

    /// The first open address of a protocol.
    pub(super) fn address(&self, protocol: Protocol) -> Option<SocketAddr> {
        let mut of_protocol: Vec<_> = self
            .open
            .iter()
            .filter(|((p, _), _)| *p == protocol)
            .collect();
        of_protocol.sort_by_key(|((_, address), _)| *address);
        of_protocol.first().map(|(_, open)| open.address)
    }
}

fn wanted(listen: &Listen) -> impl Iterator<Item = Wanted> {
    let of = |protocol: Protocol, addresses: &[SocketAddr]| {
        addresses
            .iter()
            .map(move |address| (protocol, *address))
            .collect::<Vec<_>>()
    };
    [
        of(Protocol::Dns, &listen.dns),
        of(Protocol::DnsTls, &listen.dns_tls),
        of(Protocol::Https, &listen.https),
        of(Protocol::Http, &listen.http),
        of(Protocol::Admin, listen.admin.as_slice()),
    ]
    .into_iter()
    .flatten()
}

/// Says what ended a listener that nobody had stopped.
async fn told(protocol: &'static str, serving: impl Future<Output = io::Result<()>>) {
    if let Err(error) = serving.await {
        tracing::error!(protocol, %error, "listener lost");
    }
}

fn serve(socket: Socket, serving: &Serving, stop: &CancellationToken) {
    let Serving {
        dns: live,
        rate_limiter,
        proxy,
        admin,
        https,
        dot,
        workers,
        tasks,
    } = serving;
    match socket {
        Socket::Dns(sockets) => {
            for udp in sockets.udp {
                if let Err(error) =
                    dns::serve_udp(udp, live.clone(), rate_limiter.clone(), stop.clone())
                {
                    tracing::error!(%error, "a DNS thread did not start");
                }
            }
            tasks.spawn(told(
                "dns",
                dns::serve_tcp(sockets.tcp, live.clone(), stop.clone()),
            ));
        }
        Socket::DnsTls(listener, _) => {
            let serving = dns::serve_tls(listener, dot.clone(), live.clone(), stop.clone());
            tasks.spawn(told("dns_tls", serving));
        }
        Socket::Proxy(face, listener) => listener.serve(face, workers, proxy, https, tasks, stop),
        Socket::Admin(listener, address) => match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => {
                let serving = admin::serve(
                    listener,
                    address,
                    admin.clone(),
                    TaskTracker::new(),
                    stop.clone(),
                );
                tokio::spawn(serving);
            }
            Err(error) => tracing::error!(%error, "admin listener lost"),
        },
    }
}
