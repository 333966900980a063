//! `access_log`: what is told of requests, and where.

use http::HeaderName;

use super::FileRef;
use crate::units::Share;

/// The access log.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLog {
    /// Where lines go.
    pub to: LogTarget,
    /// Of the requests that went well.
    pub sample: Share,
    /// What of a query is logged.
    pub query: LoggedQuery,
    /// Of requests, as they came.
    pub request_headers: Vec<HeaderName>,
    /// Of answers, as they leave.
    pub response_headers: Vec<HeaderName>,
}

/// Where a log goes.
#[derive(Clone, Debug, PartialEq)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// Standard error, among the edge's own log.
    Stderr,
    /// The end of a file, which is made if it is missing.
    File(FileRef),
}

/// What of a query is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoggedQuery {
    /// Without the values of parameters that bear secrets.
    Redacted,
    /// As it came.
    Full,
    /// Nothing.
    None,
}
