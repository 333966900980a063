//! Which regions a request may go to: what the decision is asked, and when the last one stands.

use std::sync::Arc;

use http::request::Parts;

use super::asked::Asked;
use super::handle::Exchange;
use super::{inbound, lately};
use crate::config::plan::Access;
use crate::positions::Visit;
use crate::steering::{Ask, Decision, Require, Vantage, steer};

impl Exchange<'_> {
    pub(super) fn decide(
        &self,
        asked: &mut Asked<'_>,
        visit: &Visit,
        parts: &Parts,
    ) -> Arc<Decision> {
        let decision = match &asked.repeat {
            Some(repeat) => repeat.decision.clone(),
            None => self.decide_anew(asked, visit, parts),
        };
        self.journal.inspect(|journal| journal.decided(&decision));
        decision
    }

    fn decide_anew(&self, asked: &mut Asked<'_>, visit: &Visit, parts: &Parts) -> Arc<Decision> {
        let snapshot = &self.live.snapshot;
        let (place, _) = snapshot.clients.locate(asked.service_id, asked.client);
        let is_plain = asked.access == Access::Read && asked.known.region.is_none();
        if is_plain && let Some(decision) = lately::decided(snapshot, asked.service_id, place) {
            return decision;
        }
        let residency = inbound::residency(asked.service, &parts.headers);
        let write_key = inbound::write_key(asked.service, parts);
        let token = visit.token();
        let ask = Ask {
            service: asked.service_id,
            place,
            spread: asked.known.spread(asked.client),
            vantage: Vantage::Edge,
            access: asked.access,
            affinity: asked.known.region,
            residency: residency.as_deref(),
            write_key: write_key.as_deref(),
            require: Require {
                vector: (!token.vector.is_empty()).then_some(&token.vector),
                pin: token
                    .pin
                    .as_ref()
                    .and_then(|pin| snapshot.plan.region(&pin.region)),
                now_ms: asked.now.steady_ms,
            },
        };
        let decision = Arc::new(steer(snapshot, &ask, asked.known.draw));
        if is_plain && decision.is_of_place(snapshot, &ask) {
            lately::remember(snapshot, asked.service_id, place, &decision);
        }
        if visit.is_as_carried() && decision.lasts(snapshot, &ask) {
            self.note_repeat(asked, &decision);
        }
        decision
    }
}
