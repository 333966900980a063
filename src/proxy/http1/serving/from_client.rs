//! The body of a client's request, read as it comes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::ReadHalf;

use super::super::inbox::Inbox;
use super::line::{Desk, Ended, GivenBack};
use crate::proxy::body::BodyError;
use crate::proxy::guard::{Part, Requests};
use crate::proxy::tunnel::Io;

/// A request's body.
pub(in crate::proxy) struct FromClient(Rest);

/// What is left of it.
enum Rest {
    Nothing,
    /// All of it has come.
    Whole(Bytes),
    Lent(Lent),
    /// Its client is gone, and whoever waits for it is about to be.
    Lost,
}

/// The reading side of a connection.
struct Lent {
    half: ReadHalf<Box<dyn Io>>,
    inbox: Box<Inbox<Requests>>,
    desk: Arc<Desk>,
    /// Whether its client waits until it is asked for it (RFC 9110 §10.1.1).
    waits: bool,
}

impl FromClient {
    pub(super) fn none() -> Self {
        Self(Rest::Nothing)
    }

    pub(super) fn whole(bytes: Bytes) -> Self {
        Self(Rest::Whole(bytes))
    }

    pub(super) fn lent(
        half: ReadHalf<Box<dyn Io>>,
        inbox: Box<Inbox<Requests>>,
        desk: Arc<Desk>,
        waits: bool,
    ) -> Self {
        Self(Rest::Lent(Lent {
            half,
            inbox,
            desk,
            waits,
        }))
    }

    /// The connection may go on, or end, without this body.
    fn give_back(&mut self, ended: Option<Ended>) {
        if let Rest::Lent(lent) = std::mem::replace(&mut self.0, Rest::Nothing) {
            lent.desk.give_back(GivenBack {
                half: lent.half,
                inbox: lent.inbox,
                ended,
            });
        }
    }
}

impl Drop for FromClient {
    fn drop(&mut self) {
        self.give_back(None);
    }
}

/// Why no more of a body comes.
enum Cut {
    /// It is no body, or its client has ended its side within it: whoever reads it has an answer to that.
    Short(BodyError, Ended),
    /// Its connection broke: nobody hears an answer.
    Lost,
}

impl Lent {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Part>, Cut>> {
        loop {
            let part = self.inbox.part();
            let part =
                part.map_err(|refusal| Cut::Short(BodyError::broken(refusal), Ended::GivenUp))?;
            if part.is_some() || self.inbox.messages.is_over() {
                return Poll::Ready(Ok(part));
            }
            if std::mem::take(&mut self.waits) {
                self.desk.ask_for_body();
            }
            match ready!(self.inbox.poll_fill(&mut self.half, cx)) {
                Ok(1..) => {}
                Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                    return Poll::Ready(Err(Cut::Lost));
                }
                // Over TLS an end may come without a word.
                Ok(0) | Err(_) => {
                    let why = BodyError::broken("the connection was closed before its end");
                    return Poll::Ready(Err(Cut::Short(why, Ended::Closed)));
                }
            }
        }
    }
}

impl HttpBody for FromClient {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let lent = match &mut self.0 {
            Rest::Nothing => return Poll::Ready(None),
            Rest::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Rest::Nothing;
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            Rest::Lent(lent) => lent,
            Rest::Lost => return Poll::Pending,
        };
        let part = ready!(lent.poll_part(cx));
        let is_over = lent.inbox.messages.is_over();
        Poll::Ready(match part {
            Ok(part) => {
                if is_over {
                    self.give_back(None);
                }
                part.map(|part| {
                    Ok(match part {
                        Part::Data(data) => Frame::data(data),
                        Part::Trailers(trailers) => Frame::trailers(trailers),
                    })
                })
            }
            Err(Cut::Short(error, ended)) => {
                self.give_back(Some(ended));
                Some(Err(error))
            }
            Err(Cut::Lost) => {
                self.give_back(Some(Ended::Lost));
                self.0 = Rest::Lost;
                return Poll::Pending;
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Rest::Nothing)
    }

    fn size_hint(&self) -> SizeHint {
        let left = match &self.0 {
            Rest::Nothing => Some(0),
            Rest::Lost => None,
            Rest::Whole(bytes) => u64::try_from(bytes.len()).ok(),
            Rest::Lent(lent) => lent.inbox.messages.left(),
        };
        left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
