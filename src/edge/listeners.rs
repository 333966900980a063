//! The sockets of the edge: bound before anything changes, then opened, kept and closed by a reload.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::inherited::{Inherited, local_address};
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

    /// The inverse of [`as_str`](Self::as_str).
    pub(super) fn named(name: &str) -> Option<Self> {
        let all = [
            Self::Dns,
            Self::DnsTls,
            Self::Https,
            Self::Http,
            Self::Admin,
        ];
        all.into_iter().find(|protocol| protocol.as_str() == name)
    }
}

/// An address of the configuration with what it is for.
type Wanted = (Protocol, SocketAddr);

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("listen.{} {address}: {error}{}", protocol.as_str(), advice(error.kind()))]
pub(super) struct ListenError {
    protocol: Protocol,
    address: SocketAddr,
    error: io::Error,
}

/// What may be done about an address that is not to be had.
fn advice(kind: io::ErrorKind) -> &'static str {
    use io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
    if kind == AddrInUse {
        ": another process listens there, which `ss -lntup` names; `meridian serve --upgrade` takes over from a running edge"
    } else if kind == PermissionDenied {
        ": a port below 1024 takes root or CAP_NET_BIND_SERVICE"
    } else if kind == AddrNotAvailable {
        ": no interface of this machine has the address"
    } else {
        ""
    }
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

    /// Listens with sockets that another process has bound.
    fn adopt(protocol: Protocol, sockets: Vec<OwnedFd>, threads: usize) -> io::Result<Self> {
        let one = |mut sockets: Vec<OwnedFd>| match (sockets.pop(), sockets.is_empty()) {
            (Some(socket), true) => {
                let address = local_address(&socket)?;
                let listener = std::net::TcpListener::from(socket);
                listener.set_nonblocking(true)?;
                Ok((listener, address))
            }
            (Some(_) | None, _) => Err(io::Error::other("one socket is to be passed for it")),
        };
        Ok(match protocol {
            Protocol::Dns => Self::Dns(dns::adopt(sockets, threads)?),
            Protocol::DnsTls => {
                let (listener, address) = one(sockets)?;
                Self::DnsTls(listener, address)
            }
            Protocol::Https => Self::Proxy(Face::Https, proxy::Listener::adopt(sockets, threads)?),
            Protocol::Http => Self::Proxy(Face::Http, proxy::Listener::adopt(sockets, threads)?),
            Protocol::Admin => {
                let (listener, address) = one(sockets)?;
                Self::Admin(listener, address)
            }
        })
    }

    /// Its sockets once more.
    fn duplicates(&self) -> io::Result<Vec<OwnedFd>> {
        let duplicate = |socket: std::os::fd::BorrowedFd<'_>| socket.try_clone_to_owned();
        match self {
            Self::Dns(sockets) => {
                let udp = sockets.udp.iter().map(AsFd::as_fd);
                udp.chain([sockets.tcp.as_fd()]).map(duplicate).collect()
            }
            Self::Proxy(_, listener) => listener.sockets().map(duplicate).collect(),
            Self::DnsTls(listener, _) | Self::Admin(listener, _) => {
                Ok(vec![duplicate(listener.as_fd())?])
            }
        }
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
    /// Those of the admin, which it does not wait for.
    pub(super) admin_tasks: TaskTracker,
}

/// An open address.
struct Open {
    address: SocketAddr,
    /// Those that are served, to be handed to a successor.
    sockets: Vec<OwnedFd>,
    stop: CancellationToken,
}

impl Open {
    /// Ends it; what waits in its sockets is served by whoever holds them too.
    fn close(&mut self) {
        self.stop.cancel();
        self.sockets.clear();
    }
}

/// How long the sockets of an address that was closed may still be there: whoever serves them finishes what waits in them
/// first, DNS a tenth of a second later.
const CLOSING: Duration = Duration::from_secs(2);

/// The open addresses.
#[derive(Default)]
pub(super) struct Listeners {
    open: HashMap<Wanted, Open>,
    /// Those that were closed of late, and when.
    closed: Vec<(SocketAddr, Instant)>,
}

/// Sockets bound for addresses that are not open yet.
pub(super) struct Bound(Vec<(Wanted, Socket, Vec<OwnedFd>)>);

impl Bound {
    fn port(&self, wanted: Wanted) -> Option<u16> {
        let mut bound = self.0.iter();
        let (_, socket, _) = bound.find(|(bound, ..)| *bound == wanted)?;
        Some(socket.address().port())
    }
}

impl Listeners {
    /// Notes which ports https has, be it open or about to be.
    pub(super) fn note_ports(&self, listen: &mut Listen, bound: &Bound) {
        let port = |address: &SocketAddr| {
            let wanted = (Protocol::Https, *address);
            let open = self.open.get(&wanted).map(|open| open.address.port());
            open.or_else(|| bound.port(wanted))
                .unwrap_or(address.port())
        };
        listen.https_ports = listen.https.iter().map(port).collect();
    }

