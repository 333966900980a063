//! `access_log`: what is told of requests, and where.

use super::{field, required};
use crate::config::kinds::{HEADER, SHARE, TEXT};
use crate::config::shape::{Field, Shape};

static HEADERS: Shape = Shape::Scalar(&HEADER);

pub(super) static ACCESS_LOG: &[Field] = &[
    required(
        "to",
        Shape::Scalar(&TEXT),
        "stdout, stderr, or a path; a file that was moved away is made anew",
    ),
    field(
        "sample",
        Shape::Scalar(&SHARE),
        "of the requests that went well; the others are always logged; default 100%",
    ),
    field(
        "query",
        Shape::Word(&["redacted", "full", "none"]),
        "the query in the path: without secrets (default), as it came, or not at all",
    ),
    field(
        "request_headers",
        Shape::List(&HEADERS),
        "also logged; the values of those that bear secrets never are",
    ),
    field(
        "response_headers",
        Shape::List(&HEADERS),
        "the same of the answer",
    ),
];
