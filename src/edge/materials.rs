//! What the configuration names but does not hold: the geography database, certificates, roots.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::measured::Measured;
use super::zone_keys::{AllKeys, MissingKeys, load_all_keys};
use crate::clock;
use crate::config::plan::{AdminTls, FileRef, HostPattern, LogTarget, Plan};
use crate::config::{Loaded, Problem};
use crate::control::Probers;
use crate::geo::{ClientMap, Database};
use crate::health::Prober;
use crate::ids::Table;
use crate::proxy::{
    AccessLogSink, CertificateError, ClientVerifier, Credentials, Identities, OriginTls,
    client_verifier,
};

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
    trust: u64,
}

impl Sources {
    fn of(plan: &Plan) -> Self {
        let (mut identities, mut trust) = (DefaultHasher::new(), DefaultHasher::new());
        for file in plan.tls.own_files() {
            hash_file(file, &mut identities);
        }
        let clients = plan.tls.clients.as_ref();
        clients.map(|clients| clients.verify).hash(&mut identities);
        if plan.tls.certificates.is_empty() {
            hosts(plan).hash(&mut identities);
        }
        for file in plan.tls.origin_files() {
            hash_file(file, &mut trust);
        }
        let origins = &plan.tls.origins;
        (origins.verify, &origins.server_name).hash(&mut trust);
        Self {
            identities: identities.finish(),
            trust: trust.finish(),
        }
    }
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
            ("tls.origins", self.made_of.trust != before.made_of.trust),
            (
                "geography database",
                self.database.info().to_string() != before.database.info().to_string(),
            ),
            (
                "imported latency",
                !self.measured.is_imported_as(&before.measured),
            ),
        ];
        changed
            .iter()
            .filter(|(_, changed)| *changed)
            .map(|(what, _)| format!("{what} changed"))
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
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    let made_of = Sources::of(plan);
    let database = keep(&mut problems, load_database(plan));
    let told = |error: CertificateError| certificate_problem(plan, &error);
    let identities = keep_all(&mut problems, load_identities(plan, &mut warnings));
    let admin_identities = keep_all(&mut problems, load_admin_identities(plan, &mut warnings));
    let clients = keep_all(&mut problems, load_clients(plan, &mut warnings));
    let credentials = Credentials::load(&plan.tls.origins).map_err(told);
    let credentials = keep(&mut problems, credentials);
    let before_measured = before.map(|before| &before.measured);
    let measured = Measured::load(plan, before_measured, &mut warnings);
    let measured = keep_all(&mut problems, measured);
    let (
        Some(database),
        Some(identities),
        Some(admin_identities),
        Some(clients),
        Some(credentials),
        Some(measured),
    ) = (
        database,
        identities,
        admin_identities,
        clients,
        credentials,
        measured,
    )
    else {
        return Err(problems);
    };
    let access_log = match missing_keys {
        MissingKeys::Create => open_access_log(plan, before)?,
        MissingKeys::Leave => None,
    };
    let measured = measured.look_around(plan, &database);
    // Last, because it may write: nothing is written for a configuration that is refused.
    let zone_keys = load_all_keys(plan, missing_keys, &mut warnings)?;
    let same_identities = before.filter(|b| b.made_of.identities == made_of.identities);
    let same_trust = before.filter(|b| b.made_of.trust == made_of.trust);
    let (identities, https, dot) = match same_identities {
        Some(before) => (
            before.identities.clone(),
            before.https.clone(),
            before.dot.clone(),
        ),
        None => (
            identities.clone(),
            identities.server_config(HTTPS_ALPN, clients),
            identities.server_config(DOT_ALPN, None),
        ),
    };
    let admin_tls = match plan.admin.tls {
        None => None,
        Some(AdminTls::Edge) => Some(&identities),
        Some(AdminTls::Own(_)) => admin_identities.as_ref(),
    };
    let admin_tls = admin_tls.map(|identities| identities.server_config(ADMIN_ALPN, None));
    let (origin_tls, trust) = match same_trust {
        Some(before) => (before.origin_tls.clone(), before.trust.clone()),
        None => (
            OriginTls::new(&plan.tls.origins, &credentials),
            Trust::new(plan, &credentials),
        ),
    };
    Ok(Materials {
        clients: Arc::new(measured.client_map(plan, &database)),
        measured,
        database,
        identities,
        https,
        dot,
        admin_tls,
        origin_tls,
        probers: probers(plan, &trust),
        access_log,
        zone_keys,
        trust,
        warnings,
        made_of,
    })
}

