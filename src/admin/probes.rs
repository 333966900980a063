//! `GET /api/v1/probes`: the last probes of a region's targets.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::parameters::Parameters;
use super::state::AdminState;
use super::status::probe;
use super::writes::{bad, error};
use crate::control::TargetProbes;

/// `?region=`, and `service=` to have those of one service alone.
pub(super) async fn probes(State(state): State<Arc<AdminState>>, uri: Uri) -> Response {
    let given = match Parameters::of(&uri, &["region", "service"]) {
        Ok(given) => given,
        Err(refused) => return refused.into_response(),
    };
    let Some(region) = given.text("region") else {
        return bad("`region` is needed").into_response();
    };
    let service = given.text("service");
    if let Some(unknown) = unknown(&state, &region, service.as_deref()) {
        return error(StatusCode::NOT_FOUND, unknown).into_response();
    }
    match state.control.probes(region.clone(), service).await {
        Ok(targets) => {
            let targets: Vec<Value> = targets.iter().map(target).collect();
            Json(json!({ "region": region, "targets": targets })).into_response()
        }
        Err(closed) => error(StatusCode::SERVICE_UNAVAILABLE, closed.to_string()).into_response(),
    }
}

fn unknown(state: &AdminState, region: &str, service: Option<&str>) -> Option<String> {
    let plan = &state.snapshot().plan;
    let Some(id) = plan.region(region) else {
        return Some(format!("there is no region `{region}`"));
    };
    let service = service?;
    let mut named = plan
        .services
        .values()
        .filter(|known| *known.name == *service);
    let is_known = named.any(|known| known.regions.iter().any(|member| member.region == id));
    (!is_known).then(|| format!("there is no service `{service}` that uses this region"))
}

fn target(target: &TargetProbes) -> Value {
    json!({
        "service": &*target.service,
        "url": &*target.url,
        "probes": target.probes.iter().map(probe).collect::<Vec<_>>(),
    })
}
