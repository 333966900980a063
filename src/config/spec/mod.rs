//! Every key of the configuration with its shape and a line of help.

use super::kinds::{
    ADDRESS, ANSWERS, BOOL, BUFFER, COUNT, COUNTRY, DURATION, FAILURES, HEADER, HOST, HTTP_PATH,
    KEY_ID, LISTEN, METHOD, NAME, NUMBER, ORIGIN, PORT, POSITIVE, PREFIX, PUBLISHED, RATE, SECRET,
    SHARE, SIZE, SMALL, STATUSES, TEXT, THRESHOLD, TOKEN, TTL, WINDOW,
};
use super::shape::{Field, Shape};

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

static ADDRESSES_TO_LISTEN_ON: Shape = Shape::Scalar(&LISTEN);
static NETWORKS: Shape = Shape::Scalar(&PREFIX);
static NAMES: Shape = Shape::Scalar(&TEXT);
static HEADERS: Shape = Shape::Scalar(&HEADER);
static COUNTRIES: Shape = Shape::Scalar(&COUNTRY);

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
    field(
        "dns",
        Shape::Map(&[field(
            "rate_limit",
            Shape::WordOrMap(&["off"], RATE_LIMIT),
            "of responses over UDP to a /24 or /56; or off",
        )]),
        "the DNS face",
    ),
    field(
        "geo",
        Shape::Map(&[
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
        ]),
        "where clients are",
    ),
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

