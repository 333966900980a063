//! The calls that change something: drains and reload; what bodies have in common.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::foresee::{foresee, is_dry};
use super::state::AdminState;
use crate::clock;
use crate::control::{Changed, Drain, DrainRefused};
use crate::ids::ServiceId;
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

/// An object from a body; an empty body is an empty object. Unknown keys are refused.
pub(super) fn object(body: &Bytes, known: &[&str]) -> Result<Value, Refused> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(json!({}));
    }
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| bad(format!("the body is no JSON: {error}")))?;
    let Some(object) = value.as_object() else {
        return Err(bad("the body must be a JSON object"));
    };
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(bad(format!(
            "unknown key `{key}`: expected {}",
            known.join(", ")
        ))),
        None => Ok(value),
    }
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

/// The longest reason, in characters: it is told to all who watch, kept, and logged.
const LONGEST_REASON: usize = 500;

/// Why an operator does what is asked for: a line that a terminal can show.
fn reason(object: &Value) -> Result<Option<String>, Refused> {
    let Some(given) = text(object, "reason")? else {
        return Ok(None);
    };
    if given.chars().count() > LONGEST_REASON || given.chars().any(char::is_control) {
        return Err(bad(format!(
            "`reason` must be a line of at most {LONGEST_REASON} characters without control characters"
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
    pub(super) reason: Option<String>,
    /// Whether guards are to be passed over.
    pub(super) force: bool,
}

impl Asked {
    /// Reads a body, which may have one key more.
    pub(super) fn read(body: &Bytes, own: &str) -> Result<Self, Refused> {
        let body = object(body, &["service", "for", own, "reason", "force"])?;
        let since_ms = clock::unix_ms();
        Ok(Self {
            service: text(&body, "service")?.map(Into::into),
            since_ms,
            until_ms: length(&body, "for")?.map(|lasts_ms| since_ms.saturating_add(lasts_ms)),
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
    Path(region): Path<String>,
    uri: Uri,
    body: Bytes,
) -> Result<Response, Refused> {
    let asked = Asked::read(&body, "over")?;
    let drain = Drain {
        over_ms: length(&asked.body, "over")?.unwrap_or(0),
        region: region.into(),
        service: asked.service,
        since_ms: asked.since_ms,
        until_ms: asked.until_ms,
        reason: asked.reason,
    };
    if is_dry(&uri).map_err(bad)? {
        return dry_run(&state, &drain);
    }
    let answer = json!({
        "region": &*drain.region,
        "service": drain.service.as_deref(),
        "until": drain.until_ms.map(clock::rfc3339),
        "over_ms": drain.over_ms,
        "reason": drain.reason,
    });
    let outcome = state.control.drain(drain, asked.force).await;
    Ok(concluded(answer, outcome.map_err(shutting_down)?))
}

/// The answer to a change that an operator asked for, with why it would not outlive a restart.
pub(super) fn concluded(mut answer: Value, outcome: Result<Changed, DrainRefused>) -> Response {
    match outcome {
        Ok(Changed { unsaved }) => {
            if let Some(answer) = answer.as_object_mut() {
                answer.insert("unsaved".to_owned(), unsaved.into());
            }
            Json(answer).into_response()
        }
        Err(refused) => drain_refused(&refused),
    }
}

/// What a drain would do, from the facts now in force.
fn dry_run(state: &AdminState, drain: &Drain) -> Result<Response, Refused> {
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
    let foreseen = foresee(&snapshot, region, &services, &state.served_of_late());
    Ok(Json(foreseen).into_response())
}

/// The service that a query names.
pub(super) fn service_of(query: Vec<(String, String)>) -> Option<String> {
    let mut named = query.into_iter().filter(|(key, _)| key == "service");
    named.next().map(|(_, value)| value)
}

/// `DELETE /api/v1/drains/REGION`.
pub(super) async fn undrain(
    State(state): State<Arc<AdminState>>,
    Path(region): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let answer = json!({ "region": region });
    let outcome = state.control.undrain(region, service_of(query)).await;
    Ok(concluded(answer, outcome.map_err(shutting_down)?))
}

fn drain_refused(refused: &DrainRefused) -> Response {
    match refused {
        DrainRefused::UnknownRegion(_)
        | DrainRefused::UnknownService(_)
        | DrainRefused::NotDrained(_)
        | DrainRefused::NotForced(_) => {
            error(StatusCode::NOT_FOUND, refused.to_string()).into_response()
        }
        DrainRefused::HandedOver => {
            error(StatusCode::SERVICE_UNAVAILABLE, refused.to_string()).into_response()
        }
        DrainRefused::Guard {
            service,
            min_regions,
            left,
        } => {
            let left: Vec<&str> = left.iter().map(|region| &**region).collect();
            let answer = json!({
                "error": refused.to_string(), "service": &**service, "min_regions": min_regions, "left": left,
            });
            (StatusCode::CONFLICT, Json(answer)).into_response()
        }
    }
}

/// `POST /api/v1/reload`.
pub(super) async fn reload(State(state): State<Arc<AdminState>>) -> Result<Response, Refused> {
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
