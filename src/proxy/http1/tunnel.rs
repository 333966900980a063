//! A connection that has left HTTP.

use bytes::BytesMut;

use super::super::ahead::Ahead;
use super::Io;

/// A connection that carries something else from here on, of which some may have come behind the last message.
pub(in crate::proxy) type Tunnel = Ahead<Box<dyn Io>>;

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
