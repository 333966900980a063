//! What the configuration names but does not hold: the geography database, certificates, roots.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::measured::Measured;
use super::named::Named;
use super::zone_keys::{AllKeys, KnownKeys, MissingKeys, load_all_keys};
use crate::config::plan::{AdminTls, FileRef, HostPattern, LogTarget, Plan};
use crate::config::{Loaded, Problem};
use crate::control::Probers;
use crate::geo::{ClientMap, Database};
use crate::health::Prober;
use crate::ids::Table;
use crate::proxy::{AccessLogSink, ClientVerifier, Credentials, Identities, OriginTls};

/// What HTTPS listeners offer, best first. curl asks for HTTP/1.0 by its name, and fails if that is refused.
const HTTPS_ALPN: &[&[u8]] = &[b"h2", b"http/1.1", b"http/1.0"];

/// What the admin offers.
const ADMIN_ALPN: &[&[u8]] = &[b"http/1.1"];

/// What probes offer.
const PROBE_ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];

/// What DNS over TLS offers (RFC 7858 §3.1 needs none; clients that name one name this).
const DOT_ALPN: &[&[u8]] = &[b"dot"];

/// All that a Plan needs beside itself, loaded and checked.
#[derive(Clone)]
pub struct Materials {
    /// Where addresses are.
    pub database: Arc<Database>,
    /// The client map of this Plan.
    pub clients: Arc<ClientMap>,
    /// What is measured of them.
    pub(super) measured: Measured,
    /// The certificates of this edge.
    pub identities: Arc<Identities>,
    /// For https listeners.
    pub https: Arc<rustls::ServerConfig>,
    /// For DNS over TLS.
    pub dot: Arc<rustls::ServerConfig>,
    /// For the admin; none: in clear.
    pub admin_tls: Option<Arc<rustls::ServerConfig>>,
    /// Towards origins.
    pub origin_tls: OriginTls,
    /// How targets are probed.
    pub probers: Probers,
    /// Where requests are logged.
    pub access_log: Option<Arc<AccessLogSink>>,
    /// What signs zones.
    pub zone_keys: AllKeys,
    pub(super) known_keys: KnownKeys,
    /// What to warn of.
    pub warnings: Vec<Problem>,
    trust: Trust,
    /// Of what identities and trust were made.
    made_of: Sources,
}

/// TLS towards probed targets.
#[derive(Clone)]
struct Trust {
    verified: Arc<rustls::ClientConfig>,
    unverified: Arc<rustls::ClientConfig>,
}

/// Hashes of the files and settings that TLS is made of: what did not change is kept, and with it
/// sessions that can be resumed, pools and the evidence of checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sources {
    identities: u64,
    admin: u64,
    trust: u64,
}

impl Sources {
    fn of(plan: &Plan) -> Self {
        let [mut identities, mut admin, mut trust] = [(); 3].map(|()| DefaultHasher::new());
        for file in plan.tls.own_files() {
            hash_file(file, &mut identities);
        }
        let clients = plan.tls.clients.as_ref();
        clients.map(|clients| clients.verify).hash(&mut identities);
        if plan.tls.certificates.is_empty() && speaks_tls(plan) {
            hosts(plan).hash(&mut identities);
        }
        for file in plan.admin.files() {
            hash_file(file, &mut admin);
        }
        for file in plan.tls.origin_files() {
            hash_file(file, &mut trust);
        }
        let origins = &plan.tls.origins;
        (origins.verify, &origins.server_name).hash(&mut trust);
        Self {
            identities: identities.finish(),
            admin: admin.finish(),
            trust: trust.finish(),
        }
    }
}

/// Whether clients are shown the edge's own certificate anywhere.
fn speaks_tls(plan: &Plan) -> bool {
    let listen = &plan.listen;
    let has_listener = !listen.https.is_empty() || !listen.dns_tls.is_empty();
    has_listener || matches!(plan.admin.tls, Some(AdminTls::Edge))
}

fn hash_file(file: &FileRef, hasher: &mut DefaultHasher) {
    file.path.hash(hasher);
    std::fs::read(&file.path).ok().hash(hasher);
}

impl Materials {
    /// What changed in files that the configuration only names, a line each.
    pub fn changes_since(&self, before: &Self) -> Vec<String> {
        let changed = [
            (
                "certificates",
                self.made_of.identities != before.made_of.identities,
            ),
            ("admin.tls", self.made_of.admin != before.made_of.admin),
            ("tls.origins", self.made_of.trust != before.made_of.trust),
            (
                "geography database",
                !Arc::ptr_eq(&self.database, &before.database) && self.database != before.database,
            ),
            (
                "database of autonomous systems",
                self.measured.asns != before.measured.asns,
            ),
            (
                "imported latency",
                !self.measured.is_imported_as(&before.measured),
            ),
        ];
        let changed = changed.iter().filter(|(_, changed)| *changed);
        changed
            .map(|(what, _)| format!("{what} changed"))
            .chain(self.known_keys.changes_since(&before.known_keys))
            .collect()
    }
}

