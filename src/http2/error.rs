//! How streams and connections end.

use std::fmt;
use std::io;
use std::sync::Arc;

/// Why a stream or a connection ends, as it is said on the wire (RFC 9113 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reason(pub(super) u32);

impl Reason {
    pub(crate) const NO_ERROR: Self = Self(0);
    pub(crate) const PROTOCOL_ERROR: Self = Self(1);
    pub(crate) const INTERNAL_ERROR: Self = Self(2);
    pub(crate) const FLOW_CONTROL_ERROR: Self = Self(3);
    pub(crate) const STREAM_CLOSED: Self = Self(5);
    pub(crate) const FRAME_SIZE_ERROR: Self = Self(6);
    pub(crate) const REFUSED_STREAM: Self = Self(7);
    pub(crate) const CANCEL: Self = Self(8);
    pub(crate) const COMPRESSION_ERROR: Self = Self(9);
    pub(crate) const ENHANCE_YOUR_CALM: Self = Self(11);

    const NAMES: [&'static str; 14] = [
        "no error",
        "protocol error",
        "internal error",
        "flow-control error",
        "settings time-out",
        "stream closed",
        "frame size error",
        "refused stream",
        "cancelled",
        "compression error",
        "CONNECT error",
        "enhance your calm",
        "inadequate security",
        "HTTP/1.1 required",
    ];
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = usize::try_from(self.0).ok();
        match at.and_then(|at| Self::NAMES.get(at)) {
            Some(name) => f.write_str(name),
            None => write!(f, "error {}", self.0),
        }
    }
}

/// What a peer did that it may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {what}")]
pub(crate) struct Wrong {
    pub(super) reason: Reason,
    pub(super) what: &'static str,
}

impl Wrong {
    pub(super) const fn protocol(what: &'static str) -> Self {
        Self {
            reason: Reason::PROTOCOL_ERROR,
            what,
        }
    }

    pub(super) const fn new(reason: Reason, what: &'static str) -> Self {
        Self { reason, what }
    }
}

/// How a connection has ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// Its peer has closed it.
    #[error("the connection was closed")]
    Closed,
    /// Nothing can be read or written any more.
    #[error("{0}")]
    Io(io::Error),
    /// Its peer broke a rule.
    #[error("{0}")]
    Wrong(Wrong),
}

/// Why nothing more comes or goes on a stream.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Its peer gave it up.
    #[error("the stream was reset: {0}")]
    Reset(Reason),
    /// It was reset for what its peer did.
    #[error("{0}")]
    Wrong(Wrong),
    /// Trailers came that are too long.
    #[error("the trailers are too long")]
    TrailersTooLarge,
    /// This side has ended it, or never begun to answer.
    #[error("the stream is over")]
    Over,
    /// Its connection has ended.
    #[error("{0}")]
    Connection(Arc<Ended>),
    /// Its connection has ended before a byte of it was written.
    #[error("{0}, before a byte of the request was sent")]
    Unsent(Arc<Ended>),
    /// Its peer ends the connection, and has not looked at it (RFC 9113 §6.8).
    #[error("the connection is about to end: {0}")]
    Left(Reason),
}

impl Error {
    /// Whether what was written last was not taken in time.
    pub(crate) fn is_late(&self) -> bool {
        match self {
            Self::Connection(ended) => {
                matches!(&**ended, Ended::Io(error) if error.kind() == io::ErrorKind::TimedOut)
            }
            Self::Reset(_) | Self::Wrong(_) | Self::TrailersTooLarge | Self::Over => false,
            Self::Unsent(_) | Self::Left(_) => false,
        }
    }

    /// Whether its peer has not looked at the request (RFC 9113 §8.7).
    pub(crate) fn is_unprocessed(&self) -> bool {
        matches!(self, Self::Reset(Reason::REFUSED_STREAM)) || self.is_left()
    }

    /// Whether that is so because its connection ends.
    pub(crate) fn is_left(&self) -> bool {
        matches!(self, Self::Unsent(_) | Self::Left(_))
    }

    /// Whether its peer broke a rule.
    pub(crate) fn is_wrong(&self) -> bool {
        match self {
            Self::Wrong(_) | Self::TrailersTooLarge => true,
            Self::Connection(ended) => matches!(**ended, Ended::Wrong(_)),
            Self::Reset(_) | Self::Over | Self::Unsent(_) | Self::Left(_) => false,
        }
    }

    /// What its peer did wrong, if the stream alone was reset for that.
    pub(crate) fn wrong(&self) -> Option<&Wrong> {
        match self {
            Self::Wrong(wrong) => Some(wrong),
            Self::Reset(_) | Self::TrailersTooLarge | Self::Over => None,
            Self::Connection(_) | Self::Unsent(_) | Self::Left(_) => None,
        }
    }

    /// Whether its connection has ended without a word.
    pub(crate) fn is_cut_off(&self) -> bool {
        match self {
            Self::Connection(ended) => matches!(**ended, Ended::Closed | Ended::Io(_)),
            Self::Reset(_) | Self::Wrong(_) | Self::TrailersTooLarge | Self::Over => false,
            Self::Unsent(_) | Self::Left(_) => false,
        }
    }
}
