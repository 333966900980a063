//! `geo` and `latency`: where clients are, and what is measured of them.

use super::{NAMES, field, required};
use crate::config::kinds::{BOOL, RATE, SHARE, TEXT, THRESHOLD};
use crate::config::shape::{Field, Shape};

pub(super) static GEO: &[Field] = &[
    field(
        "database",
        Shape::Scalar(&TEXT),
        "built-in, or a path to a MaxMind-format .mmdb",
    ),
    field(
        "networks",
        Shape::Named(&NAMES),
        "network: region; these clients are at that region",
    ),
    field(
        "asn_database",
        Shape::Scalar(&TEXT),
        "a path to a MaxMind-format .mmdb of autonomous systems: what is measured of a few networks then counts for their AS",
    ),
];

pub(super) static LATENCY: &[Field] = &[
    field(
        "import",
        Shape::List(&NAMES),
        "files of measured round trips, CSV or JSON: network, region, ms",
    ),
    field(
        "connections",
        Shape::Scalar(&BOOL),
        "whether the kernel's round trips of clients' connections count; default false",
    ),
    field(
        "beacon",
        Shape::Map(BEACON),
        "what browsers measure that load /.well-known/meridian/beacon.js; absent: nothing",
    ),
    field(
        "min_samples",
        Shape::Scalar(&RATE),
        "a sampled figure needs so many; default 10",
    ),
    field(
        "quorum",
        Shape::Scalar(&THRESHOLD),
        "a network's figure needs so many distinct addresses, an AS's or a country's so many networks; default 3",
    ),
];

static BEACON: &[Field] = &[
    field(
        "sample",
        Shape::Scalar(&SHARE),
        "of the page views; default 1%",
    ),
    required(
        "probes",
        Shape::Named(&Shape::Scalar(&TEXT)),
        "region: an https URL there that answers quickly",
    ),
];
