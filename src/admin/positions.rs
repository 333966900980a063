//! `PUT /api/v1/positions/REGION`: a region tells what its readers see.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::object::object;
use super::parameters::InPath;
use super::state::AdminState;
use super::writes::{Refused, bad, error, text};
use crate::clock;
use crate::config::plan::Plan;
use crate::ids::{DomainId, RegionId};
use crate::positions::{
    NotASequence, Pushed, Reason, Report, Reported, Sequence, Source, Vector, parse_entry,
    parse_vector, reject,
};
use crate::steering::Snapshot;

/// What a body says.
struct Asked {
    domain: DomainId,
    applied: Vector,
    sequence: Option<Sequence>,
}

/// How many origins of the region took a push in, and why others did not.
#[derive(Default)]
struct Tally {
    taken: usize,
    late: usize,
    doubtful: usize,
}

/// Where they are pushed to, before the region.
pub(super) const PATH: &str = "/api/v1/positions/";

/// `PUT /api/v1/positions/REGION`.
pub(super) async fn positions(
    State(state): State<Arc<AdminState>>,
    InPath(region): InPath,
    body: Bytes,
) -> Result<Json<Value>, Refused> {
    let asked_at_ms = clock::steady_ms();
    let body = object(&body, &["domain", "applied", "sequence"])?;
    let snapshot = state.snapshot();
    let plan = &snapshot.plan;
    let id = plan.region(&region).ok_or_else(|| {
        error(
            StatusCode::NOT_FOUND,
            format!("there is no region `{region}`"),
        )
    })?;
    let asked = Asked::read(plan, &region, &body)?;
    if plan.regions.of(id).origins.is_empty() {
        return Err(bad(format!(
            "region `{region}` has no origins, so it has no positions"
        )));
    }
    let tally = push(&state, &snapshot, id, &asked, asked_at_ms);
    let domain = &*plan.domains.of(asked.domain).name;
    Ok(Json(json!({ "region": region, "domain": domain,
        "taken": tally.taken, "late": tally.late, "doubtful": tally.doubtful })))
}

impl Asked {
    fn read(plan: &Plan, region: &str, body: &Value) -> Result<Self, Refused> {
        let malformed = |error: NotASequence| {
            reject(Source::Push, region, Reason::Malformed, &error);
            bad(format!("`sequence`: {error}"))
        };
        let domain = domain(plan, text(body, "domain")?)?;
        let sequence = text(body, "sequence")?.map(str::parse).transpose();
        let sequence = sequence.map_err(malformed)?;
        let applied = applied(plan, domain, body.get("applied")).map_err(|(reason, why)| {
            reject(Source::Push, region, reason, &why);
            bad(why)
        })?;
        Ok(Self {
            domain,
            applied,
            sequence,
        })
    }
}

/// Has each origin of a region say it.
fn push(
    state: &AdminState,
    snapshot: &Snapshot,
    region: RegionId,
    asked: &Asked,
    asked_at_ms: u64,
) -> Tally {
    let plan = &snapshot.plan;
    let (name, positions) = (
        &plan.regions.of(region).name,
        snapshot.positions.of(asked.domain),
    );
    let mut tally = Tally::default();
    for origin in &plan.regions.of(region).origins {
        let report = Report {
            region: name,
            origin: &plan.origins.of(*origin).url.to_string(),
            applied: &asked.applied,
            asked_at_ms,
            now_ms: clock::steady_ms(),
        };
        let pushed = positions.push(report, asked.sequence);
        tally.count(name, pushed);
        if pushed == Pushed::Taken(Reported::Regressed) {
            let message = format!("positions of {name} ran backwards, to {}", asked.applied);
            state.control.suspect(name.clone(), message);
        }
    }
    tally
}

impl Tally {
    fn count(&mut self, region: &str, pushed: Pushed) {
        match pushed {
            Pushed::Taken(_) => self.taken += 1,
            Pushed::Late => {
                self.late += 1;
                let why = "a push that was sent later came before it";
                reject(Source::Push, region, Reason::Late, &why);
            }
            Pushed::Doubtful => {
                self.doubtful += 1;
                let why = "it ran backwards, and this may be of before";
                reject(Source::Push, region, Reason::Doubtful, &why);
            }
        }
    }
}

/// The domain of this name; without one the only one.
fn domain(plan: &Plan, name: Option<&str>) -> Result<DomainId, Refused> {
    let mut matching = plan
        .domains
        .iter()
        .filter(|(_, domain)| name.is_none_or(|name| *domain.name == *name))
        .map(|(id, _)| id);
    match (matching.next(), matching.next(), name) {
        (Some(domain), None, _) => Ok(domain),
        (None, _, Some(name)) => Err(error(
            StatusCode::NOT_FOUND,
            format!("there is no domain `{name}`"),
        )),
        (None, _, None) => Err(error(
            StatusCode::NOT_FOUND,
            "no service has read_your_writes",
        )),
        (Some(_), Some(_), _) => Err(bad("there are several domains: say which with `domain`")),
    }
}

/// What is pushed as a vector, or why it is none.
fn applied(
    plan: &Plan,
    domain: DomainId,
    given: Option<&Value>,
) -> Result<Vector, (Reason, String)> {
    let form = plan.domains.of(domain).version;
    let malformed = |why: &dyn std::fmt::Display| (Reason::Malformed, why.to_string());
    let Some(entries) = given.and_then(Value::as_object) else {
        return Err(malformed(
            &"`applied` must be an object of region: \"POSITION\"",
        ));
    };
    if entries.is_empty() {
        return Err(malformed(
            &"`applied` has no position: region: \"POSITION\" is expected, `0` where nothing is applied",
        ));
    }
    let mut vector = Vector::default();
    for (region, position) in entries {
        if plan.region(region).is_none() {
            let why = format!("`applied` names an unknown region `{region}`");
            return Err((Reason::UnknownRegion, why));
        }
        let position = match position {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            other @ (Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
                return Err(malformed(&format!("`{other}` is not a position")));
            }
        };
        let position = parse_entry(&position, form).map_err(|error| malformed(&error))?;
        vector.set(&region.as_str().into(), position);
    }
    // What a region says of itself in a header is bounded as well.
    parse_vector(&vector.show(form), form)
        .map_err(|error| (Reason::from(&error), error.to_string()))
}