fn keep<T>(problems: &mut Vec<Problem>, outcome: Result<T, Problem>) -> Option<T> {
    keep_all(problems, outcome.map_err(|problem| vec![problem]))
}

fn keep_all<T>(problems: &mut Vec<Problem>, outcome: Result<T, Vec<Problem>>) -> Option<T> {
    match outcome {
        Ok(value) => Some(value),
        Err(wrong) => {
            problems.extend(wrong);
            None
        }
    }
}

fn load_database(plan: &Plan) -> Result<Arc<Database>, Problem> {
    match &plan.geo.database {
        None => Ok(Database::built_in()),
        Some(file) => Database::open(&file.path)
            .map(Arc::new)
            .map_err(|error| Problem::new(Some(file.at.clone()), error.to_string())),
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

fn load_identities(
    plan: &Plan,
    warnings: &mut Vec<Problem>,
) -> Result<Arc<Identities>, Vec<Problem>> {
    let told = |error: &CertificateError| certificate_problem(plan, error);
    if !plan.tls.certificates.is_empty() {
        let now = Duration::from_millis(clock::unix_ms());
        let (identities, expiring) = Identities::load(&plan.tls.certificates, now)
            .map_err(|errors| errors.iter().map(told).collect::<Vec<_>>())?;
        warnings.extend(expiring.iter().map(told));
        return Ok(Arc::new(identities));
    }
    let is_shown_by_admin = plan.admin.tls == Some(AdminTls::Edge);
    if !plan.listen.https.is_empty() || !plan.listen.dns_tls.is_empty() || is_shown_by_admin {
        let message = "tls.certificates is not set: a self-signed certificate is used, which clients will not trust";
        warnings.push(Problem::new(None, message.to_owned()));
    }
    let made = Identities::self_signed(&hosts(plan));
    made.map(Arc::new).map_err(|error| {
        vec![Problem::new(
            None,
            format!("no self-signed certificate: {error}"),
        )]
    })
}

/// The certificate of the admin's own, if it has one.
fn load_admin_identities(
    plan: &Plan,
    warnings: &mut Vec<Problem>,
) -> Result<Option<Arc<Identities>>, Vec<Problem>> {
    let Some(AdminTls::Own(certificate)) = &plan.admin.tls else {
        return Ok(None);
    };
    let told = |error: &CertificateError| certificate_problem(plan, error);
    let now = Duration::from_millis(clock::unix_ms());
    let (identities, expiring) = Identities::load(std::slice::from_ref(certificate), now)
        .map_err(|errors| errors.iter().map(told).collect::<Vec<_>>())?;
    warnings.extend(expiring.iter().map(told));
    Ok(Some(Arc::new(identities)))
}

/// What verifies clients, if they are asked for certificates.
fn load_clients(
    plan: &Plan,
    warnings: &mut Vec<Problem>,
) -> Result<Option<ClientVerifier>, Vec<Problem>> {
    let Some(clients) = &plan.tls.clients else {
        return Ok(None);
    };
    let told = |error: &CertificateError| certificate_problem(plan, error);
    let now = Duration::from_millis(clock::unix_ms());
    let (verifier, expired) = client_verifier(clients, now)
        .map_err(|errors| errors.iter().map(told).collect::<Vec<_>>())?;
    warnings.extend(expired.iter().map(told));
    Ok(Some(verifier))
}

fn hosts(plan: &Plan) -> Vec<String> {
    let hosts = plan.services.values().flat_map(|service| &service.hosts);
    hosts.map(HostPattern::to_string).collect()
}

/// A certificate's problem at the place where the configuration names the file.
fn certificate_problem(plan: &Plan, error: &CertificateError) -> Problem {
    let mut files = plan.tls.files().chain(plan.admin.files());
    let named = files.find(|file| file.path == error.path);
    Problem::new(named.map(|file| file.at.clone()), error.to_string())
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
