//! The calls that change something: drains and reload; what bodies have in common.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};

use super::aside::Aside;
use super::caller::Caller;
use super::foresee::foresee;
use super::object::object;
use super::parameters::{InPath, Parameters, refuse_body};
use super::state::AdminState;
use crate::clock;
use crate::control::{Changed, DrainRefused, DrainRequest, Drains};
use crate::ids::ServiceId;
use crate::terminal;
use crate::units::parse_duration;

/// An error as JSON.
pub(super) fn error(status: StatusCode, message: impl Into<String>) -> (StatusCode, Json<Value>) {
    (status, Json(json!({ "error": message.into() })))
}

pub(super) type Refused = (StatusCode, Json<Value>);

pub(super) fn bad(message: impl Into<String>) -> Refused {
    error(StatusCode::BAD_REQUEST, message)
}

pub(super) fn shutting_down<E: std::fmt::Display>(closed: E) -> Refused {
    error(StatusCode::SERVICE_UNAVAILABLE, closed.to_string())
}

pub(super) fn text<'a>(object: &'a Value, key: &str) -> Result<Option<&'a str>, Refused> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(bad(format!("`{key}` must be a string"))),
    }
}

/// A duration in milliseconds.
fn length(object: &Value, key: &str) -> Result<Option<u64>, Refused> {
    let Some(given) = text(object, key)? else {
        return Ok(None);
    };
    let length = parse_duration(given).map_err(|error| bad(format!("`{key}`: {error}")))?;
    Ok(Some(u64::try_from(length.as_millis()).unwrap_or(u64::MAX)))
}

/// For how long; not for none.
fn lasts_ms(body: &Value) -> Result<Option<u64>, Refused> {
    match length(body, "for")? {
        Some(0) => Err(bad(
            "`for` must be longer than 0s, or absent: until it is undone",
        )),
        lasts_ms => Ok(lasts_ms),
    }
}

/// The longest reason, in characters: it is told to all who watch, kept, and logged.
const LONGEST_REASON: usize = 500;

/// Why an operator does what is asked for: a line that a terminal can show. A blank one is none.
fn reason(object: &Value) -> Result<Option<String>, Refused> {
    let given = text(object, "reason")?.filter(|given| !given.trim().is_empty());
    let Some(given) = given else {
        return Ok(None);
    };
    if given.chars().count() > LONGEST_REASON || given.chars().any(terminal::acts_on) {
        return Err(bad(format!(
            "`reason` must be a line of at most {LONGEST_REASON} characters without control characters or changes of direction"
        )));
    }
    Ok(Some(given.to_owned()))
}

/// What the calls that drain or force a region have in common.
pub(super) struct Asked {
    /// The whole body, for what is the call's own.
    pub(super) body: Value,
    pub(super) service: Option<Arc<str>>,
    pub(super) since_ms: u64,
    pub(super) until_ms: Option<u64>,
    pub(super) by: Option<Arc<str>>,
    pub(super) reason: Option<String>,
    /// Whether guards are to be passed over.
    pub(super) force: bool,
}

impl Asked {
    /// Reads a body, which may have one key more.
    pub(super) fn read(caller: &Caller, body: &Bytes, own: &str) -> Result<Self, Refused> {
        let body = object(body, &["service", "for", own, "reason", "force"])?;
        let since_ms = clock::unix_ms();
        Ok(Self {
            service: text(&body, "service")?.map(Into::into),
            since_ms,
            until_ms: lasts_ms(&body)?.map(|lasts_ms| since_ms.saturating_add(lasts_ms)),
            by: Some(caller.who.to_string().into()),
            reason: reason(&body)?,
            force: force(&body)?,
            body,
        })
    }
}

fn force(asked: &Value) -> Result<bool, Refused> {
    match asked.get("force") {
        None | Some(Value::Null) => Ok(false),
        Some(force) => force
            .as_bool()
            .ok_or_else(|| bad("`force` must be true or false")),
    }
}

/// `PUT /api/v1/drains/REGION`.
pub(super) async fn drain(
    State(state): State<Arc<AdminState>>,
    InPath(region): InPath,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    body: Bytes,
) -> Result<Response, Refused> {
    let asked = Asked::read(&caller, &body, "over")?;
    let drain = DrainRequest {
        over_ms: length(&asked.body, "over")?,
        region: region.into(),
        service: asked.service,
        since_ms: asked.since_ms,
        until_ms: asked.until_ms,
        by: asked.by,
        reason: asked.reason,
    };
    let parameters = Parameters::of(&uri, &["dry_run"])?;
    let lasts_ms = drain
        .until_ms
        .map(|until_ms| until_ms.saturating_sub(drain.since_ms));
    if lasts_ms.is_some_and(|lasts_ms| drain.over_ms.is_some_and(|over_ms| lasts_ms < over_ms)) {
        return Err(bad(
            "`for` is shorter than `over`: the drain would end before it is through",
        ));
    }
    if parameters.asks_for_dry_run()? {
        return dry_run(&state, &drain).await;
    }
    let service = drain.service.clone();
    let outcome = state.control.drain(drain, asked.force).await;
    let outcome = outcome.map_err(shutting_down)?;
    Ok(concluded(outcome, |changed| {
        let in_force = changed.drains.iter().find(|drain| drain.service == service);
        in_force.map_or(Value::Null, |drain| {
            json!({
                "region": &*drain.region,
                "service": drain.service.as_deref(),
                "until": drain.until_ms.map(clock::rfc3339),
                "over_ms": drain.over_ms,
                "by": drain.by.as_deref(),
                "reason": drain.reason,
            })
        })
    }))
}

