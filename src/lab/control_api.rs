//! The running lab's side of `meridian lab COMMAND`: a small HTTP API.
//!
//! Commands are POSTs and answer with a sentence for people in `message`, or with what was wrong
//! in `error`; `GET /state` answers with [`LabState`].

use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::emulation::Lab;
use super::error::{Change, LabError};
use super::state::LabState;

/// What a command answers with.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Reply {
    /// What was done, as a sentence.
    Message(String),
    /// Why nothing was done, as a sentence.
    Error(String),
}

pub(super) fn router(lab: Lab) -> Router {
    Router::new()
        .route("/state", get(state))
        .route("/kill/{region}", post(kill))
        .route("/restore/{region}", post(restore))
        .route("/lag/{region}", post(lag))
        .route("/partition/{one}/{other}", post(partition))
        .route("/heal", post(heal))
        .fallback(no_such_command)
        .with_state(lab)
}

async fn state(State(lab): State<Lab>) -> Json<LabState> {
    Json(lab.state())
}

async fn kill(State(lab): State<Lab>, Path(region): Path<String>) -> Result<Json<Reply>, LabError> {
    Ok(told(match lab.kill(&region).await? {
        Change::Made => format!("{region} is down; `meridian lab restore {region}` brings it back"),
        Change::AlreadySo => format!("{region} was down already"),
    }))
}

async fn restore(
    State(lab): State<Lab>,
    Path(region): Path<String>,
) -> Result<Json<Reply>, LabError> {
    Ok(told(match lab.restore(&region).await? {
        Change::Made => format!("{region} is up again, with the data it had, and catches up"),
        Change::AlreadySo => format!("{region} was up already"),
    }))
}

#[derive(Deserialize)]
struct LagQuery {
    ms: u64,
}

async fn lag(
    State(lab): State<Lab>,
    Path(region): Path<String>,
    query: Result<Query<LagQuery>, QueryRejection>,
) -> Result<Json<Reply>, LabError> {
    let Query(LagQuery { ms }) = query.map_err(|_| LabError::NoLag)?;
    lab.lag(&region, Duration::from_millis(ms))?;
    Ok(told(format!(
        "{region} applies the other regions' writes {ms} ms after their commit"
    )))
}

async fn partition(
    State(lab): State<Lab>,
    Path((one, other)): Path<(String, String)>,
) -> Result<Json<Reply>, LabError> {
    Ok(told(match lab.partition(&one, &other)? {
        Change::Made => {
            format!("nothing passes between {one} and {other} until `meridian lab heal`")
        }
        Change::AlreadySo => format!("{one} and {other} were parted already"),
    }))
}

async fn heal(State(lab): State<Lab>) -> Json<Reply> {
    told(match lab.heal() {
        Change::Made => "every partition is healed; what was held up flows".to_owned(),
        Change::AlreadySo => "there was no partition".to_owned(),
    })
}

async fn no_such_command() -> (StatusCode, Json<Reply>) {
    let commands = "no such command; there are GET /state and POST /kill/REGION, \
                    /restore/REGION, /lag/REGION?ms=N, /partition/A/B, /heal";
    (
        StatusCode::NOT_FOUND,
        Json(Reply::Error(commands.to_owned())),
    )
}

fn told(message: String) -> Json<Reply> {
    Json(Reply::Message(message))
}

impl IntoResponse for LabError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::UnknownRegion { .. } => StatusCode::NOT_FOUND,
            Self::SameRegion { .. } | Self::TooLong { .. } | Self::NoLag => StatusCode::BAD_REQUEST,
            Self::NoRegions
            | Self::Name(_)
            | Self::Twice { .. }
            | Self::Bind { .. }
            | Self::Client(_)
            | Self::NotRunning { .. }
            | Self::Refused(_)
            | Self::NotALab { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(Reply::Error(self.to_string()))).into_response()
    }
}
