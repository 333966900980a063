//! How far regions are from this edge: estimates from probes and distance, and the order they give.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::plan::Plan;
use crate::ids::{RegionId, Table};
use crate::latency::{Estimate, RoundTrip, modelled_ms, rank};
use crate::steering::Edge;

/// What is measured, and the order last published; both by name, because they outlive reloads.
#[derive(Debug, Default)]
pub(super) struct Ranking {
    measured: HashMap<Arc<str>, RoundTrip>,
    order: Vec<Arc<str>>,
}

impl Ranking {
    /// Takes in a measured round trip in ms.
    pub(super) fn sample(&mut self, region: &Arc<str>, ms: f64) {
        self.measured.entry(region.clone()).or_default().sample(ms);
    }

    /// What was measured so far, in ms.
    pub(super) fn measured(&self) -> impl Iterator<Item = (&Arc<str>, f64)> {
        let measured = self.measured.iter();
        measured.filter_map(|(region, round_trip)| Some((region, round_trip.ms()?)))
    }

    /// The order in force, by name; near-equal regions keep it.
    pub(super) fn order(&self) -> &[Arc<str>] {
        &self.order
    }

    /// Goes on from an order that another process had.
    pub(super) fn keep_order(&mut self, order: Vec<Arc<str>>) {
        self.order = order;
    }

    /// The regions as seen from here. `is_expected` tells which regions' measurements must be in before
    /// measurements decide: until then the model does, so that the first probe to answer does not
    /// make its region the nearest.
    pub(super) fn edge(&mut self, plan: &Plan, is_expected: impl Fn(RegionId) -> bool) -> Edge {
        let round_trips = Table::like(&plan.regions, |region| self.estimate(plan, region));
        let by_distance = by_distance(plan);
        let complete = plan
            .regions
            .ids()
            .filter(|region| is_expected(*region))
            .all(|region| matches!(round_trips.of(region), Estimate::Measured(_)));
        let measured = round_trips
            .values()
            .any(|estimate| matches!(estimate, Estimate::Measured(_)));
        let by_round_trip = if complete && measured {
            let mut order = self.last_order(plan, by_distance.as_deref());
            rank(&mut order, |region| round_trips.of(*region).ms());
            self.order = order
                .iter()
                .map(|region| plan.regions.of(*region).name.clone())
                .collect();
            Some(order)
        } else {
            by_distance.clone()
        };
        Edge {
            by_round_trip,
            by_distance,
            round_trips,
        }
    }

    fn estimate(&self, plan: &Plan, region: RegionId) -> Estimate {
        let region = plan.regions.of(region);
        if let Some(ms) = self
            .measured
            .get(&region.name)
            .and_then(|measured| measured.ms())
        {
            return Estimate::Measured(ms);
        }
        match (plan.node.location, region.location) {
            (Some(here), Some(there)) => Estimate::Modelled(modelled_ms(here.distance_km(there))),
            _ => Estimate::Unknown,
        }
    }

    /// The order in force, new regions after the old; at first by distance, else as listed.
    fn last_order(&self, plan: &Plan, by_distance: Option<&[RegionId]>) -> Vec<RegionId> {
        let mut order: Vec<RegionId> =
            by_distance.map_or_else(|| plan.regions.ids().collect(), <[_]>::to_vec);
        order.sort_by_key(|region| {
            let name = &plan.regions.of(*region).name;
            self.order
                .iter()
                .position(|known| known == name)
                .unwrap_or(usize::MAX)
        });
        order
    }
}

/// Every region, nearest first by great circle; those without a location last, as listed.
fn by_distance(plan: &Plan) -> Option<Vec<RegionId>> {
    let here = plan.node.location?;
    let km = |region: &RegionId| {
        plan.regions
            .of(*region)
            .location
            .map_or(f64::INFINITY, |there| here.distance_km(there))
    };
    let mut order: Vec<RegionId> = plan.regions.ids().collect();
    order.sort_by(|a, b| km(a).total_cmp(&km(b)));
    Some(order)
}