/// Loads everything that the Plan names; all that is wrong is told at once. What is made of the same as
/// in `before` is taken over.
pub fn load_materials(
    loaded: &Loaded,
    before: Option<&Materials>,
    missing_keys: MissingKeys,
) -> Result<Materials, Vec<Problem>> {
    let plan = &loaded.plan;
    let mut warnings = Vec::new();
    let made_of = Sources::of(plan);
    let named = Named::load(plan, before, &mut warnings)?;
    let access_log = match missing_keys {
        MissingKeys::Create => open_access_log(plan, before)?,
        MissingKeys::Leave => None,
    };
    let measured = named.measured.look_around(plan, &named.database);
    // Last, because it may write: nothing is written for a configuration that is refused.
    let remembered = || KnownKeys::remembered(plan);
    let known_keys = before.map_or_else(remembered, |before| before.known_keys.clone());
    let zone_keys = load_all_keys(plan, &known_keys, missing_keys, &mut warnings)?;
    let same_identities = before.filter(|b| b.made_of.identities == made_of.identities);
    let same_trust = before.filter(|b| b.made_of.trust == made_of.trust);
    let own = OwnTls::of(named.identities, named.clients, same_identities);
    let admin_identities = match plan.admin.tls {
        None => None,
        Some(AdminTls::Edge) => Some(&own.identities),
        Some(AdminTls::Own(_)) => named.admin_identities.as_ref(),
    };
    let admin_tls = admin_identities.map(|identities| identities.server_config(ADMIN_ALPN, None));
    let (origin_tls, trust) = match same_trust {
        Some(before) => (before.origin_tls.clone(), before.trust.clone()),
        None => (
            OriginTls::new(&plan.tls.origins, &named.credentials),
            Trust::new(plan, &named.credentials),
        ),
    };
    Ok(Materials {
        clients: Arc::new(measured.client_map(plan, &named.database)),
        measured,
        database: named.database,
        identities: own.identities,
        https: own.https,
        dot: own.dot,
        admin_tls,
        origin_tls,
        probers: probers(plan, &trust),
        access_log,
        zone_keys: zone_keys.all,
        known_keys: zone_keys.known,
        trust,
        warnings,
        made_of,
    })
}

/// What this edge shows to clients.
struct OwnTls {
    identities: Arc<Identities>,
    https: Arc<rustls::ServerConfig>,
    dot: Arc<rustls::ServerConfig>,
}

impl OwnTls {
    fn of(
        identities: Arc<Identities>,
        clients: Option<ClientVerifier>,
        same: Option<&Materials>,
    ) -> Self {
        match same {
            Some(before) => Self {
                identities: before.identities.clone(),
                https: before.https.clone(),
                dot: before.dot.clone(),
            },
            None => Self {
                https: identities.server_config(HTTPS_ALPN, clients.as_ref()),
                dot: identities.server_config(DOT_ALPN, None),
                identities,
            },
        }
    }
}

/// The log that is open already, if its target is the same.
fn open_access_log(
    plan: &Plan,
    before: Option<&Materials>,
) -> Result<Option<Arc<AccessLogSink>>, Vec<Problem>> {
    let Some(wanted) = &plan.access_log else {
        return Ok(None);
    };
    let open = before.and_then(|before| before.access_log.as_ref());
    if let Some(sink) = open.filter(|sink| *sink.target() == wanted.to) {
        return Ok(Some(sink.clone()));
    }
    let opened = AccessLogSink::open(&wanted.to);
    let sink = opened.map_err(|error| vec![access_log_problem(&wanted.to, &error)])?;
    Ok(Some(Arc::new(sink)))
}

fn access_log_problem(target: &LogTarget, error: &std::io::Error) -> Problem {
    match target {
        LogTarget::File(file) => {
            let message = format!("access_log: {}: {error}", file.path.display());
            Problem::new(Some(file.at.clone()), message)
        }
        LogTarget::Stdout | LogTarget::Stderr => Problem::new(None, format!("access_log: {error}")),
    }
}

pub(super) fn hosts(plan: &Plan) -> Vec<String> {
    let hosts = plan.services.values().flat_map(|service| &service.hosts);
    hosts.map(HostPattern::to_string).collect()
}

impl Trust {
    fn new(plan: &Plan, credentials: &Credentials) -> Self {
        Self {
            verified: credentials.client_config(plan.tls.origins.verify, PROBE_ALPN),
            unverified: credentials.client_config(false, PROBE_ALPN),
        }
    }
}

fn probers(plan: &Plan, trust: &Trust) -> Probers {
    Table::like(&plan.services, |id| {
        let check = &plan.services.of(id).health;
        Prober {
            tls: if check.verify_tls {
                trust.verified.clone()
            } else {
                trust.unverified.clone()
            },
            check: Arc::new(check.clone()),
            server_name: plan.tls.origins.server_name.clone(),
        }
    })
}
