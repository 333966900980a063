//! One region after the other until one answers, and who is asked when none of them can be reached.

use std::sync::Arc;

use smallvec::SmallVec;

use super::forward::{Forwarded, Missed, Outbound};
use super::problem::Problem;
use crate::config::plan::Access;
use crate::ids::RegionId;
use crate::steering::{Choice, reopen};

/// Who is not read from otherwise, of those that are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LeftOut {
    Nobody,
    Region,
    /// Some of a region, whose others have been asked.
    Origins,
}

impl Outbound<'_> {
    /// To the first region that answers, and when none of these can be reached, to those that are left out otherwise.
    pub(super) async fn forward_in_order(
        &mut self,
        ranked: &[Choice],
        left_out: &[Choice],
    ) -> Result<Box<Forwarded>, Problem> {
        match ranked {
            [first, rest @ ..] if !rest.is_empty() && self.may_be_hedged() => {
                Box::pin(self.forward_hedged(first, rest, left_out)).await
            }
            _ => self.forward_each(ranked, left_out).await,
        }
    }

    /// To one region after the other, and when none can be reached, to those that health has left out.
    pub(super) async fn forward_each(
        &mut self,
        ranked: &[Choice],
        left_out: &[Choice],
    ) -> Result<Box<Forwarded>, Problem> {
        match self.try_each(ranked, left_out).await {
            Ok(forwarded) => Ok(forwarded),
            // Boxed: it is rare, and no part of every request's future.
            Err(missed) => Box::pin(self.forward_back(missed)).await,
        }
    }

    /// To those that come back because nobody else could be reached. Whoever brings a token is not sent to them: what they say of
    /// positions is what their health may be about.
    pub(super) async fn forward_back(&mut self, missed: Missed) -> Result<Box<Forwarded>, Problem> {
        let is_unreached = match &missed {
            Missed::Next(problem) => matches!(problem, Problem::Unreachable(_)),
            Missed::Past(_) => true,
            Missed::Anew(_) | Missed::Elsewhere(_) | Missed::Again(_) | Missed::Stop(_) => false,
        };
        let has_token = self.visit.valid && self.access == Access::Read;
        let snapshot = &self.live.snapshot;
        let reopened = (is_unreached && !has_token && self.answered.is_none())
            .then(|| reopen(snapshot, self.service_id, self.access, &self.decision));
        let Some(decision) = reopened.flatten() else {
            return Err(missed.into_problem());
        };
        self.decision = Arc::new(decision);
        let (decision, mut last) = (self.decision.clone(), missed);
        for choice in &decision.ranked {
            self.move_on(last).await?;
            match self.try_region(choice.region, None).await {
                Ok(forwarded) => return Ok(forwarded),
                Err(missed) => last = missed,
            }
        }
        Err(last.into_problem())
    }

    /// One region after the other; then the origins of the same that are not read from.
    pub(super) async fn try_each(
        &mut self,
        ranked: &[Choice],
        left_out: &[Choice],
    ) -> Result<Box<Forwarded>, Missed> {
        let mut last = Missed::Next(Problem::NoRegion("no region is able to answer".into()));
        let asked = ranked.iter().map(|choice| (choice.region, LeftOut::Nobody));
        let unfit = self.left_out_within(ranked).into_iter();
        let unfit = unfit.chain(
            left_out
                .iter()
                .map(|choice| (choice.region, LeftOut::Region)),
        );
        let mut left = asked.chain(unfit).collect::<SmallVec<[_; 8]>>().into_iter();
        while let Some((region, left_out)) = left.next() {
            let tried = match left_out {
                LeftOut::Nobody | LeftOut::Region => self.try_region(region, None).await,
                LeftOut::Origins => {
                    let origins = self.origins_left_out(region);
                    self.try_origins(region, origins, None).await
                }
            };
            match tried {
                Ok(mut forwarded) => {
                    forwarded.was_left_out = left_out != LeftOut::Nobody;
                    return Ok(forwarded);
                }
                Err(missed) if left.len() == 0 => return Err(missed),
                Err(missed) => {
                    let moved_on = self.move_on(missed).await;
                    last = Missed::Next(moved_on.map_err(Missed::Stop)?);
                }
            }
        }
        Err(last)
    }

    /// Regions of which some origins are not read from while others are.
    fn left_out_within(&self, ranked: &[Choice]) -> SmallVec<[(RegionId, LeftOut); 1]> {
        if !self.store.is_some_and(|store| store.applied.has_unfit()) {
            return SmallVec::new();
        }
        let regions = ranked.iter().map(|choice| choice.region);
        let regions = regions.filter(|region| !self.origins_left_out(*region).is_empty());
        regions.map(|region| (region, LeftOut::Origins)).collect()
    }
}
