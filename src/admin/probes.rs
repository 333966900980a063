//! `GET /api/v1/probes`: the last probes of a region's targets.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use serde_json::{Value, json};

use super::parameters::Parameters;
use super::state::AdminState;
use super::status::probe;
use super::writes::{Refused, bad, error, shutting_down};
use crate::control::TargetProbes;

/// `?region=`, and `service=` to have those of one service alone.
pub(super) async fn probes(
    State(state): State<Arc<AdminState>>,
    uri: Uri,
) -> Result<Json<Value>, Refused> {
    let given = Parameters::of(&uri, &["region", "service"])?;
    let region = given.text("region");
    let region = region.ok_or_else(|| bad("`region` is needed"))?;
    let service = given.text("service");
    if let Some(unknown) = unknown(&state, &region, service.as_deref()) {
        return Err(error(StatusCode::NOT_FOUND, unknown));
    }
    let targets = state.control.probes(region.clone(), service).await;
    let targets = targets.map_err(shutting_down)?;
    let targets: Vec<Value> = targets.iter().map(target).collect();
    Ok(Json(json!({ "region": region, "targets": targets })))
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
        "checks": target.count,
        "probes": target.probes.iter().map(probe).collect::<Vec<_>>(),
    })
}
