//! The running lab's side of `meridian lab COMMAND`: a small HTTP API.
//!
//! Commands are POSTs and answer with a sentence for people in `message`, or with what was wrong
//! in `error`; `GET /state` answers with [`LabState`](super::LabState).

use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::emulation::Lab;
use super::error::{Change, LabError};

/// What a command answers with.
#[derive(Debug)]
pub(super) enum Reply {
    /// What was done, as a sentence.
    Message(String),
    /// Why nothing was done, as a sentence.
    Error(String),
}

impl Reply {
    fn to_json(&self) -> Json<Value> {
        Json(match self {
            Self::Message(message) => json!({ "message": message }),
            Self::Error(error) => json!({ "error": error }),
        })
    }

    /// None: it is no reply of a lab.
    pub(super) fn from_json(reply: &Value) -> Option<Self> {
        // Others answer with more: a region, for one.
        let reply = reply.as_object().filter(|reply| reply.len() == 1)?;
        let text = |key: &str| reply.get(key)?.as_str().map(str::to_owned);
        text("message")
            .map(Self::Message)
            .or_else(|| text("error").map(Self::Error))
    }
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

async fn state(State(lab): State<Lab>) -> Json<Value> {
    Json(lab.state().to_json())
}

async fn kill(State(lab): State<Lab>, Path(region): Path<String>) -> Result<Json<Value>, LabError> {
    Ok(told(match lab.kill(&region).await? {
        Change::Made => format!("{region} is down; `meridian lab restore {region}` brings it back"),
        Change::AlreadySo => format!("{region} was down already"),
    }))
}

async fn restore(
    State(lab): State<Lab>,
    Path(region): Path<String>,
) -> Result<Json<Value>, LabError> {
    Ok(told(match lab.restore(&region).await? {
        Change::Made => format!("{region} is up again, with the data it had, and catches up"),
        Change::AlreadySo => format!("{region} was up already"),
    }))
}

async fn lag(
    State(lab): State<Lab>,
    Path(region): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Value>, LabError> {
    let ms = query.iter().find(|(key, _)| key == "ms");
    let ms = ms
        .and_then(|(_, ms)| ms.parse().ok())
        .ok_or(LabError::NoLag)?;
    lab.lag(&region, Duration::from_millis(ms))?;
    Ok(told(format!(
        "{region} applies the other regions' writes {ms} ms after their commit"
    )))
}

async fn partition(
    State(lab): State<Lab>,
    Path((one, other)): Path<(String, String)>,
) -> Result<Json<Value>, LabError> {
    Ok(told(match lab.partition(&one, &other)? {
        Change::Made => {
            format!("nothing passes between {one} and {other} until `meridian lab heal`")
        }
        Change::AlreadySo => format!("{one} and {other} were parted already"),
    }))
}

async fn heal(State(lab): State<Lab>) -> Json<Value> {
    told(match lab.heal() {
        Change::Made => "every partition is healed; what was held up flows".to_owned(),
        Change::AlreadySo => "there was no partition".to_owned(),
    })
}

async fn no_such_command() -> (StatusCode, Json<Value>) {
    let commands = "no such command; there are GET /state and POST /kill/REGION, \
                    /restore/REGION, /lag/REGION?ms=N, /partition/A/B, /heal";
    (
        StatusCode::NOT_FOUND,
        Reply::Error(commands.to_owned()).to_json(),
    )
}

fn told(message: String) -> Json<Value> {
    Reply::Message(message).to_json()
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
        (status, Reply::Error(self.to_string()).to_json()).into_response()
    }
}
