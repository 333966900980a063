//! What a client's connection needs of whoever answers its requests, whatever version of HTTP it speaks.

use std::time::Duration;

use http::{Request, Response};

use super::access_log::Logged;
use super::body::Source;
use super::crowd::InFlight;
use super::interim::Interim;
use super::problem::Problem;

/// What a client may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// For a head, from its first byte.
    pub(super) head: Duration,
    /// Without any.
    pub(super) idle: Duration,
}

/// An answer, and what counts as long as it is sent.
pub(super) struct Answer {
    pub(super) response: Response<Logged>,
    pub(super) in_flight: Option<InFlight>,
}

/// Answers the requests of a connection.
pub(super) trait Handler: Sync {
    /// Answers a request, whose head was arriving for so long if that is known; with `interim`, what is said before may be
    /// passed on.
    fn answer(
        &self,
        request: Request<Source>,
        head: Option<Duration>,
        interim: Option<&Interim>,
    ) -> impl Future<Output = Answer> + Send;

    /// The last answer over HTTP/1.1, in bytes, to what is no request or was not in time.
    fn refuse(&self, problem: &Problem, head: Option<Duration>) -> Vec<u8>;

    /// Told of what is no request over HTTP/2: it was refused, with the answer of the problem or without one.
    fn note_refusal(&self, problem: &Problem, is_answered: bool);

    /// Told before a request over HTTP/2 is given up: its stream was reset, for what its client did wrong.
    fn note_reset(&self, interim: &Interim, why: String);

    /// Told before its requests are given up: the edge ends the connection, for what its client did wrong.
    fn break_off(&self, why: String);

    /// Whether every answer is the last one of its connection.
    fn is_ending(&self) -> bool;
}
