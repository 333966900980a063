//! `node`: this edge.

use super::field;
use crate::config::kinds::{DURATION, TEXT};
use crate::config::shape::{Field, Shape};

pub(super) static NODE: &[Field] = &[
    field(
        "name",
        Shape::Scalar(&TEXT),
        "shown in NSID, Via, logs and the dashboard; default: the host's name",
    ),
    field("location", Shape::Point, "where this edge stands"),
    field(
        "region",
        Shape::Scalar(&TEXT),
        "the region that it stands in: its clients' round trips are round trips to that region",
    ),
    field(
        "state_dir",
        Shape::Scalar(&TEXT),
        "health, drains and positions survive a restart here",
    ),
    field(
        "drain_delay",
        Shape::Scalar(&DURATION),
        "after SIGTERM, listeners stay open this long while /readyz says 503 already; default 0s",
    ),
    field(
        "drain_timeout",
        Shape::Scalar(&DURATION),
        "in-flight requests get this long after SIGTERM or an upgrade; default 30s",
    ),
    field(
        "upgrade_socket",
        Shape::Scalar(&TEXT),
        "where `meridian serve --upgrade` takes over; default: upgrade.sock in state_dir, if there is one",
    ),
];
