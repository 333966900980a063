//! What is noted of a request while it goes.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use super::AccessLog;
use super::entry::{Decided, End, Entry, MOST_TRIES, Try};
use super::wanted;
use crate::config::plan::Access;
use crate::ids::RegionId;
use crate::proxy::answer_head::is_bodiless;
use crate::proxy::exchange::Exchanged;
use crate::proxy::interim::Interim;
use crate::proxy::problem::Problem;
use crate::steering::{Decision, Verdict};

/// The notes of one request.
pub(in crate::proxy) struct Journal {
    log: Arc<AccessLog>,
    began: Instant,
    entry: Mutex<Entry>,
    request_bytes: AtomicU64,
    response_bytes: AtomicU64,
    /// Whether the request has become a tunnel, which ends later than its answer.
    is_tunnel: AtomicBool,
}

/// Writes a request's line when it is dropped.
pub(in crate::proxy) struct Line {
    journal: Arc<Journal>,
    /// Whether it is of the tunnel that its request became.
    of_tunnel: bool,
}

impl Line {
    pub(super) fn begin(log: Arc<AccessLog>, entry: Entry, began: Instant) -> Self {
        let journal = Arc::new(Journal {
            log,
            began,
            entry: Mutex::new(entry),
            request_bytes: AtomicU64::new(0),
            response_bytes: AtomicU64::new(0),
            is_tunnel: AtomicBool::new(false),
        });
        Self {
            journal,
            of_tunnel: false,
        }
    }

    pub(in crate::proxy) fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Whether this line is the one that tells of its request's end.
    fn is_last(&self) -> bool {
        self.of_tunnel || !self.journal.is_tunnel.load(Ordering::Relaxed)
    }

    /// All of the answer has been passed on; of a tunnel, that is its beginning.
    pub(super) fn completed(&self) {
        if self.is_last() {
            self.journal.completed();
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.is_last() {
            self.journal.write();
        }
    }
}

impl Journal {
    fn entry(&self) -> MutexGuard<'_, Entry> {
        // Notes are plain values, whole even if somebody were to panic between two of them.
        self.entry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) {
        let mut entry = self.entry();
        entry.times.ended = self.began.elapsed();
        entry.request_bytes = self.request_bytes.load(Ordering::Relaxed);
        entry.response_bytes = self.response_bytes.load(Ordering::Relaxed);
        if entry.end == End::default() {
            entry.end = self.end_of_unended(&entry);
        }
        self.log.write(&entry);
    }

    /// What nobody ended has lost its client, or was cut off: for what that did wrong, or by an edge that ends.
    fn end_of_unended(&self, entry: &Entry) -> End {
        let of_stream = entry.interim.as_ref().and_then(Interim::wrong);
        let client = entry.connection.as_ref();
        match of_stream.or_else(|| client?.wrong()) {
            Some(wrong) => End {
                detail: Some(wrong.to_owned()),
                ..End::of("protocol-error", "client")
            },
            None if self.log.sink.is_ending() => End::of("drain-timeout", "edge"),
            None => End::default(),
        }
    }

    /// From here on the line is the tunnel's.
    pub(in crate::proxy) fn become_tunnel(self: &Arc<Self>) -> Line {
        self.is_tunnel.store(true, Ordering::Relaxed);
        Line {
            journal: self.clone(),
            of_tunnel: true,
        }
    }

