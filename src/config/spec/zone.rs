//! `zones`: what DNS is authoritative for.

use super::{field, required};
use crate::config::kinds::{ADDRESS, NAME, TEXT, TTL};
use crate::config::shape::{Field, Shape};

pub(super) static ZONE: &[Field] = &[
    field(
        "soa",
        Shape::Map(&[
            field(
                "mname",
                Shape::Scalar(&NAME),
                "the primary name server; default: the first of nameservers",
            ),
            field(
                "rname",
                Shape::Scalar(&TEXT),
                "the mailbox of whoever is responsible; default hostmaster in the zone",
            ),
            field("refresh", Shape::Scalar(&TTL), "default 2h"),
            field("retry", Shape::Scalar(&TTL), "default 15m"),
            field("expire", Shape::Scalar(&TTL), "default 14d"),
            field(
                "minimum",
                Shape::Scalar(&TTL),
                "how long negatives are kept; default 60s",
            ),
        ]),
        "start of authority; names are absolute, the serial follows the content",
    ),
    field(
        "nameservers",
        Shape::Named(&Shape::List(&Shape::Scalar(&ADDRESS))),
        "name: [addresses]",
    ),
    field("ttl", Shape::Scalar(&TTL), "of records; default 1h"),
    field(
        "records",
        Shape::Records,
        "name: { TYPE: [RDATA], ttl, service }",
    ),
    field(
        "dnssec",
        Shape::Map(&[
            field(
                "algorithm",
                Shape::Word(&["ecdsap256sha256", "ed25519"]),
                "of keys that are made; default ecdsap256sha256",
            ),
            required(
                "keys",
                Shape::Scalar(&TEXT),
                "the folder of the zone's keys, in BIND's format; `serve` makes missing ones",
            ),
        ]),
        "signs the zone; absent: unsigned",
    ),
    field(
        "file",
        Shape::Scalar(&TEXT),
        "an RFC 1035 master file, relative to this file; `records` and steered names are laid over it",
    ),
];
