//! `admin`: who may see and change what.

use super::{field, required};
use crate::config::kinds::{SECRET, TEXT, TOKEN};
use crate::config::shape::{Field, Shape};

pub(super) static ADMIN: &[Field] = &[
    field(
        "token",
        Shape::Scalar(&TOKEN),
        "bearer token for calls that change something",
    ),
    field(
        "tokens",
        Shape::List(&Shape::Map(&[
            required(
                "name",
                Shape::Scalar(&TEXT),
                "whose it is, for the audit log",
            ),
            required("token", Shape::Scalar(&SECRET), "at least 16 bytes"),
            required(
                "role",
                Shape::Word(&["read", "operate"]),
                "see, or change too; once there is one of role read, seeing needs a token",
            ),
        ])),
        "bearer tokens of several people",
    ),
    field(
        "tls",
        Shape::WordOrMap(
            &["edge"],
            &[
                required("cert", Shape::Scalar(&TEXT), "the chain, PEM"),
                required("key", Shape::Scalar(&TEXT), "the private key, PEM"),
            ],
        ),
        "a certificate of its own, or edge: those of tls.certificates; absent: in clear",
    ),
];