static ADMIN: &[Field] = &[
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

static ACCESS_LOG: &[Field] = &[
    required(
        "to",
        Shape::Scalar(&TEXT),
        "stdout, stderr, or a path; a file that was moved away is made anew",
    ),
    field(
        "sample",
        Shape::Scalar(&SHARE),
        "of the requests that went well; the others are always logged; default 100%",
    ),
    field(
        "query",
        Shape::Word(&["redacted", "full", "none"]),
        "the query in the path: without secrets (default), as it came, or not at all",
    ),
    field(
        "request_headers",
        Shape::List(&HEADERS),
        "also logged; the values of those that bear secrets never are",
    ),
    field(
        "response_headers",
        Shape::List(&HEADERS),
        "the same of the answer",
    ),
];

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

static NODE: &[Field] = &[
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

static LATENCY: &[Field] = &[
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

static LISTENERS: &[Field] = &[
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
        Shape::Scalar(&LISTEN),
        "dashboard, API and metrics",
    ),
    field(
        "timeouts",
        Shape::Map(&[
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
        ]),
        "how long clients may take",
    ),
    field(
        "limits",
        Shape::Map(&[
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
        ]),
        "what clients may take at once",
    ),
    field(
        "trusted_proxies",
        Shape::List(&NETWORKS),
        "networks whose X-Forwarded-* and PROXY headers are believed",
    ),
    field(
        "proxy_protocol",
        Shape::Word(&["off", "optional", "required"]),
        "PROXY headers of trusted_proxies on https and http: never read, read if there (default), or required",
    ),
];

static TLS: &[Field] = &[
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
        Shape::Map(&[
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
        ]),
        "certificates of https clients; absent: none are asked for",
    ),
    field(
        "origins",
        Shape::Map(&[
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
        ]),
        "towards https origins, probes too",
    ),
];

static REGION: &[Field] = &[
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

static SERVICE: &[Field] = &[
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
        Shape::Map(&[
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
        ]),
        "what keeps a client on its region",
    ),
    field("consistency", Shape::Map(CONSISTENCY), "read-your-writes"),
    field(
        "writes",
        Shape::Map(&[
            field(
                "to",
                Shape::WordOrMap(
                    &["nearest", "home"],
                    &[required(
                        "primary",
                        Shape::Scalar(&TEXT),
                        "the region that takes writes",
                    )],
                ),
                "nearest (default), { primary: REGION } or home",
            ),
            field(
                "failover",
                Shape::Word(&["order", "none"]),
                "of a primary: to the next region (default), or 503",
            ),
            field(
                "key",
                Shape::Map(&[
                    field("header", Shape::Scalar(&HEADER), "a header's value"),
                    field("cookie", Shape::Scalar(&TEXT), "a cookie's value"),
                    field("query", Shape::Scalar(&TEXT), "a query parameter's value"),
                    field(
                        "path",
                        Shape::Scalar(&SMALL),
                        "a segment of the path, from 0",
                    ),
                ]),
                "for home: one of header, cookie, query, path",
            ),
            field(
                "homes",
                Shape::Named(&NAMES),
                "key: region; every other key by rendezvous hashing",
            ),
        ]),
        "where writes go",
    ),
    field(
        "residency",
        Shape::Map(&[
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
        ]),
        "what never leaves a set of regions",
    ),
    field(
        "timeouts",
        Shape::Map(&[
            field("connect", Shape::Scalar(&DURATION), "default 2s"),
            field("first_byte", Shape::Scalar(&DURATION), "default 30s"),
            field(
                "idle",
                Shape::Scalar(&DURATION),
                "no byte either way within a request; default 60s",
            ),
            field(
                "request",
                Shape::Scalar(&DURATION),
                "of all; default 0s: none",
            ),
        ]),
        "of origins",
    ),
    field(
        "retries",
        Shape::Map(&[
            field("attempts", Shape::Scalar(&SMALL), "extra tries; default 2"),
            field(
                "budget",
                Shape::Scalar(&SHARE),
                "share of requests, at least 10 at a time; default 20%",
            ),
            field(
                "methods",
                Shape::Word(&["none", "safe", "idempotent"]),
                "of which something was sent; default safe",
            ),
            field(
                "on_status",
                Shape::List(&Shape::Scalar(&FAILURES)),
                "answers that another region may better; default none",
            ),
            field(
                "per_try",
                Shape::Scalar(&DURATION),
                "of a try of what may be sent again; default 0s: none",
            ),
            field(
                "backoff",
                Shape::Scalar(&DURATION),
                "the longest pause before the first retry, at random; default 0s: none",
            ),
            field(
                "hedge_after",
                Shape::Scalar(&DURATION),
                "a safe request then asks the next region too; default 0s: never",
            ),
            field(
                "buffer",
                Shape::Scalar(&BUFFER),
                "the longest body that is kept to be sent again; default 64KiB",
            ),
        ]),
        "extra tries in other regions",
    ),
    field(
        "limits",
        Shape::Map(&[
            field("body", Shape::Scalar(&SIZE), "default 0: unlimited"),
            field(
                "headers",
                Shape::Scalar(&SIZE),
                "names, values and 4 bytes each; default 64KiB",
            ),
            field(
                "in_flight_per_region",
                Shape::Scalar(&COUNT),
                "spills to the next region, then 503; default 0: unlimited",
            ),
            field(
                "body_rate",
                Shape::Scalar(&SIZE),
                "the least bytes a second of a request's body, beyond timeouts.idle; default 500; 0: none",
            ),
        ]),
        "of requests",
    ),
    field(
        "dns",
        Shape::Map(&[
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
        ]),
        "what DNS answers",
    ),
    field(
        "ramp",
        Shape::Scalar(&DURATION),
        "a region that comes back is given its clients little by little over this; default 0s: at once",
    ),
    field(
        "guards",
        Shape::Map(&[field(
            "min_regions",
            Shape::Scalar(&NUMBER),
            "a drain that would leave fewer healthy regions is refused; default 1",
        )]),
        "what protects from mistakes",
    ),
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

static HEALTH: &[Field] = &[
    field(
        "protocol",
        Shape::Word(&["https", "http", "tcp"]),
        "default: the origin's",
    ),
    field("port", Shape::Scalar(&PORT), "default: the origin's"),
    field(
        "host",
        Shape::Scalar(&NAME),
        "Host and SNI; default: the service's first host",
    ),
    field("path", Shape::Scalar(&HTTP_PATH), "default /health"),
    field("method", Shape::Scalar(&METHOD), "default GET"),
    field(
        "expect",
        Shape::Map(&[
            field(
                "status",
                Shape::List(&Shape::Scalar(&STATUSES)),
                "default [200-399]",
            ),
            field(
                "body",
                Shape::Scalar(&TEXT),
                "a text in the first 5,120 bytes",
            ),
        ]),
        "what passes",
    ),
    field(
        "interval",
        Shape::Scalar(&POSITIVE),
        "default 10s, jittered by 10 %",
    ),
    field(
        "recheck_interval",
        Shape::Scalar(&POSITIVE),
        "while results disagree with the state; default 2s",
    ),
    field("timeout", Shape::Scalar(&POSITIVE), "default 2s"),
    field(
        "failure_threshold",
        Shape::Scalar(&THRESHOLD),
        "consecutive failures to unhealthy; default 3",
    ),
    field(
        "success_threshold",
        Shape::Scalar(&THRESHOLD),
        "consecutive successes to healthy; default 2",
    ),
    field("verify_tls", Shape::Scalar(&BOOL), "default true"),
    field(
        "min_healthy",
        Shape::Scalar(&NUMBER),
        "origins that must be healthy for the region to be; default 1",
    ),
    field(
        "passive",
        Shape::WordOrMap(&["off"], PASSIVE),
        "what real traffic shows; `off`: nothing",
    ),
];

static PASSIVE: &[Field] = &[
    field(
        "window",
        Shape::Scalar(&WINDOW),
        "over which the success rate is taken; default 10s",
    ),
    field(
        "min_requests",
        Shape::Scalar(&COUNT),
        "fewer within the window give no rate; default 20",
    ),
    field(
        "success_rate",
        Shape::Scalar(&SHARE),
        "an origin below it is ejected; default 80%; 0%: not for its rate",
    ),
    field(
        "consecutive_failures",
        Shape::Scalar(&COUNT),
        "an origin is ejected after so many; default 7; 0: not for them",
    ),
    field(
        "ejection",
        Shape::Scalar(&POSITIVE),
        "the first one; each next is twice as long; default 30s",
    ),
    field(
        "max_ejection",
        Shape::Scalar(&POSITIVE),
        "the longest, for Retry-After and Meridian-Drain too; default 5m",
    ),
];

static CONSISTENCY: &[Field] = &[
    field("read_your_writes", Shape::Scalar(&BOOL), "default false"),
    field(
        "domain",
        Shape::Scalar(&TEXT),
        "services on one data store share positions; default: the service's own name",
    ),
    field(
        "version",
        Shape::Word(&["integer", "pg_lsn"]),
        "how positions are written; default integer",
    ),
    field(
        "wait",
        Shape::Scalar(&DURATION),
        "how long a read may wait for a region to catch up; default 500ms",
    ),
    field(
        "when_unsatisfiable",
        Shape::Word(&["stale", "fail"]),
        "default stale",
    ),
    field(
        "pin",
        Shape::Scalar(&DURATION),
        "keep a writer on a region that reports no positions; default 5s",
    ),
    field("ttl", Shape::Scalar(&POSITIVE), "of a token; default 5m"),
    field(
        "max_lag",
        Shape::Scalar(&POSITIVE),
        "over this replication is reported as behind; default 5s",
    ),
    field(
        "follow",
        Shape::Scalar(&HTTP_PATH),
        "long polls of every origin: GET PATH?after=VECTOR&wait=30s; absent: none",
    ),
    field(
        "intents",
        Shape::List(&Shape::Map(&[
            required("path", Shape::Scalar(&HTTP_PATH), "the start of the path"),
            field("method", Shape::Scalar(&METHOD), "default: every method"),
            required(
                "is",
                Shape::Word(&["read", "write"]),
                "what such requests do",
            ),
        ])),
        "requests that read or write in spite of their method",
    ),
];

static ZONE: &[Field] = &[
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
