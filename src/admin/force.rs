//! `PUT` and `DELETE /api/v1/forced/REGION`: what an operator says of health counts before what probes say.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::state::AdminState;
use super::writes::{Asked, Refused, bad, drain_refused, service_of, shutting_down, text};
use crate::clock;
use crate::control::ForcedState;
use crate::steering::Forced;

/// `PUT /api/v1/forced/REGION`.
pub(super) async fn put(
    State(state): State<Arc<AdminState>>,
    Path(region): Path<String>,
    body: Bytes,
) -> Result<Response, Refused> {
    let asked = Asked::read(&body, "state")?;
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
        reason: asked.reason,
    };
    let answer = json!({
        "region": &*forced.region,
        "service": forced.service.as_deref(),
        "state": forced.state.as_str(),
        "until": forced.until_ms.map(clock::rfc3339),
        "reason": forced.reason,
    });
    let concluded = state.control.force(forced, asked.force).await;
    match concluded.map_err(shutting_down)? {
        Ok(()) => Ok(Json(answer).into_response()),
        Err(refused) => Ok(drain_refused(&refused)),
    }
}

/// `DELETE /api/v1/forced/REGION`.
pub(super) async fn delete(
    State(state): State<Arc<AdminState>>,
    Path(region): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let undone = state
        .control
        .unforce(region.clone(), service_of(query))
        .await;
    match undone.map_err(shutting_down)? {
        Ok(()) => Ok(Json(json!({ "region": region })).into_response()),
        Err(refused) => Ok(drain_refused(&refused)),
    }
}
