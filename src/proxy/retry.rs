//! Whether and when a request goes on to another region, after some of it was sent.

use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::body::Body;
use super::consistency::is_write;
use super::forward::{Forwarded, Missed, Outbound};
use super::onward::{Onward, Try, covers, may_be_repeated};
use super::problem::Problem;
use super::replay::{Back, Replayed};
use crate::chance;
use crate::config::plan::{Access, OriginScheme, WhenUnsatisfiable};
use crate::ids::{OriginId, RegionId};
use crate::positions::{Judged, Mark, ask_any_mark};
use crate::registered::Registered;

static RETRIES: Registered<(), 1> =
    Registered::new(|()| metrics::counter!("meridian_http_retries_total"));

/// The origin that is being asked.
#[derive(Clone, Copy)]
pub(super) struct Trying {
    pub(super) region: RegionId,
    pub(super) origin: OriginId,
    pub(super) began: Instant,
}

impl Trying {
    /// It begins now.
    pub(super) fn new(region: RegionId, origin: OriginId) -> Self {
        Self {
            region,
            origin,
            began: Instant::now(),
        }
    }
}

impl Missed {
    pub(super) fn by(onward: Onward, problem: Problem) -> Self {
        match onward {
            Onward::Next => Self::Next(problem),
            Onward::Anew => Self::Anew(problem),
            Onward::Elsewhere => Self::Elsewhere(problem),
            Onward::Again => Self::Again(problem),
            Onward::Past => Self::Past(problem),
            Onward::Stop => Self::Stop(problem),
        }
    }

    /// What the client is told if nobody else answers.
    pub(super) fn into_problem(self) -> Problem {
        match self {
            Self::Next(problem)
            | Self::Anew(problem)
            | Self::Elsewhere(problem)
            | Self::Again(problem)
            | Self::Past(problem)
            | Self::Stop(problem) => problem,
        }
    }
}

