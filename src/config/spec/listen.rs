//! `listen`: where clients come in, and what they may take.

use super::{NETWORKS, field};
use crate::config::kinds::{COUNT, DURATION, LISTEN, LISTEN_ADMIN, POSITIVE, SIZE};
use crate::config::shape::{Field, Shape};

static ADDRESSES_TO_LISTEN_ON: Shape = Shape::Scalar(&LISTEN);

pub(super) static LISTENERS: &[Field] = &[
    field(
        "dns",
        Shape::List(&ADDRESSES_TO_LISTEN_ON),
        "DNS over UDP and TCP",
    ),
    field(
        "dns_tls",
        Shape::List(&ADDRESSES_TO_LISTEN_ON),
        "DNS over TLS",
    ),
    field(
        "https",
        Shape::List(&ADDRESSES_TO_LISTEN_ON),
        "HTTP/1.1 and HTTP/2 over TLS",
    ),
    field("http", Shape::List(&ADDRESSES_TO_LISTEN_ON), "plain HTTP"),
    field(
        "http_mode",
        Shape::Word(&["redirect", "serve"]),
        "redirect to https (default), or serve",
    ),
    field(
        "admin",
        Shape::Scalar(&LISTEN_ADMIN),
        "dashboard, API and metrics",
    ),
    field(
        "timeouts",
        Shape::Map(TIMEOUTS),
        "how long clients may take",
    ),
    field(
        "limits",
        Shape::Map(LIMITS),
        "what clients may take at once",
    ),
    field(
        "trusted_proxies",
        Shape::List(&NETWORKS),
        "networks whose X-Forwarded-* and PROXY headers are believed",
    ),
    field(
        "errors",
        Shape::Word(&["full", "brief"]),
        "what clients are told of origins that fail: which and why (default), or only that one does",
    ),
    field(
        "proxy_protocol",
        Shape::Word(&["off", "optional", "required"]),
        "PROXY headers of trusted_proxies on https and http: never read, read if there (default), or required",
    ),
];

static TIMEOUTS: &[Field] = &[
    field("handshake", Shape::Scalar(&POSITIVE), "of TLS; default 10s"),
    field(
        "headers",
        Shape::Scalar(&POSITIVE),
        "for a whole request head; default 10s",
    ),
    field(
        "idle",
        Shape::Scalar(&POSITIVE),
        "between requests; default 60s",
    ),
];

static LIMITS: &[Field] = &[
    field(
        "connections",
        Shape::Scalar(&COUNT),
        "of clients at once, over https and http; default: half of the open files that the system allows; 0: unlimited",
    ),
    field(
        "connections_per_client",
        Shape::Scalar(&COUNT),
        "of one IPv4 address or one IPv6 /64; default 0: unlimited",
    ),
    field(
        "requests",
        Shape::Scalar(&COUNT),
        "in flight at once, then 503; default: half of the open files that the system allows; 0: unlimited",
    ),
    field(
        "delay",
        Shape::Scalar(&DURATION),
        "a worker that is later than this for a second sheds requests with 503; default 500ms; 0s: never",
    ),
    field(
        "memory",
        Shape::Scalar(&SIZE),
        "that the process holds, then requests are shed with 503; default: 80 % of what the system has for it; 0: unlimited",
    ),
];
