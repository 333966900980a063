//! What the configuration names, read and checked: all that is wrong with it is told at once.

use std::sync::Arc;
use std::time::Duration;

use super::materials::{Materials, hosts};
use super::measured::Measured;
use crate::clock;
use crate::config::Problem;
use crate::config::plan::{AdminTls, Plan};
use crate::geo::Database;
use crate::proxy::{CertificateError, ClientVerifier, Credentials, Identities, client_verifier};

/// What was read.
pub(super) struct Named {
    pub(super) database: Arc<Database>,
    pub(super) identities: Arc<Identities>,
    /// The admin's own.
    pub(super) admin_identities: Option<Arc<Identities>>,
    /// What verifies clients.
    pub(super) clients: Option<ClientVerifier>,
    /// Towards origins.
    pub(super) credentials: Credentials,
    pub(super) measured: Measured,
}

impl Named {
    /// Reads everything; what is imported of the same as in `before` is taken over.
    pub(super) fn load(
        plan: &Plan,
        before: Option<&Materials>,
        warnings: &mut Vec<Problem>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let database = keep(&mut problems, load_database(plan));
        let identities = keep_all(&mut problems, load_identities(plan, warnings));
        let admin_identities = keep_all(&mut problems, load_admin_identities(plan, warnings));
        let clients = keep_all(&mut problems, load_clients(plan, warnings));
        let told = |error: CertificateError| certificate_problem(plan, &error);
        let credentials = Credentials::load(&plan.tls.origins).map_err(told);
        let credentials = keep(&mut problems, credentials);
        let before_measured = before.map(|before| &before.measured);
        let measured = Measured::load(plan, database.as_deref(), before_measured, warnings);
        let measured = keep_all(&mut problems, measured);
        let all = || {
            Some(Self {
                database: database?,
                identities: identities?,
                admin_identities: admin_identities?,
                clients: clients?,
                credentials: credentials?,
                measured: measured?,
            })
        };
        all().ok_or(problems)
    }
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

/// A certificate's problem at the place where the configuration names the file.
fn certificate_problem(plan: &Plan, error: &CertificateError) -> Problem {
    let mut files = plan.tls.files().chain(plan.admin.files());
    let named = files.find(|file| file.path == error.path);
    Problem::new(named.map(|file| file.at.clone()), error.to_string())
}
