//! An answer's body, which writes its request's line when it has been sent or dropped.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::journal::Line;
use crate::proxy::body::{Body, BodyError};

/// A body with the line of its request, if there is a log.
pub(in crate::proxy) struct Logged {
    body: Body,
    line: Option<Line>,
}

impl Logged {
    pub(in crate::proxy) fn new(body: Body, line: Option<Line>) -> Self {
        Self { body, line }
    }

    /// Its client has read nothing for so long that it is given up.
    pub(in crate::proxy) fn goes_unread(&self) {
        if let Some(line) = &self.line {
            let why = "the client reads nothing".to_owned();
            line.journal().ended("idle-timeout", "edge", Some(why));
        }
    }
}

impl Drop for Logged {
    /// Nothing more is asked of a body that says that it has ended, and nothing at all of one that must not be sent.
    fn drop(&mut self) {
        if let Some(line) = &self.line
            && (self.body.is_end_stream() || line.journal().sends_no_body())
        {
            line.completed();
        }
    }
}

impl HttpBody for Logged {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let (Some(line), Poll::Ready(frame)) = (&self.line, &polled) {
            note(line, frame.as_ref());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn note(line: &Line, frame: Option<&Result<Frame<Bytes>, BodyError>>) {
    let journal = line.journal();
    match frame {
        None => line.completed(),
        Some(Ok(frame)) => {
            if let Some(data) = frame.data_ref() {
                journal.sent(data.len());
            }
        }
        Some(Err(error)) => {
            let (how, by) = match error {
                BodyError::Broken(_) | BodyError::Unwanted => ("origin-closed", "origin"),
                BodyError::Stalled(_) | BodyError::Slow(_) => ("idle-timeout", "edge"),
                BodyError::Late => ("request-timeout", "edge"),
                // Answers have no such bound.
                BodyError::TooLong(_) => ("body-too-long", "origin"),
            };
            journal.ended(how, by, Some(error.to_string()));
        }
    }
}