    /// Binds what is wanted and neither open nor inherited; nothing is served yet, nothing is closed.
    pub(super) fn bind(
        &self,
        listen: &Listen,
        inherited: &mut Inherited,
        threads: usize,
    ) -> Result<Bound, Vec<ListenError>> {
        let (mut bound, mut errors) = (Vec::new(), Vec::new());
        let lacking = wanted(listen).filter(|wanted| !self.open.contains_key(wanted));
        let (passed, new): (Vec<_>, Vec<_>) = lacking
            .map(|wanted| (wanted, inherited.take(wanted.0, wanted.1)))
            .partition(|(_, sockets)| sockets.is_some());
        for ((protocol, address), sockets) in passed.into_iter().chain(new) {
            let socket = match sockets {
                Some(sockets) => Socket::adopt(protocol, sockets, threads),
                None => {
                    let taking = self.taking(address, listen, inherited);
                    Socket::bind(protocol, address, threads, taking)
                }
            };
            match socket.and_then(|socket| Ok((socket.duplicates()?, socket))) {
                Ok((duplicates, socket)) => bound.push(((protocol, address), socket, duplicates)),
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

    /// Whether a listener that is no longer wanted, or was not of late, stands in the way of an address, be it this edge's or
    /// its predecessor's.
    fn taking(&self, address: SocketAddr, listen: &Listen, inherited: &Inherited) -> Taking {
        let still: Vec<Wanted> = wanted(listen).collect();
        let overlaps = |open: SocketAddr| {
            let (one, other) = (open.ip(), address.ip());
            open.port() == address.port()
                && address.port() != 0
                && one.is_ipv4() == other.is_ipv4()
                && (one == other || one.is_unspecified() || other.is_unspecified())
        };
        let going = self
            .open
            .iter()
            .filter(|(wanted, _)| !still.contains(wanted))
            .map(|(_, open)| open.address);
        let closing = self.closed.iter().filter(|(_, at)| at.elapsed() < CLOSING);
        let closing = closing.map(|(address, _)| *address);
        if going.chain(inherited.left()).chain(closing).any(overlaps) {
            Taking::Over
        } else {
            Taking::New
        }
    }

    /// Every socket once more, with a list of what they are for.
    pub(super) fn duplicates(&self) -> io::Result<(Value, Vec<OwnedFd>)> {
        let (mut list, mut sockets) = (Vec::new(), Vec::new());
        for ((protocol, address), open) in &self.open {
            for socket in &open.sockets {
                list.push(Inherited::listed(*protocol, *address));
                sockets.push(socket.try_clone()?);
            }
        }
        Ok((Value::from(list), sockets))
    }

    /// Serves what was bound, and closes what is no longer wanted: connections finish what they began.
    pub(super) fn apply(&mut self, listen: &Listen, Bound(bound): Bound, serving: &Serving) {
        for (wanted, socket, sockets) in bound {
            let (address, stop) = (socket.address(), CancellationToken::new());
            serve(socket, serving, &stop);
            tracing::info!("listening {} {address}", wanted.0.as_str());
            let open = Open {
                address,
                sockets,
                stop,
            };
            self.open.insert(wanted, open);
        }
        let still: Vec<Wanted> = wanted(listen).collect();
        self.closed.retain(|(_, at)| at.elapsed() < CLOSING);
        self.open.retain(|wanted, open| {
            let kept = still.contains(wanted);
            if !kept {
                tracing::info!("closing {} {}", wanted.0.as_str(), open.address);
                open.close();
                self.closed.push((open.address, Instant::now()));
            }
            kept
        });
    }

    /// Closes all but the admin: a drain has begun, and must still be seen.
    pub(super) fn close_faces(&mut self) {
        for ((protocol, _), open) in &mut self.open {
            if *protocol != Protocol::Admin {
                open.close();
            }
        }
    }

    /// Closes all.
    pub(super) fn close(&mut self) {
        for open in self.open.values_mut() {
            open.close();
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
        admin_tasks,
    } = serving;
    match socket {
        Socket::Dns(sockets) => {
            match dns::Queues::of(&sockets.udp) {
                Ok(queues) => drop(tasks.spawn(queues.watch(stop.clone()))),
                Err(error) => tracing::warn!(%error, "what DNS drops is not all counted"),
            }
            for (core, udp) in sockets.udp.into_iter().enumerate() {
                let (live, limiter) = (live.clone(), rate_limiter.clone());
                if let Err(error) = dns::serve_udp(udp, core, live, limiter, tasks, stop.clone()) {
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
                    admin_tasks.clone(),
                    stop.clone(),
                );
                tokio::spawn(serving);
            }
            Err(error) => tracing::error!(%error, "admin listener lost"),
        },
    }
}
