//! `regions`: what DNS answers and where the proxy connects.

use super::field;
use crate::config::kinds::{COUNT, ORIGIN, PUBLISHED, TEXT};
use crate::config::shape::{Field, Shape};

pub(super) static REGION: &[Field] = &[
    field(
        "location",
        Shape::Point,
        "optional for the well-known names of AWS, GCP and Azure regions",
    ),
    field(
        "jurisdiction",
        Shape::Scalar(&TEXT),
        "a free label, for residency",
    ),
    field(
        "addresses",
        Shape::List(&Shape::Scalar(&PUBLISHED)),
        "what DNS answers: addresses, or the one host name of a load balancer",
    ),
    field(
        "origins",
        Shape::List(&Shape::Scalar(&ORIGIN)),
        "where the proxy connects",
    ),
    field(
        "proxy_protocol",
        Shape::Word(&["v1", "v2"]),
        "the PROXY header that connections to the origins begin with; default: none",
    ),
    field(
        "weight",
        Shape::Scalar(&COUNT),
        "share under `weighted`; default 100",
    ),
];
