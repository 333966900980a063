//! Who did what, when, from where, and what came of it: told to the audit log and as an event.
//!
//! Around the calls of operators: drains, forced states, reloads. Positions are pushed by machines, and
//! what a dry run shows changes nothing: neither is told unless it is refused for want of the right to.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::{Value, json};

use super::caller::{Caller, Who};
use super::denied::Denied;
use super::parameters::Parameters;
use super::state::AdminState;
use crate::clock;
use crate::control::{Control, Kind, Trouble};
use crate::disk::Written;
use crate::terminal;

/// Of a call that is refused no longer body is told, in bytes: refusals cost whoever sends them nothing,
/// and would push what was done out of the log.
const MOST_REFUSED_BODY: usize = 1 << 10;

/// Characters of a call that are told.
const MOST_CALL: usize = 512;

/// Answers to them are of one object.
const MOST_ANSWER: usize = 4 << 20;

/// Lets a call pass, and tells of it before its answer is sent.
pub(super) async fn tell(
    State(state): State<Arc<AdminState>>,
    request: Request,
    next: Next,
) -> Response {
    let caller = request.extensions().get::<Caller>().cloned();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let Some(caller) = caller.filter(|_| is_told(&method, &uri)) else {
        return next.run(request).await;
    };
    let (parts, body) = request.into_parts();
    // It is there, and no longer than it may be: `body` has awaited it.
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let request = Request::from_parts(parts, Body::from(body.clone()));
    let (parts, answer) = next.run(request).await.into_parts();
    let answer = whole(answer).await;
    let left_out = if parts.status.is_success() {
        Some(0)
    } else {
        let now_ms = clock::unix_ms();
        state.access.admit_refusal(&caller.who, now_ms)
    };
    if let Some(left_out) = left_out {
        let mut told: Value = serde_json::from_slice(&answer).unwrap_or_default();
        let mut take = |key| told.get_mut(key).map_or(Value::Null, Value::take);
        let act = Act {
            caller: (caller.who, caller.from),
            what: shortened(format!("{method} {uri}")),
            with: told_body(&body, parts.status),
            status: parts.status,
            why: shown(take("error")),
            event: take("event"),
            left_out,
        };
        act.record(&state).await;
    }
    Response::from_parts(parts, Body::from(answer))
}

fn is_told(method: &Method, uri: &Uri) -> bool {
    let is_change = !matches!(*method, Method::GET | Method::HEAD);
    let path = uri.path();
    let is_act = ["/api/v1/drains/", "/api/v1/forced/", "/api/v1/reload"]
        .iter()
        .any(|begins| path.starts_with(begins));
    is_change && is_act && !is_dry_run(method, uri)
}

/// Whether a call asks what a drain would do.
pub(super) fn is_dry_run(method: &Method, uri: &Uri) -> bool {
    *method == Method::PUT
        && uri.path().starts_with("/api/v1/drains/")
        && Parameters::of(uri, &["dry_run"])
            .and_then(Parameters::asks_for_dry_run)
            .is_ok_and(|is_dry| is_dry)
}

/// The beginning of what somebody called, or of why that was refused: names are shorter than this.
fn shortened(what: String) -> String {
    what.chars().take(MOST_CALL).collect()
}

/// Why something was refused, which may quote what was sent, in one line.
fn shown(why: Value) -> Value {
    match why.as_str() {
        Some(text) => json!(shortened(terminal::in_a_line(text).into_owned())),
        None => why,
    }
}

/// An answer; a longer one is lost rather than held in memory.
async fn whole(answer: Body) -> Bytes {
    to_bytes(answer, MOST_ANSWER).await.unwrap_or_default()
}

/// What was sent: as JSON, else that it was none; of a long one that was refused, its length.
fn told_body(body: &Bytes, status: StatusCode) -> Value {
    if body.is_empty() {
        return Value::Null;
    }
    if !status.is_success() && body.len() > MOST_REFUSED_BODY {
        return json!(format!("{} bytes, refused", body.len()));
    }
    serde_json::from_slice(body).unwrap_or_else(|_| json!(format!("{} bytes, no JSON", body.len())))
}

