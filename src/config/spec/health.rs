//! `health` of a service: what is asked of its targets, and what counts of its traffic.

use super::field;
use crate::config::kinds::{
    BOOL, COUNT, HTTP_PATH, METHOD, NAME, NUMBER, PORT, POSITIVE, SHARE, STATUSES, TEXT, THRESHOLD,
    WINDOW,
};
use crate::config::shape::{Field, Shape};

pub(super) static HEALTH: &[Field] = &[
    field(
        "protocol",
        Shape::Word(&["https", "http", "tcp"]),
        "default: the origin's",
    ),
    field("port", Shape::Scalar(&PORT), "default: the origin's"),
    field(
        "host",
        Shape::Scalar(&NAME),
        "Host and SNI; default: the service's first host",
    ),
    field("path", Shape::Scalar(&HTTP_PATH), "default /health"),
    field("method", Shape::Scalar(&METHOD), "default GET"),
    field(
        "expect",
        Shape::Map(&[
            field(
                "status",
                Shape::List(&Shape::Scalar(&STATUSES)),
                "default [200-399]",
            ),
            field(
                "body",
                Shape::Scalar(&TEXT),
                "a text in the first 5,120 bytes",
            ),
        ]),
        "what passes",
    ),
    field(
        "interval",
        Shape::Scalar(&POSITIVE),
        "default 10s, jittered by 10 %",
    ),
    field(
        "recheck_interval",
        Shape::Scalar(&POSITIVE),
        "while results disagree with the state; default 2s",
    ),
    field("timeout", Shape::Scalar(&POSITIVE), "default 2s"),
    field(
        "failure_threshold",
        Shape::Scalar(&THRESHOLD),
        "consecutive failures to unhealthy; default 3",
    ),
    field(
        "success_threshold",
        Shape::Scalar(&THRESHOLD),
        "consecutive successes to healthy; default 2",
    ),
    field("verify_tls", Shape::Scalar(&BOOL), "default true"),
    field(
        "min_healthy",
        Shape::Scalar(&NUMBER),
        "origins that must be healthy for the region to be; default 1",
    ),
    field(
        "passive",
        Shape::WordOrMap(&["off"], PASSIVE),
        "what real traffic shows; `off`: nothing",
    ),
];

static PASSIVE: &[Field] = &[
    field(
        "window",
        Shape::Scalar(&WINDOW),
        "over which the success rate is taken; default 10s",
    ),
    field(
        "min_requests",
        Shape::Scalar(&COUNT),
        "fewer within the window give no rate; default 20",
    ),
    field(
        "success_rate",
        Shape::Scalar(&SHARE),
        "an origin below it is ejected; default 80%; 0%: not for its rate",
    ),
    field(
        "consecutive_failures",
        Shape::Scalar(&COUNT),
        "an origin is ejected after so many; default 7; 0: not for them",
    ),
    field(
        "ejection",
        Shape::Scalar(&POSITIVE),
        "the first one; each next is twice as long; default 30s",
    ),
    field(
        "max_ejection",
        Shape::Scalar(&POSITIVE),
        "the longest, for Retry-After and Meridian-Drain too; default 5m",
    ),
];
