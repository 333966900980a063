//! What an exchange says of its origin: nothing, if the fault is the client's or this edge's own.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::exchange::Exchanged;
use super::problem::Problem;
use crate::clock;
use crate::config::plan::Plan;
use crate::health::{Tally, Traffic, Word, origin_key};
use crate::ids::{OriginId, RegionId, ServiceId};
use crate::units::parse_duration;

/// An origin asks to be left alone for this long: a duration such as `30s`, or whole seconds.
const MERIDIAN_DRAIN: HeaderName = HeaderName::from_static("meridian-drain");

/// Counts what requests of one service show of one origin.
pub(super) struct Witness {
    origin: OriginId,
    tally: Arc<Tally>,
    traffic: Arc<Traffic>,
    /// After so many failures in a row somebody has to look, 0: never; none: its traffic says how busy it is, and
    /// nothing against it.
    most_in_a_row: Option<u32>,
}

impl Witness {
    /// Of every origin of a service's region.
    pub(super) fn of_region(
        plan: &Plan,
        service: ServiceId,
        region: RegionId,
        traffic: &Arc<Traffic>,
    ) -> Vec<Arc<Self>> {
        let passive = &plan.services.of(service).health.passive;
        let most_in_a_row = passive.as_ref().map(|passive| passive.consecutive_failures);
        let origins = plan.regions.of(region).origins.iter();
        origins
            .map(|origin| Self {
                origin: *origin,
                tally: traffic.tally(origin_key(plan, service, region, *origin)),
                traffic: traffic.clone(),
                most_in_a_row,
            })
            .map(Arc::new)
            .collect()
    }

    /// Whether it is of this origin.
    pub(super) fn is_of(&self, origin: OriginId) -> bool {
        self.origin == origin
    }

    /// Since when its probes find it unhealthy, on the edge's steady clock, if they do.
    pub(super) fn down_since_ms(&self) -> Option<u64> {
        self.tally.down_since_ms()
    }

    /// Takes in what became of an exchange. An answer that looks good is one only if it comes whole.
    pub(super) fn note(self: &Arc<Self>, exchanged: &mut Exchanged) {
        match exchanged {
            Exchanged::Answered(response, lease) => {
                if is_failure(response.status()) {
                    self.call_at(self.tally.answered_badly());
                } else {
                    lease.testimony = Some(Testimony::of(self));
                }
                self.note_word(response.status(), response.headers());
            }
            Exchanged::Unsent(problem, _) | Exchanged::Lost(problem) | Exchanged::Gone(problem) => {
                self.note_problem(problem);
            }
            // It is well enough to say that others should do it.
            Exchanged::Refused(_) | Exchanged::Left(_) => {}
        }
    }

    fn note_word(&self, status: StatusCode, headers: &HeaderMap) {
        if self.most_in_a_row.is_none() {
            return;
        }
        if word(status, headers).is_some_and(|word| self.tally.said(word)) {
            self.traffic.call();
        }
    }

    /// Takes in that there was no answer.
    pub(super) fn note_problem(&self, problem: &Problem) {
        if matches!(
            problem,
            Problem::OriginTimeout(_) | Problem::MalformedAnswer(_)
        ) {
            self.call_at(self.tally.answered_badly());
        } else if problem.is_of_origin() {
            self.call_at(self.tally.failed());
        }
    }

    /// Has somebody look when so many failures in a row are enough.
    fn call_at(&self, in_a_row: u32) {
        if self.most_in_a_row == Some(in_a_row) {
            self.traffic.call();
        }
    }
}

/// A good answer that is on its way. It counts as good when this is dropped, whole or given up by its client.
pub(super) struct Testimony(Option<Arc<Witness>>);

impl Testimony {
    fn of(witness: &Arc<Witness>) -> Self {
        Self(Some(witness.clone()))
    }

    /// The origin broke the answer off: it counts as failed.
    pub(super) fn refute(mut self) {
        if let Some(witness) = self.0.take() {
            witness.call_at(witness.tally.answered_badly());
        }
    }
}

impl Drop for Testimony {
    fn drop(&mut self) {
        if let Some(witness) = &self.0 {
            witness.tally.good();
        }
    }
}

/// 5xx, but for 501 and 505, which say something of the request.
fn is_failure(status: StatusCode) -> bool {
    status.is_server_error()
        && status != StatusCode::NOT_IMPLEMENTED
        && status != StatusCode::HTTP_VERSION_NOT_SUPPORTED
}

/// What an answer asks for.
fn word(status: StatusCode, headers: &HeaderMap) -> Option<Word> {
    if let Some(drain) = headers.get(MERIDIAN_DRAIN) {
        return drain_time(drain).map(Word::Drain);
    }
    if status != StatusCode::SERVICE_UNAVAILABLE {
        return None;
    }
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(clock::unix_ms());
    let pause = retry_after(headers.get(RETRY_AFTER)?, now)?;
    Some(Word::RetryAfter(pause))
}

fn drain_time(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    let time = seconds(text).or_else(|| parse_duration(text).ok())?;
    (!time.is_zero()).then_some(time)
}

/// RFC 9110 §10.2.3: seconds or a date; one that has passed asks for nothing.
fn retry_after(value: &HeaderValue, now: SystemTime) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    let until = || {
        httpdate::parse_http_date(text)
            .ok()?
            .duration_since(now)
            .ok()
    };
    let pause = seconds(text).or_else(until)?;
    (!pause.is_zero()).then_some(pause)
}

fn seconds(text: &str) -> Option<Duration> {
    text.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, name: &'static str, value: &str, expected: Option<Word>) {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(word(status, &headers), expected, "{status} {name}: {value}");
    }

    #[test]
    fn a_drain_is_a_duration_or_seconds_on_any_answer() {
        let half_a_minute = Some(Word::Drain(Duration::from_secs(30)));
        check(200, "meridian-drain", "30s", half_a_minute);
        check(404, "meridian-drain", " 30 ", half_a_minute);
        for nonsense in ["", "0", "0s", "soon", "-1", "30 s, 40 s"] {
            check(200, "meridian-drain", nonsense, None);
        }
    }

    #[test]
    fn a_pause_counts_on_a_503_alone() {
        let pause = Some(Word::RetryAfter(Duration::from_secs(120)));
        check(503, "retry-after", "120", pause);
        check(429, "retry-after", "120", None);
        check(301, "retry-after", "120", None);
        for nonsense in ["0", "", "soon", "-5", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            check(503, "retry-after", nonsense, None);
        }
    }

    #[test]
    fn a_pause_may_be_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_420);
        let date = HeaderValue::from_static("Wed, 21 Oct 2015 07:28:00 GMT");
        assert_eq!(retry_after(&date, now), Some(Duration::from_secs(60)));
    }

    #[test]
    fn a_5xx_is_a_failure_unless_it_is_about_the_request() {
        let failures = [500, 502, 503, 504, 507, 599];
        let fine = [200, 301, 400, 404, 429, 499, 501, 505];
        let fails = |status: &u16| is_failure(StatusCode::from_u16(*status).unwrap());
        assert!(failures.iter().all(fails));
        assert!(!fine.iter().any(fails));
    }
}
