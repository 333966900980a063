//! A second request to the next region while the first has not answered: the first good answer wins, and the other
//! request is given up.

use std::pin::{Pin, pin};
use std::sync::Arc;

use super::activity::Activity;
use super::body::Body;
use super::forward::{Forwarded, Missed, Origins, Outbound};
use super::problem::Problem;
use crate::config::plan::Access;
use crate::registered::Registered;
use crate::steering::Choice;

static HEDGES: Registered<(), 1> =
    Registered::new(|()| metrics::counter!("meridian_http_hedges_total"));

/// What became of the first region, alone or beside a hedge.
enum Raced {
    Alone(Result<Box<Forwarded>, Missed>),
    Hedged(Result<Box<Forwarded>, Missed>),
}

impl Outbound<'_> {
    /// Whether a request may be in two regions at once: it is safe (RFC 9110 §9.2.1) and can be sent twice.
    pub(super) fn may_be_hedged(&self) -> bool {
        !self.service().retries.hedge_after.is_zero()
            && self.access == Access::Read
            && self.retries_left > 0
            && !self.upgrades
            && self.body.as_ref().is_some_and(|body| body.copy().is_some())
    }

    /// Asks the first region, and after `hedge_after` the rest beside it, if the budget allows.
    pub(super) async fn forward_hedged(
        &mut self,
        first: &Choice,
        rest: &[Choice],
        left_out: &[Choice],
    ) -> Result<Box<Forwarded>, Problem> {
        let (worker, retries) = (self.worker, &self.service().retries);
        let mut twin = self.twin();
        let raced = {
            let mut straight = pin!(self.try_region(first.region, None));
            let early = tokio::time::timeout(retries.hedge_after, straight.as_mut()).await;
            match early {
                Ok(done) => Raced::Alone(done),
                Err(_) => match worker.retry(retries.budget.ratio()) {
                    None => Raced::Alone(straight.await),
                    Some(counted) => {
                        HEDGES.increment(&());
                        twin.retrying = Some(counted);
                        let hedge = pin!(twin.try_each(rest, &[]));
                        Raced::Hedged(race(straight, hedge).await)
                    }
                },
            }
        };
        match raced {
            Raced::Alone(Ok(forwarded)) => Ok(forwarded),
            Raced::Alone(Err(missed)) => {
                self.move_on(missed).await?;
                self.forward_each(rest, left_out).await
            }
            Raced::Hedged(outcome) => {
                self.answered = self.answered.take().or_else(|| twin.answered.take());
                // The try that was given up has taken them along.
                self.body = self.body.take().or(twin.body);
                self.trying = None;
                match outcome {
                    Ok(forwarded) => Ok(forwarded),
                    Err(missed) => Box::pin(self.forward_back(missed)).await,
                }
            }
        }
    }

    /// The same request once more, with nothing sent of it yet.
    fn twin(&self) -> Self {
        Self {
            live: self.live,
            worker: self.worker,
            connection: self.connection,
            journal: self.journal,
            interim: self.interim,
            service_id: self.service_id,
            host: self.host,
            parts: self.parts.clone(),
            body: self.body.as_ref().and_then(Body::copy),
            upgrades: false,
            decision: self.decision.clone(),
            store: self.store,
            visit: self.visit.clone(),
            carried: self.carried,
            repeat: self.repeat,
            access: self.access,
            activity: Arc::new(Activity::new()),
            kept: None,
            last_resort: None,
            written: None,
            answered: None,
            has_waited: self.has_waited,
            sent_to: None,
            unreached: None,
            trying: None,
            tried: Origins::new(),
            began: None,
            deadline: self.deadline,
            retries_left: self.retries_left.saturating_sub(1),
            wants_new: false,
            retrying: None,
        }
    }
}

/// The first good answer of two; when both fail, what the later one says.
async fn race(
    mut straight: Pin<&mut impl Future<Output = Result<Box<Forwarded>, Missed>>>,
    mut hedge: Pin<&mut impl Future<Output = Result<Box<Forwarded>, Missed>>>,
) -> Result<Box<Forwarded>, Missed> {
    tokio::select! {
        done = straight.as_mut() => match done {
            Ok(forwarded) => Ok(forwarded),
            Err(_) => hedge.await,
        },
        done = hedge.as_mut() => match done {
            Ok(forwarded) => Ok(forwarded),
            Err(_) => straight.await,
        },
    }
}
