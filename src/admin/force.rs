//! `PUT` and `DELETE /api/v1/forced/REGION`: what an operator says of health counts before what probes say.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde_json::json;

use super::caller::Caller;
use super::parameters::{InPath, Parameters};
use super::state::AdminState;
use super::writes::{Asked, Refused, bad, concluded, shutting_down, text};
use crate::clock;
use crate::control::ForcedState;
use crate::steering::Forced;

/// `PUT /api/v1/forced/REGION`.
pub(super) async fn put(
    State(state): State<Arc<AdminState>>,
    InPath(region): InPath,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    body: Bytes,
) -> Result<Response, Refused> {
    Parameters::of(&uri, &[])?;
    let asked = Asked::read(&caller, &body, "state")?;
    let forced = ForcedState {
        region: region.into(),
        service: asked.service,
        state: match text(&asked.body, "state")? {
            Some("up") => Forced::Up,
            Some("down") => Forced::Down,
            Some(_) | None => return Err(bad("`state` must be \"up\" or \"down\"")),
        },
        since_ms: asked.since_ms,
        until_ms: asked.until_ms,
        by: asked.by,
        reason: asked.reason,
    };
    let answer = json!({
        "region": &*forced.region,
        "service": forced.service.as_deref(),
        "state": forced.state.as_str(),
        "until": forced.until_ms.map(clock::rfc3339),
        "by": forced.by.as_deref(),
        "reason": forced.reason,
    });
    let outcome = state.control.force(forced, asked.force).await;
    Ok(concluded(outcome.map_err(shutting_down)?, |_| answer))
}

/// `DELETE /api/v1/forced/REGION`.
pub(super) async fn delete(
    State(state): State<Arc<AdminState>>,
    InPath(region): InPath,
    uri: Uri,
    body: Bytes,
) -> Result<Response, Refused> {
    let service = Parameters::service_undone(&uri, &body)?;
    let outcome = state.control.unforce(region.clone(), service).await;
    Ok(concluded(outcome.map_err(shutting_down)?, |changed| {
        let forced = changed.forced.iter();
        let left: Vec<Option<&str>> = forced.map(|forced| forced.service.as_deref()).collect();
        json!({ "region": region, "still_forced": left })
    }))
}
