//! `dns`: the DNS face.

use super::{NETWORKS, field};
use crate::config::kinds::{RATE, SMALL};
use crate::config::shape::{Field, Shape};

pub(super) static DNS: &[Field] = &[field(
    "rate_limit",
    Shape::WordOrMap(&["off"], RATE_LIMIT),
    "of responses over UDP to a /24 or /56; or off",
)];

static RATE_LIMIT: &[Field] = &[
    field(
        "responses_per_second",
        Shape::Scalar(&RATE),
        "to one network, and as many at once; default 200",
    ),
    field(
        "slip",
        Shape::Scalar(&SMALL),
        "every so-many-th over the limit is sent truncated; 0: none; default 2",
    ),
    field(
        "exempt",
        Shape::List(&NETWORKS),
        "never limited; default: loopback",
    ),
];
