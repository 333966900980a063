//! `tls`: certificates, and trust towards clients and origins.

use super::{field, required};
use crate::config::kinds::{BOOL, NAME, TEXT};
use crate::config::shape::{Field, Shape};

pub(super) static TLS: &[Field] = &[
    field(
        "certificates",
        Shape::List(&Shape::Map(&[
            required("cert", Shape::Scalar(&TEXT), "the chain, PEM"),
            required("key", Shape::Scalar(&TEXT), "the private key, PEM"),
        ])),
        "chosen by SNI; none: a self-signed one",
    ),
    field(
        "clients",
        Shape::Map(CLIENTS),
        "certificates of https clients; absent: none are asked for",
    ),
    field(
        "origins",
        Shape::Map(ORIGINS),
        "towards https origins, probes too",
    ),
];

static CLIENTS: &[Field] = &[
    required(
        "ca",
        Shape::Scalar(&TEXT),
        "the roots of clients' certificates, PEM",
    ),
    field(
        "crl",
        Shape::List(&Shape::Scalar(&TEXT)),
        "files of revocation lists, PEM; none: nothing is looked up",
    ),
    field(
        "verify",
        Shape::Word(&["required", "optional"]),
        "whether clients must show a certificate; default required",
    ),
];

static ORIGINS: &[Field] = &[
    field(
        "ca",
        Shape::Scalar(&TEXT),
        "roots to trust, PEM; default: the public ones",
    ),
    field(
        "verify",
        Shape::Scalar(&BOOL),
        "whether certificates are verified; default true",
    ),
    field(
        "server_name",
        Shape::Scalar(&NAME),
        "the name to ask for; default: the request's host",
    ),
    field(
        "cert",
        Shape::Scalar(&TEXT),
        "the edge's own certificate for origins that ask for one, PEM",
    ),
    field("key", Shape::Scalar(&TEXT), "its private key, PEM"),
];
