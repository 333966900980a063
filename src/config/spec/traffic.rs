//! `timeouts`, `retries` and `limits` of a service.

use super::field;
use crate::config::kinds::{BUFFER, COUNT, DURATION, FAILURES, SHARE, SIZE, SMALL};
use crate::config::shape::{Field, Shape};

pub(super) static TIMEOUTS: &[Field] = &[
    field("connect", Shape::Scalar(&DURATION), "default 2s"),
    field("first_byte", Shape::Scalar(&DURATION), "default 30s"),
    field(
        "idle",
        Shape::Scalar(&DURATION),
        "no byte either way within a request; default 60s",
    ),
    field(
        "request",
        Shape::Scalar(&DURATION),
        "of all; default 0s: none",
    ),
];

pub(super) static RETRIES: &[Field] = &[
    field("attempts", Shape::Scalar(&SMALL), "extra tries; default 2"),
    field(
        "budget",
        Shape::Scalar(&SHARE),
        "share of requests, at least 10 at a time; default 20%",
    ),
    field(
        "methods",
        Shape::Word(&["none", "safe", "idempotent"]),
        "of which something was sent; default safe",
    ),
    field(
        "on_status",
        Shape::List(&Shape::Scalar(&FAILURES)),
        "answers that another region may better; default none",
    ),
    field(
        "per_try",
        Shape::Scalar(&DURATION),
        "of a try of what may be sent again; default 0s: none",
    ),
    field(
        "backoff",
        Shape::Scalar(&DURATION),
        "the longest pause before the first retry, at random; default 0s: none",
    ),
    field(
        "hedge_after",
        Shape::Scalar(&DURATION),
        "a safe request then asks the next region too; default 0s: never",
    ),
    field(
        "buffer",
        Shape::Scalar(&BUFFER),
        "the longest body that is kept to be sent again; default 64KiB",
    ),
];

pub(super) static LIMITS: &[Field] = &[
    field("body", Shape::Scalar(&SIZE), "default 0: unlimited"),
    field(
        "headers",
        Shape::Scalar(&SIZE),
        "names, values and 4 bytes each; default 64KiB",
    ),
    field(
        "in_flight_per_region",
        Shape::Scalar(&COUNT),
        "spills to the next region, then 503; default 0: unlimited",
    ),
    field(
        "body_rate",
        Shape::Scalar(&SIZE),
        "the least bytes a second of a request's body, beyond timeouts.idle; default 500; 0: none",
    ),
];
