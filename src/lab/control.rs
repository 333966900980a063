//! The other terminal's side of `meridian lab COMMAND`: tells a running lab what to do.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use reqwest::{Method, Url};
use serde_json::Value;

use super::conditions::Skew;
use super::control_api::Reply;
use super::error::LabError;
use super::replica::Rewind;
use super::state::LabState;

/// Where a lab listens for commands unless it is told otherwise.
pub const DEFAULT_CONTROL: SocketAddr =
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 7070));

/// A lab answers at once; whoever takes longer is none.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What a running lab can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Cut this region off.
    Kill(String),
    /// Bring this region back.
    Restore(String),
    /// Let this region apply its peers' writes so long after their commit; whole milliseconds.
    Lag(String, Duration),
    /// Let the first region's writes reach the second so long after their commit; whole milliseconds.
    LagOf(String, String, Duration),
    /// Set how far this region's clock is from the time of day; whole milliseconds.
    Skew(String, Skew),
    /// Keep this region's data as it is.
    Backup(String),
    /// Put this region's data back to its backup.
    Rewind(String, Rewind),
    /// Flush this region's writes to its disk so often; whole milliseconds.
    Flush(String, Duration),
    /// Let this region lose what is not on its disk, and start again.
    Crash(String, Rewind),
    /// Stop replication between these two regions.
    Partition(String, String),
    /// End every partition.
    Heal,
    /// Tell how things are.
    State,
}

impl Command {
    fn method(&self) -> Method {
        match self {
            Self::State => Method::GET,
            Self::Kill(_)
            | Self::Restore(_)
            | Self::Lag(..)
            | Self::LagOf(..)
            | Self::Skew(..)
            | Self::Backup(_)
            | Self::Rewind(..)
            | Self::Flush(..)
            | Self::Crash(..)
            | Self::Partition(..)
            | Self::Heal => Method::POST,
        }
    }

    fn path(&self) -> Vec<&str> {
        match self {
            Self::Kill(region) => vec!["kill", region],
            Self::Restore(region) => vec!["restore", region],
            Self::Lag(region, _) => vec!["lag", region],
            Self::LagOf(from, to, _) => vec!["lag", from, to],
            Self::Skew(region, _) => vec!["skew", region],
            Self::Backup(region) => vec!["backup", region],
            Self::Rewind(region, _) => vec!["rewind", region],
            Self::Flush(region, _) => vec!["flush", region],
            Self::Crash(region, _) => vec!["crash", region],
            Self::Partition(one, other) => vec!["partition", one, other],
            Self::Heal => vec!["heal"],
            Self::State => vec!["state"],
        }
    }

    fn argument(&self) -> Option<(&str, String)> {
        match self {
            Self::Lag(_, delay) | Self::LagOf(_, _, delay) | Self::Flush(_, delay) => {
                Some(("ms", delay.as_millis().to_string()))
            }
            Self::Skew(_, skew) => Some(("ms", skew.ms().to_string())),
            Self::Rewind(_, rewind) | Self::Crash(_, rewind) => {
                Some(("silently", (*rewind == Rewind::Silent).to_string()))
            }
            Self::Kill(_)
            | Self::Restore(_)
            | Self::Backup(_)
            | Self::Partition(..)
            | Self::Heal
            | Self::State => None,
        }
    }

    fn url(&self, control: SocketAddr) -> Result<Url, LabError> {
        let not_a_lab = |reason| LabError::NotALab { control, reason };
        let mut url = Url::parse(&format!("http://{control}"))
            .map_err(|error| not_a_lab(error.to_string()))?;
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend(self.path());
        }
        if let Some((key, value)) = self.argument() {
            url.query_pairs_mut().append_pair(key, &value);
        }
        Ok(url)
    }
}

/// Sends one command and returns what to print: a sentence, or for [`Command::State`] a table.
///
/// # Errors
///
/// When no lab runs there, or it refuses the command.
pub async fn send(control: SocketAddr, command: Command) -> Result<String, LabError> {
    if command == Command::State {
        return Ok(state(control).await?.to_string());
    }
    match Reply::from_json(&ask(control, &command).await?) {
        Some(Reply::Message(message)) => Ok(message),
        Some(Reply::Error(error)) => Err(LabError::Refused(error)),
        None => Err(no_lab(control)),
    }
}

/// How things are in a running lab.
///
/// # Errors
///
/// When no lab runs there.
pub async fn state(control: SocketAddr) -> Result<LabState, LabError> {
    let state = ask(control, &Command::State).await?;
    LabState::from_json(&state).ok_or_else(|| no_lab(control))
}

fn no_lab(control: SocketAddr) -> LabError {
    LabError::NotALab {
        control,
        reason: "its answer is none of a lab".to_owned(),
    }
}

async fn ask(control: SocketAddr, command: &Command) -> Result<Value, LabError> {
    let failed = |error: reqwest::Error| {
        if error.is_connect() {
            LabError::NotRunning { control }
        } else {
            LabError::NotALab {
                control,
                reason: error.to_string(),
            }
        }
    };
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(ANSWER_TIMEOUT)
        .build();
    let request = client
        .map_err(LabError::Client)?
        .request(command.method(), command.url(control)?);
    request
        .send()
        .await
        .map_err(failed)?
        .json()
        .await
        .map_err(failed)
}