impl Outbound<'_> {
    /// Whether a try that came to nothing leads to the next region: then what is to be said if that fails too.
    pub(super) async fn move_on(&mut self, missed: Missed) -> Result<Problem, Problem> {
        match missed {
            Missed::Next(problem) | Missed::Anew(problem) | Missed::Elsewhere(problem) => {
                Ok(problem)
            }
            Missed::Stop(problem) => Err(problem),
            Missed::Past(problem) => match self.take_attempt() {
                true => Ok(problem),
                false => Err(problem),
            },
            Missed::Again(problem) => {
                let pause = self.pause();
                if !self.has_time_for(pause) || !self.take_retry() {
                    return Err(problem);
                }
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                Ok(problem)
            }
        }
    }

    /// Whether there is more time than that: who would hear of the whole time's end after a pause hears the real error now.
    fn has_time_for(&self, pause: Duration) -> bool {
        self.deadline
            .is_none_or(|deadline| Instant::now() + pause < deadline)
    }

    /// Takes a retry of the request's own and of the budget, which stays taken until the answer, the pause before
    /// the retry included.
    fn take_retry(&mut self) -> bool {
        if self.retries_left == 0 {
            return false;
        }
        if self.retrying.is_none() {
            self.retrying = self.worker.retry(self.service().retries.budget.ratio());
        }
        self.retrying.is_some() && self.take_attempt()
    }

    /// Takes a retry of the request's own.
    pub(super) fn take_attempt(&mut self) -> bool {
        let Some(left) = self.retries_left.checked_sub(1) else {
            return false;
        };
        self.retries_left = left;
        RETRIES.increment(&());
        true
    }

    /// How long the next retry waits: at random up to `retries.backoff`, twice as long before each further one.
    fn pause(&self) -> Duration {
        let retries = &self.service().retries;
        if retries.backoff.is_zero() {
            return Duration::ZERO;
        }
        let before = retries.attempts.saturating_sub(self.retries_left);
        longest_pause(retries.backoff, before).mul_f64(chance::uniform())
    }

    /// Whether a request of which something was sent may be sent again, with this copy of its body.
    pub(super) fn after_loss(
        &mut self,
        tried: Try,
        problem: Problem,
        copy: Option<Body>,
    ) -> Missed {
        let onward = tried.onward(self.is_covered(), copy.is_some());
        self.body = copy.filter(|_| onward != Onward::Stop);
        Missed::by(onward, problem)
    }

    /// A body that an origin may refuse (over HTTP/2), so that it comes back then.
    pub(super) fn replayed(&self, origin: OriginId, body: Body) -> (Body, Option<Back>) {
        match self.live.snapshot.plan.origins.of(origin).url.scheme {
            OriginScheme::Http => (body, None),
            OriginScheme::Https | OriginScheme::H2c => {
                Replayed::of(body, self.service().retries.buffer)
            }
        }
    }

    /// The origin has not looked at the request: it may be sent again if its body is still there.
    pub(super) async fn after_refusal(
        &mut self,
        tried: Try,
        problem: Problem,
        copy: Option<Body>,
        back: Option<Back>,
    ) -> Missed {
        self.body = match (copy, back) {
            (Some(copy), _) => Some(copy),
            (None, Some(back)) => back.body().await,
            (None, None) => None,
        };
        Missed::by(
            tried.onward(self.is_covered(), self.body.is_some()),
            problem,
        )
    }

    /// The client's, unless `on_status` names it and it could be sent again.
    pub(super) fn take_answer(
        &mut self,
        forwarded: Box<Forwarded>,
    ) -> Result<Box<Forwarded>, Missed> {
        // One that has written is the answer: its position is for the client.
        if self.is_retried(forwarded.response.status()) && !is_write(&forwarded.said) {
            Err(self.keep_answer(forwarded))
        } else {
            Ok(forwarded)
        }
    }

    /// Whether this region answers although the one that its client is used to is able: that one was slow, busy or failed
    /// this once, and could be reached.
    pub(super) fn is_detour(&self, home: Option<RegionId>, answered: RegionId) -> bool {
        let first = self.decision.ranked.first().map(|choice| choice.region);
        home.is_some() && home == first && home != Some(answered) && home != self.unreached
    }

    pub(super) fn may_be_repeated(&self) -> bool {
        may_be_repeated(&self.service().retries, &self.parts.method, self.access)
    }

    /// Whether it may be sent to another region that was sent to one.
    pub(super) fn is_covered(&self) -> bool {
        covers(self.service(), &self.parts.method, self.access)
    }

    /// Whether another region may better an answer of this status: else it is kept, and the client's in the end.
    fn is_retried(&self, status: StatusCode) -> bool {
        self.service().retries.names(status.as_u16()) && self.is_covered() && self.body.is_some()
    }

    /// How long a try may take, from its beginning; none, if the request cannot be sent again anyway.
    pub(super) fn per_try(&self, copy: Option<&Body>) -> Option<Duration> {
        let per_try = self.service().retries.per_try;
        (!per_try.is_zero() && copy.is_some() && self.is_covered()).then_some(per_try)
    }

    /// Keeps an answer that `on_status` names, for when nobody answers better.
    fn keep_answer(&mut self, mut forwarded: Box<Forwarded>) -> Missed {
        let status = forwarded.response.status();
        let lane = self.live.routes.lane(self.service_id, forwarded.region);
        if let Some(lane) = lane.filter(|_| status.is_server_error()) {
            lane.count_failure();
            forwarded.is_counted = true;
        }
        self.answered = Some(forwarded);
        Missed::Again(Problem::BrokenOrigin(format!(
            "the origin answered {}",
            status.as_u16()
        )))
    }

    /// The answer that was kept, if nobody answered better.
    pub(super) fn or_kept_answer(&mut self, problem: Problem) -> Result<Box<Forwarded>, Problem> {
        // A position that came meanwhile is for the client, and what was kept knows nothing of it.
        let kept = self.answered.take().filter(|_| self.written.is_none());
        let Some(mut answered) = kept else {
            return Err(problem);
        };
        let is_behind = matches!(problem, Problem::NotCaughtUp);
        // Who answered may have caught up.
        let others = "no other region has what this client has written".to_owned();
        let tried = if is_behind {
            others
        } else {
            problem.to_string()
        };
        answered.tried_elsewhere = Some(tried);
        if answered.mark.is_none() {
            answered.mark = self.mark_of_kept(&answered)?;
        }
        Ok(answered)
    }

    /// How an answer is marked that was kept before it was looked at: a read with a token always is.
    fn mark_of_kept(&mut self, answered: &Forwarded) -> Result<Option<Mark>, Problem> {
        let is_read = self.visit.valid && self.access == Access::Read;
        let Some(store) = self.store.filter(|_| is_read) else {
            return Ok(None);
        };
        let region = &self.live.snapshot.plan.regions.of(answered.region).name;
        let token = self.visit.token();
        let shows_all = !token.is_pinned_elsewhere(region)
            && (token.is_empty() || self.judge(&store, answered) == Judged::Shows);
        match store.consistency.when_unsatisfiable {
            _ if shows_all && self.has_waited => Ok(Some(Mark::Waited)),
            _ if shows_all => {
                let best = self.decision.ranked.first().map(|choice| choice.region);
                Ok(Some(ask_any_mark(best, answered.region)))
            }
            WhenUnsatisfiable::Stale => Ok(Some(Mark::Stale)),
            WhenUnsatisfiable::Fail => Err(Problem::NotCaughtUp),
        }
    }

    /// The request's whole time is over: that speaks against the origin that has had most of it since something of the request passed.
    pub(super) fn ran_out_of_time(&mut self, problem: &Problem) {
        let Some(trying) = self.trying.take() else {
            return;
        };
        let lane = self.live.routes.lane(self.service_id, trying.region);
        let witness = lane.and_then(|lane| lane.witness(trying.origin));
        let sent = trying.began.max(self.activity.last());
        let has_had_most = sent.elapsed() * 2 >= self.service().timeouts.request;
        let is_to_blame = has_had_most && !self.activity.awaits_anybody();
        if let Some(witness) = witness.filter(|_| is_to_blame) {
            witness.note_problem(problem);
        }
    }
}

/// The longest pause before a retry, unless `backoff` itself is longer.
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// The most that a retry waits after so many `before` it.
fn longest_pause(backoff: Duration, before: u8) -> Duration {
    let doubled = backoff.saturating_mul(2_u32.saturating_pow(before.into()));
    doubled.min(LONGEST_BACKOFF.max(backoff))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_ten_seconds_and_are_never_shorter_than_backoff() {
        let ms = Duration::from_millis;
        let pauses = [0, 1, 2, 6, 7, u8::MAX].map(|before| longest_pause(ms(100), before));
        assert_eq!(pauses, [100, 200, 400, 6_400, 10_000, 10_000].map(ms));
        assert_eq!(longest_pause(ms(15_000), 3), ms(15_000));
    }
}
