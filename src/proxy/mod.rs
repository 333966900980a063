//! Request → forwarded response: routing, TLS, pools, tries in region after region, affinity, tokens.
//!
//! Knows nothing of how a region is chosen: it asks [`steer`](crate::steering::steer) and follows
//! the order. HTTP semantics are RFC 9110, 9112 and 9113; errors are RFC 9457 with RFC 9209.

mod accept;
mod access_log;
mod activity;
mod affinity;
mod announced;
mod body;
mod calm;
mod client_cert;
mod connect;
mod connection;
mod consistency;
mod context;
mod crowd;
mod descriptors;
mod exchange;
mod expect;
mod forward;
mod frames;
mod fresh_read;
mod gather;
mod guard;
mod handle;
mod headers;
mod hedge;
mod http2;
mod inbound;
mod interim;
mod origin_tls;
mod outcome;
mod pace;
mod pass_on;
mod patience;
mod pool;
mod preread;
mod problem;
mod replay;
mod retry;
mod routes;
mod served;
mod settle;
mod shared_cache;
mod strain;
mod tls;
mod trusted_clients;
mod unread;
mod upgrade;
mod wary;
mod websocket;
mod witness;
mod workers;
mod write_through;

pub use accept::{Face, Listener};
pub use access_log::{AccessLog, Sink as AccessLogSink};
pub use context::{Context, Live};
pub use descriptors::raise_descriptors;
pub use guard::{what_passes, what_passes_of_answers};
pub use origin_tls::{Credentials, OriginTls};
pub use routes::{InFlightCounters, Routes};
pub use served::{ServedCounters, ServedTotals, TIME_BUCKETS, bucket_ms};
pub use tls::{CertificateError, Identities};
pub use trusted_clients::{ClientVerifier, client_verifier};
pub use workers::Workers;
