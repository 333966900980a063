//! The running lab's side of `meridian lab COMMAND`: a small HTTP API.
//!
//! Commands are POSTs and answer with a sentence for people in `message`, or with what was wrong
//! in `error`; `GET /state` answers with [`LabState`](super::LabState).

use std::str::FromStr;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::conditions::Skew;
use super::emulation::Lab;
use super::error::{Change, LabError};
use super::replica::Rewind;

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
        .route("/lag/{from}/{to}", post(lag_of))
        .route("/skew/{region}", post(skew))
        .route("/backup/{region}", post(backup))
        .route("/rewind/{region}", post(rewind))
        .route("/flush/{region}", post(flush))
        .route("/crash/{region}", post(crash))
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
    let ms = argument(&query, "ms").ok_or(LabError::NoLag)?;
    lab.lag(&region, Duration::from_millis(ms))?;
    Ok(told(format!(
        "{region} applies the other regions' writes {ms} ms after their commit"
    )))
}

async fn lag_of(
    State(lab): State<Lab>,
    Path((from, to)): Path<(String, String)>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Value>, LabError> {
    let ms = argument(&query, "ms").ok_or(LabError::NoLag)?;
    lab.lag_of(&to, &from, Duration::from_millis(ms))?;
    Ok(told(format!(
        "{to} applies the writes of {from} {ms} ms after their commit"
    )))
}

async fn skew(
    State(lab): State<Lab>,
    Path(region): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Value>, LabError> {
    let ms = argument(&query, "ms").ok_or(LabError::NoSkew)?;
    lab.skew(&region, Skew::of_ms(ms))?;
    Ok(told(match ms {
        0 => format!("the clock of {region} is right"),
        ms => format!("the clock of {region} is {ms:+} ms from the time of day"),
    }))
}

async fn backup(
    State(lab): State<Lab>,
    Path(region): Path<String>,
) -> Result<Json<Value>, LabError> {
    let applied = lab.back_up(&region)?;
    Ok(told(format!(
        "{region} is backed up at {applied}; `meridian lab rewind {region}` goes back to it"
    )))
}

async fn rewind(
    State(lab): State<Lab>,
    Path(region): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Value>, LabError> {
    let rewind = how(&query).ok_or(LabError::NoRewind)?;
    let applied = lab.rewind(&region, rewind).await?;
    Ok(told(match rewind {
        Rewind::NewEpoch => format!("{region} is back at its backup in a new epoch: {applied}"),
        Rewind::Silent => format!("{region} is back at its backup and does not say so: {applied}"),
    }))
}

fn how(query: &[(String, String)]) -> Option<Rewind> {
    argument(query, "silently").map(|silently| match silently {
        true => Rewind::Silent,
        false => Rewind::NewEpoch,
    })
}

async fn flush(
    State(lab): State<Lab>,
    Path(region): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Value>, LabError> {
    let ms = argument(&query, "ms").ok_or(LabError::NoFlush)?;
    lab.flush(&region, Duration::from_millis(ms))?;
    Ok(told(match ms {
        0 => format!("{region} flushes each write to its disk before it acknowledges it"),
        ms => format!(
            "{region} flushes to its disk every {ms} ms; a crash takes what it acknowledged since"
        ),
    }))
}

async fn crash(
    State(lab): State<Lab>,
    Path(region): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Value>, LabError> {
    let how = how(&query).ok_or(LabError::NoCrash)?;
    let (lost, applied) = lab.crash(&region, how).await?;
    Ok(told(format!(
        "{region} crashed, lost {lost} acknowledged write(s) of its own, and is back at {applied}"
    )))
}

fn argument<T: FromStr>(query: &[(String, String)], key: &str) -> Option<T> {
    let (_, value) = query.iter().find(|(name, _)| name == key)?;
    value.parse().ok()
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
                    /restore/REGION, /lag/REGION?ms=N, /lag/FROM/TO?ms=N, /skew/REGION?ms=N, \
                    /backup/REGION, /rewind/REGION?silently=false, /flush/REGION?ms=N, \
                    /crash/REGION?silently=false, /partition/A/B, /heal";
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
            Self::SameRegion { .. }
            | Self::TooLong { .. }
            | Self::NoLag
            | Self::NoSkew
            | Self::NoFlush
            | Self::NoCrash
            | Self::NoRewind => StatusCode::BAD_REQUEST,
            Self::NoBackup { .. } => StatusCode::CONFLICT,
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
