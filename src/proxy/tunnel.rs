//! Connections, and streams of them, that have left HTTP.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;
use http::Extensions;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use super::ahead::Ahead;

/// What a connection runs over.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send + Sync {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + Sync> Io for S {}

/// One that carries something else from here on, of which some may have come behind the last message.
pub(super) type Tunnel = Ahead<Box<dyn Io>>;

impl Tunnel {
    pub(super) fn new(ahead: BytesMut, io: Box<dyn Io>) -> Self {
        Self { stream: io, ahead }
    }

    /// One that says nothing.
    pub(super) fn closed() -> Self {
        let nothing = tokio::io::join(tokio::io::empty(), tokio::io::sink());
        Self::new(BytesMut::new(), Box::new(nothing))
    }
}

/// What a client's side becomes once the answer that lets it leave HTTP is on its way.
pub(super) type ClientSide = oneshot::Receiver<Tunnel>;

/// Goes with a request whose client may leave HTTP.
#[derive(Clone)]
struct Leaving(Arc<Mutex<Option<ClientSide>>>);

/// Lets a request's client leave HTTP: what is sent here is its side of the tunnel.
pub(super) fn may_leave(request: &mut Extensions) -> oneshot::Sender<Tunnel> {
    let (leave, left) = oneshot::channel();
    request.insert(Leaving(Arc::new(Mutex::new(Some(left)))));
    leave
}

/// The client's side of a request that may leave HTTP; once.
pub(super) fn take_client_side(request: &mut Extensions) -> Option<ClientSide> {
    let leaving = request.remove::<Leaving>()?;
    let mut side = leaving.0.lock().unwrap_or_else(PoisonError::into_inner);
    side.take()
}