    /// Bytes of a body, or of a tunnel, have come from the client.
    pub(in crate::proxy) fn received(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.request_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of a body, or of a tunnel, go to the client.
    pub(in crate::proxy) fn sent(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.response_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Who asks whom for what.
    pub(in crate::proxy) fn asked(&self, client: IpAddr, service: &Arc<str>, access: Access) {
        let mut entry = self.entry();
        entry.client = Some(client);
        entry.service = Some(service.clone());
        entry.access = Some(access);
    }

    /// The trace that the request belongs to, and the edge's own span, as `traceparent` has them.
    pub(in crate::proxy) fn traced(&self, headers: &HeaderMap) {
        let text = headers
            .get("traceparent")
            .and_then(|value| value.to_str().ok());
        let mut fields = text.into_iter().flat_map(|text| text.split('-').skip(1));
        let mut entry = self.entry();
        entry.trace_id = fields.next().map(str::to_owned);
        entry.span_id = fields.next().map(str::to_owned);
    }

    /// What steering decided.
    pub(in crate::proxy) fn decided(&self, decision: &Decision) {
        let first = decision.ranked.first().map(|choice| choice.region);
        let decided = first.map_or_else(
            || Decided {
                verdict: verdict(decision.verdict),
                rule: None,
                reason: match decision.verdict {
                    Verdict::Refused(refusal) => refusal.to_string(),
                    Verdict::Steered | Verdict::FailOpen(_) => String::new(),
                },
            },
            |region| decided_for(decision, region),
        );
        let mut entry = self.entry();
        entry.times.decided = Some(self.began.elapsed());
        entry.decision = Some(decided);
    }

    /// The request can be sent: what may have to be sent twice has been read.
    pub(in crate::proxy) fn ready(&self) {
        self.entry().times.ready = Some(self.began.elapsed());
    }

    /// A try of an origin begins; `None`: the region was too busy to try any.
    pub(in crate::proxy) fn begin_try(
        self: &Arc<Self>,
        region: &Arc<str>,
        origin: Option<&Arc<str>>,
    ) -> Tried {
        let began = self.began.elapsed();
        let mut entry = self.entry();
        entry.tries_made += 1;
        let number = entry.tries_made;
        if entry.tries.len() >= MOST_TRIES {
            entry.tries.pop(); // The last one, which answers, is always told of.
        }
        entry.tries.push(Try {
            number,
            region: region.clone(),
            origin: origin.cloned(),
            result: "given-up",
            detail: None,
            status: None,
            began,
            took: None,
            was_kept: None,
            connect: Duration::ZERO,
            tls: Duration::ZERO,
        });
        Tried {
            journal: self.clone(),
            number,
        }
    }

    /// A region's answer is passed on.
    pub(in crate::proxy) fn served(
        &self,
        decision: &Decision,
        region: (RegionId, &Arc<str>),
        consistency: Option<&'static str>,
        affinity: Option<&'static str>,
    ) {
        let (id, name) = region;
        let mut entry = self.entry();
        entry.region = Some(name.clone());
        entry.decision = Some(decided_for(decision, id));
        entry.consistency = consistency;
        entry.affinity = affinity;
    }

    /// The head of the answer is ready, as it leaves.
    pub(in crate::proxy) fn answered(&self, status: StatusCode, headers: &HeaderMap) {
        let now = self.began.elapsed();
        let headers = wanted(&self.log.wanted.response_headers, headers);
        let mut entry = self.entry();
        entry.times.answered = Some(now);
        entry.status = Some(status.as_u16());
        entry.response_headers = headers;
    }

    /// The edge answers for itself.
    pub(in crate::proxy) fn refused(&self, problem: &Problem) {
        self.entry().end = End {
            how: problem.label(),
            by: problem.fault(),
            detail: Some(problem.to_string()),
        };
    }

    /// The answer, or the tunnel, has ended.
    pub(in crate::proxy) fn ended(&self, how: &'static str, by: &'static str, why: Option<String>) {
        let mut entry = self.entry();
        if entry.end == End::default() {
            entry.end = End {
                detail: why,
                ..End::of(how, by)
            };
        }
    }

    /// All of it has been passed on.
    fn completed(&self) {
        let by = if self.entry().region.is_some() {
            "origin"
        } else {
            "edge"
        };
        self.ended("completed", by, None);
    }

    /// Whether an answer has no body, whatever its headers say and its origin sends (RFC 9110 §6.4.1, §9.3.2).
    pub(super) fn sends_no_body(&self) -> bool {
        let entry = self.entry();
        let status = entry
            .status
            .and_then(|status| StatusCode::from_u16(status).ok());
        let head = entry.head.as_ref();
        head.is_some_and(|head| head.method == http::Method::HEAD)
            || status.is_some_and(is_bodiless)
    }
}

/// The note of one try: a hedge is made beside another.
pub(in crate::proxy) struct Tried {
    journal: Arc<Journal>,
    number: u64,
}

impl Tried {
    fn note(&self, note: impl FnOnce(&mut Try, Duration)) {
        let now = self.journal.began.elapsed();
        let mut entry = self.journal.entry();
        let tries = entry.tries.iter_mut();
        if let Some(tried) = tries.rev().find(|tried| tried.number == self.number) {
            note(tried, now.saturating_sub(tried.began));
        }
    }

    /// A new connection stands after `connect`, and TLS on it after `tls`.
    pub(in crate::proxy) fn connected(&self, connect: Duration, tls: Duration) {
        self.note(|tried, _| {
            tried.connect += connect;
            tried.tls += tls;
        });
    }

    /// The request goes out on a connection, which may have been kept.
    pub(in crate::proxy) fn leased(&self, was_kept: bool) {
        self.note(|tried, _| tried.was_kept = Some(was_kept));
    }

    /// What the try came to.
    pub(in crate::proxy) fn came_to(&self, exchanged: &Exchanged) {
        match exchanged {
            Exchanged::Answered(response, _) => self.answered(response.status()),
            Exchanged::Unsent(problem, _)
            | Exchanged::Refused(problem)
            | Exchanged::Left(problem)
            | Exchanged::Lost(problem)
            | Exchanged::Gone(problem) => self.failed(problem),
        }
    }

    fn answered(&self, status: StatusCode) {
        self.note(|tried, took| {
            tried.result = "answered";
            tried.status = Some(status.as_u16());
            tried.took = Some(took);
        });
    }

    /// The try came to nothing.
    pub(in crate::proxy) fn failed(&self, problem: &Problem) {
        self.note(|tried, took| {
            tried.result = problem.label();
            tried.detail = Some(problem.to_string());
            tried.took = Some(took);
        });
    }
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Steered => "steered",
        Verdict::FailOpen(_) => "fail_open",
        Verdict::Refused(_) => "refused",
    }
}

/// The last rule that placed a region is the one that decided where.
fn decided_for(decision: &Decision, region: RegionId) -> Decided {
    let mut steps = decision.steps.iter().rev();
    let step = steps.find(|step| step.region == region && step.kept);
    Decided {
        verdict: verdict(decision.verdict),
        rule: step.map(|step| step.reason.rule().as_str()),
        reason: step.map_or_else(String::new, |step| step.reason.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::plan::{self, LogTarget, LoggedQuery};
    use crate::proxy::access_log::Sink;
    use crate::proxy::problem::Full;
    use crate::units::Share;

    fn journal() -> Arc<Journal> {
        let wanted = plan::AccessLog {
            to: LogTarget::Stderr,
            sample: Share::NONE,
            query: LoggedQuery::Full,
            request_headers: Vec::new(),
            response_headers: Vec::new(),
        };
        let sink = Arc::new(Sink::open(&wanted.to).unwrap());
        let log = Arc::new(AccessLog::new(wanted, "fra-1".into(), sink));
        let line = Line::begin(log, Entry::default(), Instant::now());
        // A tunnel that is never begun: nothing is written.
        line.journal.is_tunnel.store(true, Ordering::Relaxed);
        line.journal.clone()
    }

    #[test]
    fn of_many_tries_the_first_and_the_last_are_told() {
        let journal = journal();
        for number in 0..MOST_TRIES + 5 {
            journal.begin_try(&number.to_string().into(), None);
        }
        let entry = journal.entry();
        assert_eq!(entry.tries.len(), MOST_TRIES);
        assert_eq!(
            &*entry.tries[MOST_TRIES - 2].region,
            (MOST_TRIES - 2).to_string()
        );
        assert_eq!(
            &*entry.tries[MOST_TRIES - 1].region,
            (MOST_TRIES + 4).to_string()
        );
        assert_eq!(entry.tries_made, 21);
    }

    /// What an HTTP/2 origin sends all the same is nothing that a client has closed.
    #[test]
    fn an_answer_of_a_status_without_a_body_has_none_whatever_its_origin_sends() {
        for (status, sends_none) in [(200, false), (204, true), (304, true)] {
            let journal = journal();
            let status = StatusCode::from_u16(status).unwrap();
            journal.clone().answered(status, &HeaderMap::new());
            assert_eq!(journal.sends_no_body(), sends_none, "{status}");
        }
    }

    #[test]
    fn the_first_end_is_the_one_that_is_told() {
        let journal = journal();
        journal.refused(&Problem::Overloaded(Full::Every));
        journal.completed();
        assert_eq!(journal.entry().end.how, "overloaded");
    }
}
