//! The one table of the configuration's keys: every key with its shape and a line of help.
//!
//! It is read whole from `ROOT`; the sections stand in files beside it. The checks, the nearest valid key and the
//! JSON Schema all come from here.

mod access_log;
mod admin;
mod clients;
mod consistency;
mod dns;
mod health;
mod listen;
mod node;
mod region;
mod service;
mod tls;
mod traffic;
mod zone;

use access_log::ACCESS_LOG;
use admin::ADMIN;
use clients::{GEO, LATENCY};
use dns::DNS;
use listen::LISTENERS;
use node::NODE;
use region::REGION;
use service::SERVICE;
use tls::TLS;
use zone::ZONE;

use super::kinds::{KEY_ID, PREFIX, SECRET, TEXT};
use super::shape::{Field, Shape};

/// The whole configuration.
pub(super) static ROOT: Shape = Shape::Map(&[
    field("node", Shape::Map(NODE), "this edge"),
    field(
        "listen",
        Shape::Map(LISTENERS),
        "what is listened on; absent ones are not opened",
    ),
    field(
        "tls",
        Shape::Map(TLS),
        "certificates, and trust towards origins",
    ),
    field("admin", Shape::Map(ADMIN), "the admin API"),
    field(
        "access_log",
        Shape::Map(ACCESS_LOG),
        "a line of JSON for every request; absent: none",
    ),
    field("dns", Shape::Map(DNS), "the DNS face"),
    field("geo", Shape::Map(GEO), "where clients are"),
    field(
        "latency",
        Shape::Map(LATENCY),
        "what is measured of clients' round trips, for `policy: latency`",
    ),
    field(
        "keys",
        Shape::List(&Shape::Map(&[
            required("id", Shape::Scalar(&KEY_ID), "1 to 255"),
            required("secret", Shape::Scalar(&SECRET), "at least 16 bytes"),
        ])),
        "sign affinity cookies and version tokens; the first signs, all verify",
    ),
    required(
        "regions",
        Shape::Named(&Shape::Map(REGION)),
        "name: { addresses, origins, ... }",
    ),
    required(
        "services",
        Shape::Named(&Shape::Map(SERVICE)),
        "name: { hosts, ... }",
    ),
    field(
        "zones",
        Shape::Named(&Shape::Map(ZONE)),
        "what DNS is authoritative for",
    ),
]);

static NETWORKS: Shape = Shape::Scalar(&PREFIX);
static NAMES: Shape = Shape::Scalar(&TEXT);

const fn field(key: &'static str, shape: Shape, help: &'static str) -> Field {
    Field {
        key,
        shape,
        required: false,
        help,
    }
}

const fn required(key: &'static str, shape: Shape, help: &'static str) -> Field {
    Field {
        key,
        shape,
        required: true,
        help,
    }
}
