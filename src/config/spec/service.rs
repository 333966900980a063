//! `services`: hosts that are steered together.

use super::consistency::{CONSISTENCY, WRITES};
use super::health::HEALTH;
use super::traffic::{LIMITS, RETRIES, TIMEOUTS};
use super::{NAMES, field, required};
use crate::config::kinds::{
    ANSWERS, COUNT, COUNTRY, DURATION, HEADER, HOST, NUMBER, POSITIVE, PREFIX, TTL,
};
use crate::config::shape::{Field, Shape};

static COUNTRIES: Shape = Shape::Scalar(&COUNTRY);

pub(super) static SERVICE: &[Field] = &[
    required(
        "hosts",
        Shape::List(&Shape::Scalar(&HOST)),
        "what it answers for; *.name stands for every name below",
    ),
    field(
        "regions",
        Shape::List(&NAMES),
        "default: all; the order is the failover order of `priority`",
    ),
    field("steering", Shape::Map(STEERING), "how a region is chosen"),
    field(
        "health",
        Shape::Map(HEALTH),
        "absent: a GET of /health on every origin",
    ),
    field(
        "affinity",
        Shape::Map(AFFINITY),
        "what keeps a client on its region",
    ),
    field("consistency", Shape::Map(CONSISTENCY), "read-your-writes"),
    field("writes", Shape::Map(WRITES), "where writes go"),
    field(
        "residency",
        Shape::Map(RESIDENCY),
        "what never leaves a set of regions",
    ),
    field("timeouts", Shape::Map(TIMEOUTS), "of origins"),
    field(
        "retries",
        Shape::Map(RETRIES),
        "extra tries in other regions",
    ),
    field("limits", Shape::Map(LIMITS), "of requests"),
    field("dns", Shape::Map(DNS), "what DNS answers"),
    field(
        "ramp",
        Shape::Scalar(&DURATION),
        "a region that comes back is given its clients little by little over this; 0s: at once; default: 10s where the service has 100 requests/s or more, else 0s",
    ),
    field("guards", Shape::Map(GUARDS), "what protects from mistakes"),
];

static STEERING: &[Field] = &[
    field(
        "policy",
        Shape::Word(&["latency", "geo", "weighted", "priority"]),
        "default latency",
    ),
    field(
        "weights",
        Shape::Named(&Shape::Scalar(&COUNT)),
        "region: weight; default: the regions' own",
    ),
    field(
        "overrides",
        Shape::List(&Shape::Map(&[
            field(
                "country",
                Shape::List(&COUNTRIES),
                "clients of these countries",
            ),
            field("network", Shape::Scalar(&PREFIX), "clients of this network"),
            required("prefer", Shape::List(&NAMES), "these regions, in order"),
        ])),
        "the first match wins, before the policy",
    ),
    field(
        "when_none_healthy",
        Shape::Word(&["all", "none"]),
        "all (fail open, default) or none (SERVFAIL, 503)",
    ),
];

static AFFINITY: &[Field] = &[
    required(
        "by",
        Shape::WordOrMap(
            &["cookie", "client_ip"],
            &[required(
                "header",
                Shape::Scalar(&HEADER),
                "its value tells clients apart",
            )],
        ),
        "cookie, client_ip or { header: NAME }",
    ),
    field("ttl", Shape::Scalar(&POSITIVE), "default 1h"),
    field(
        "drain",
        Shape::Scalar(&DURATION),
        "clients stay on a drained region this long; default 10m",
    ),
];

static RESIDENCY: &[Field] = &[
    required(
        "by",
        Shape::WordOrMap(
            &["client_country"],
            &[required(
                "header",
                Shape::Scalar(&HEADER),
                "its value is the label",
            )],
        ),
        "client_country or { header: NAME }",
    ),
    required(
        "allow",
        Shape::Named(&Shape::List(&NAMES)),
        "label: [regions]; a match never leaves these",
    ),
];

static DNS: &[Field] = &[
    field("ttl", Shape::Scalar(&TTL), "in calm; default 30s"),
    field(
        "ttl_min",
        Shape::Scalar(&TTL),
        "while a state may soon flip; default 5s",
    ),
    field(
        "answers",
        Shape::Scalar(&ANSWERS),
        "how many addresses; default 1",
    ),
];

static GUARDS: &[Field] = &[field(
    "min_regions",
    Shape::Scalar(&NUMBER),
    "a drain that would leave fewer healthy regions is refused; default 1",
)];