/// Tells of a call that was turned away, unless too many were.
pub(super) async fn tell_of_refusal(
    state: &AdminState,
    caller: (Who, IpAddr),
    what: String,
    denied: &Denied,
) {
    let admitted = state.access.admit_refusal(&caller.0, clock::unix_ms());
    let Some(left_out) = admitted else {
        return;
    };
    let act = Act {
        caller,
        what: shortened(what),
        with: Value::Null,
        status: denied.status,
        why: json!(denied.why),
        event: Value::Null,
        left_out,
    };
    act.record(state).await;
}

/// What somebody did or tried to.
struct Act {
    /// Who, and from where.
    caller: (Who, IpAddr),
    what: String,
    with: Value,
    status: StatusCode,
    why: Value,
    /// The id of the event that tells of what it changed: lines of calls that came at once need not be in their order.
    event: Value,
    /// Refusals of the same caller before it that were not told.
    left_out: u64,
}

impl Act {
    async fn record(self, state: &AdminState) {
        let is_done = self.status.is_success();
        let outcome = if is_done { "done" } else { "refused" };
        let (who, from) = (self.caller.0.to_string(), self.caller.1);
        let line = json!({
            "at": clock::rfc3339(clock::unix_ms()), "who": who, "from": from, "what": self.what,
            "with": self.with, "outcome": outcome, "status": self.status.as_u16(), "why": self.why,
            "event": self.event, "left_out": self.left_out,
        });
        if let Some(audit) = state.audit.clone() {
            let written = audit.add(line).await;
            tell_of_writing(&state.control, written).await;
        }
        let why = self
            .why
            .as_str()
            .map_or(String::new(), |why| format!(": {why}"));
        let message = format!("{who} from {from}: {} {outcome}{why}", self.what);
        if is_done {
            state.control.tell(Kind::Audit, message).await;
        } else {
            state.control.tell_of_refusal(message).await;
        }
    }
}

/// Tells once that what is done is not in the audit log, and once that it is again.
async fn tell_of_writing(control: &Control, written: Written) {
    let message = written.outcome.as_ref().err().map(|error| {
        format!("what was done last is not in the audit log, audit.jsonl in node.state_dir cannot be written: {error}")
    });
    if !control
        .troubles()
        .note(Trouble::AuditUnwritten, message.clone())
    {
        return;
    }
    match message {
        Some(message) => control.warn(Kind::State, message).await,
        None => {
            let message = "what is done is in the audit log again".to_owned();
            control.tell(Kind::State, message).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_of_4_mib_passes_and_a_longer_one_is_not_held() {
        for (given, passed) in [(4 << 20, 4 << 20), ((4 << 20) + 1, 0)] {
            let answer = whole(Body::from(vec![b' '; given])).await;
            assert_eq!(answer.len(), passed);
        }
    }

    #[test]
    fn of_a_refused_call_a_body_of_1_kib_is_told_and_of_a_longer_one_its_length() {
        let told = |length: usize, status| {
            let body = json!("x".repeat(length - 2)).to_string();
            told_body(&Bytes::from(body), status).to_string().len()
        };
        assert_eq!(told(1024, StatusCode::NOT_FOUND), 1024);
        assert_eq!(
            told_body(&Bytes::from(vec![b' '; 1025]), StatusCode::NOT_FOUND),
            json!("1025 bytes, refused")
        );
        assert!(told(60_000, StatusCode::CONFLICT) < 64);
        assert_eq!(told(60_000, StatusCode::OK), 60_000);
    }

    #[test]
    fn of_a_call_512_characters_are_told_whatever_they_are() {
        for (given, told) in [(511, 511), (512, 512), (513, 512)] {
            assert_eq!(shortened("é".repeat(given)).chars().count(), told);
        }
    }
}
