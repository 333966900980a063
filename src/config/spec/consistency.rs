//! `consistency` and `writes` of a service.

use super::{NAMES, field, required};
use crate::config::kinds::{BOOL, DURATION, HEADER, HTTP_PATH, METHOD, POSITIVE, SMALL, TEXT};
use crate::config::shape::{Field, Shape};

pub(super) static CONSISTENCY: &[Field] = &[
    field("read_your_writes", Shape::Scalar(&BOOL), "default false"),
    field(
        "domain",
        Shape::Scalar(&TEXT),
        "services on one data store share positions; default: the service's own name",
    ),
    field(
        "version",
        Shape::Word(&["integer", "pg_lsn"]),
        "how positions are written; default integer",
    ),
    field(
        "wait",
        Shape::Scalar(&DURATION),
        "how long a read may wait for a region to catch up; default 500ms",
    ),
    field(
        "when_unsatisfiable",
        Shape::Word(&["stale", "fail"]),
        "default stale",
    ),
    field(
        "pin",
        Shape::Scalar(&DURATION),
        "keep a writer on a region that reports no positions; default 5s",
    ),
    field("ttl", Shape::Scalar(&POSITIVE), "of a token; default 5m"),
    field(
        "max_lag",
        Shape::Scalar(&POSITIVE),
        "over this replication is reported as behind; default 5s",
    ),
    field(
        "follow",
        Shape::Scalar(&HTTP_PATH),
        "long polls of every origin: GET PATH?after=VECTOR&wait=30s; absent: none",
    ),
    field(
        "intents",
        Shape::List(&Shape::Map(&[
            required("path", Shape::Scalar(&HTTP_PATH), "the start of the path"),
            field("method", Shape::Scalar(&METHOD), "default: every method"),
            required(
                "is",
                Shape::Word(&["read", "write"]),
                "what such requests do",
            ),
        ])),
        "requests that read or write in spite of their method",
    ),
];

pub(super) static WRITES: &[Field] = &[
    field(
        "to",
        Shape::WordOrMap(
            &["nearest", "home"],
            &[required(
                "primary",
                Shape::Scalar(&TEXT),
                "the region that takes writes",
            )],
        ),
        "nearest (default), { primary: REGION } or home",
    ),
    field(
        "failover",
        Shape::Word(&["order", "none"]),
        "of a primary: to the next region (default), or 503",
    ),
    field(
        "key",
        Shape::Map(&[
            field("header", Shape::Scalar(&HEADER), "a header's value"),
            field("cookie", Shape::Scalar(&TEXT), "a cookie's value"),
            field("query", Shape::Scalar(&TEXT), "a query parameter's value"),
            field(
                "path",
                Shape::Scalar(&SMALL),
                "a segment of the path, from 0",
            ),
        ]),
        "for home: one of header, cookie, query, path",
    ),
    field(
        "homes",
        Shape::Named(&NAMES),
        "key: region; every other key by rendezvous hashing",
    ),
];
