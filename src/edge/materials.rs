//! What the configuration names but does not hold: the geography database, certificates, roots.

use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::config::plan::{FileRef, HostPattern, Plan};
use crate::config::{Loaded, Problem};
use crate::control::Probers;
use crate::geo::{ClientMap, Database};
use crate::health::Prober;
use crate::ids::Table;
use crate::proxy::{CertificateError, Identities, OriginTls, client_config, roots};

/// What HTTPS listeners offer, best first.
const HTTPS_ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];

/// What DNS over TLS offers (RFC 7858 §3.1 needs none; clients that name one name this).
const DOT_ALPN: &[&[u8]] = &[b"dot"];

/// All that a Plan needs beside itself, loaded and checked.
pub struct Materials {
    /// Where addresses are.
    pub database: Arc<Database>,
    /// The client map of this Plan.
    pub clients: Arc<ClientMap>,
    /// For https listeners.
    pub https: Arc<rustls::ServerConfig>,
    /// For DNS over TLS.
    pub dot: Arc<rustls::ServerConfig>,
    /// Towards origins.
    pub origin_tls: OriginTls,
    /// How targets are probed.
    pub probers: Probers,
    /// What to warn of.
    pub warnings: Vec<Problem>,
}

/// Loads everything that the Plan names; all that is wrong is told at once.
pub fn load_materials(loaded: &Loaded) -> Result<Materials, Vec<Problem>> {
    let plan = &loaded.plan;
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    let database = keep(&mut problems, load_database(plan));
    let identities = keep_all(&mut problems, load_identities(plan, &mut warnings));
    let dot_identities = keep_all(&mut problems, load_identities(plan, &mut Vec::new()));
    let origin_tls = keep(
        &mut problems,
        OriginTls::load(&plan.tls.origins).map_err(|error| certificate_problem(plan, &error)),
    );
    let probers = keep(
        &mut problems,
        probers(plan).map_err(|error| certificate_problem(plan, &error)),
    );
    let (Some(database), Some(identities), Some(dot_identities), Some(origin_tls), Some(probers)) =
        (database, identities, dot_identities, origin_tls, probers)
    else {
        return Err(problems);
    };
    Ok(Materials {
        clients: Arc::new(ClientMap::compile(plan, &database)),
        database,
        https: identities.server_config(HTTPS_ALPN),
        dot: dot_identities.server_config(DOT_ALPN),
        origin_tls,
        probers,
        warnings,
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

fn load_identities(plan: &Plan, warnings: &mut Vec<Problem>) -> Result<Identities, Vec<Problem>> {
    let told = |error: &CertificateError| certificate_problem(plan, error);
    if !plan.tls.certificates.is_empty() {
        let now = Duration::from_millis(clock::unix_ms());
        let (identities, expiring) = Identities::load(&plan.tls.certificates, now)
            .map_err(|errors| errors.iter().map(told).collect::<Vec<_>>())?;
        warnings.extend(expiring.iter().map(told));
        return Ok(identities);
    }
    if !plan.listen.https.is_empty() || !plan.listen.dns_tls.is_empty() {
        let message = "tls.certificates is not set: a self-signed certificate is used, which clients will not trust";
        warnings.push(Problem::new(None, message.to_owned()));
    }
    let hosts: Vec<String> = plan
        .services
        .values()
        .flat_map(|service| &service.hosts)
        .map(HostPattern::to_string)
        .collect();
    Identities::self_signed(&hosts).map_err(|error| {
        vec![Problem::new(
            None,
            format!("no self-signed certificate: {error}"),
        )]
    })
}

/// A certificate's problem at the place where the configuration names the file.
fn certificate_problem(plan: &Plan, error: &CertificateError) -> Problem {
    let certificates = plan.tls.certificates.iter().flat_map(|c| [&c.cert, &c.key]);
    let named = certificates
        .chain(&plan.tls.origins.ca)
        .find(|file: &&FileRef| file.path == error.path);
    Problem::new(named.map(|file| file.at.clone()), error.to_string())
}

fn probers(plan: &Plan) -> Result<Probers, CertificateError> {
    let trust = &plan.tls.origins;
    let roots = roots(trust)?;
    let verified = client_config(&roots, trust.verify, HTTPS_ALPN);
    let unverified = client_config(&roots, false, HTTPS_ALPN);
    Ok(Table::like(&plan.services, |id| {
        let check = &plan.services.of(id).health;
        Prober {
            tls: if check.verify_tls {
                verified.clone()
            } else {
                unverified.clone()
            },
            check: Arc::new(check.clone()),
            server_name: trust.server_name.clone(),
        }
    }))
}