/// The answer to a change that an operator asked for, with why it would not outlive a restart.
pub(super) fn concluded(
    outcome: Result<Changed, DrainRefused>,
    answer: impl FnOnce(&Changed) -> Value,
) -> Response {
    match outcome {
        Ok(changed) => {
            let mut answer = answer(&changed);
            if let Some(answer) = answer.as_object_mut() {
                answer.insert("event".to_owned(), changed.event.into());
                answer.insert("unsaved".to_owned(), changed.unsaved.into());
            }
            Json(answer).into_response()
        }
        Err(refused) => drain_refused(&refused),
    }
}

/// Of many regions and services a dry run takes a second or more.
static LOOKING_AHEAD: Aside = Aside::new();

/// What a drain would do, from the facts now in force.
async fn dry_run(state: &AdminState, drain: &DrainRequest) -> Result<Response, Refused> {
    let snapshot = state.snapshot();
    let plan = &snapshot.plan;
    let not_found = |refused: DrainRefused| error(StatusCode::NOT_FOUND, refused.to_string());
    let region = plan
        .region(&drain.region)
        .ok_or_else(|| not_found(DrainRefused::UnknownRegion(drain.region.to_string())))?;
    let services: Vec<ServiceId> = plan
        .services
        .iter()
        .filter(|(_, service)| service.regions.iter().any(|member| member.region == region))
        .filter(|(_, service)| {
            drain
                .service
                .as_ref()
                .is_none_or(|name| *name == service.name)
        })
        .map(|(id, _)| id)
        .collect();
    if let (Some(name), true) = (&drain.service, services.is_empty()) {
        return Err(not_found(DrainRefused::UnknownService(name.to_string())));
    }
    let over_ms = over_ms(state, drain).await?;
    let names = services.iter().map(|id| plan.services.of(*id).name.clone());
    let lately = state.lately(&plan.regions.of(region).name, names);
    let foreseeing = move || foresee((&snapshot, clock::steady_ms()), region, &services, &lately);
    let mut told = LOOKING_AHEAD.run(foreseeing).await?;
    if let Some(told) = told.as_object_mut() {
        told.insert("over_ms".to_owned(), over_ms.into());
    }
    Ok(Json(told).into_response())
}

/// Over what time a drain would be, which may be in force already.
async fn over_ms(state: &AdminState, drain: &DrainRequest) -> Result<u64, Refused> {
    let in_force = state.control.status().await.map_err(shutting_down)?.drains;
    let in_force: Drains = in_force.into_iter().collect();
    let drain = in_force.asked(drain.clone());
    match drain {
        Ok(drain) => Ok(drain.over_ms),
        Err(refused) => Err(bad(format!("`for`: {refused}"))),
    }
}

/// `DELETE /api/v1/drains/REGION`.
pub(super) async fn undrain(
    State(state): State<Arc<AdminState>>,
    InPath(region): InPath,
    uri: Uri,
    body: Bytes,
) -> Result<Response, Refused> {
    let service = Parameters::service_undone(&uri, &body)?;
    let outcome = state.control.undrain(region.clone(), service).await;
    Ok(concluded(outcome.map_err(shutting_down)?, |changed| {
        let drains = changed.drains.iter();
        let left: Vec<Option<&str>> = drains.map(|drain| drain.service.as_deref()).collect();
        json!({ "region": region, "still_drained": left })
    }))
}

fn drain_refused(refused: &DrainRefused) -> Response {
    match refused {
        DrainRefused::UnknownRegion(_)
        | DrainRefused::UnknownService(_)
        | DrainRefused::Nothing { .. } => {
            error(StatusCode::NOT_FOUND, refused.to_string()).into_response()
        }
        DrainRefused::EndsBefore { .. } => bad(format!("`for`: {refused}")).into_response(),
        DrainRefused::HandedOver => {
            error(StatusCode::SERVICE_UNAVAILABLE, refused.to_string()).into_response()
        }
        DrainRefused::Guard {
            service,
            min_regions,
            left,
            unread,
        } => {
            let names = |regions: &[Arc<str>]| -> Value {
                regions.iter().map(|region| &**region).collect()
            };
            let answer = json!({
                "error": refused.to_string(), "service": &**service, "min_regions": min_regions,
                "left": names(left), "unread": names(unread),
            });
            (StatusCode::CONFLICT, Json(answer)).into_response()
        }
    }
}

/// `POST /api/v1/reload`.
pub(super) async fn reload(
    State(state): State<Arc<AdminState>>,
    uri: Uri,
    body: Bytes,
) -> Result<Response, Refused> {
    Parameters::of(&uri, &[])?;
    refuse_body(&body, "what the files say is loaded")?;
    match state.reloader.reload().await.map_err(shutting_down)? {
        Ok(reloaded) => Ok(Json(
            json!({ "generation": reloaded.generation, "changes": reloaded.changes }),
        )
        .into_response()),
        Err(problems) => {
            let problems: Vec<Value> = problems
                .iter()
                .map(|problem| {
                    json!({ "file": problem.file, "line": problem.line, "column": problem.column,
                        "message": problem.message, "source": problem.source })
                })
                .collect();
            let answer =
                json!({ "error": "the configuration was not loaded", "problems": problems });
            Ok((StatusCode::UNPROCESSABLE_ENTITY, Json(answer)).into_response())
        }
    }
}
