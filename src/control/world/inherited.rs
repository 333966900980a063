//! What one process tells the next of the world, and what that makes of it.

use serde_json::Value;

use super::World;
use super::shown::Stale;
use crate::health::{Inherited, TargetKey};

impl World {
    /// The measured round trips, in ms by region.
    pub(in crate::control) fn round_trips(&self) -> impl Iterator<Item = (String, Value)> {
        let measured = self.ranking.measured();
        measured.map(|(region, ms)| (region.to_string(), ms.into()))
    }

    /// The regions in the order that they last had by round trip.
    pub(in crate::control) fn order(&self) -> Vec<&str> {
        self.ranking
            .order()
            .iter()
            .map(|region| &**region)
            .collect()
    }

    /// Takes over such an order.
    pub(in crate::control) fn remember_order<'a>(&mut self, order: impl Iterator<Item = &'a str>) {
        self.ranking.keep_order(order.map(Into::into).collect());
    }

    /// Takes over a round trip as if it were measured.
    pub(in crate::control) fn remember_round_trip(&mut self, region: &str, ms: f64) {
        self.ranking.sample(&region.into(), ms);
    }

    /// Regions whose positions are suspect, and until when.
    pub(in crate::control) fn suspects(&self) -> impl Iterator<Item = (&str, u64)> {
        let suspects = self.suspects.iter();
        suspects.map(|(region, until_ms)| (&**region, *until_ms))
    }

    /// Takes over a suspicion.
    pub(in crate::control) fn remember_suspect(&mut self, region: &str, until_ms: u64) {
        self.suspects.insert(region.into(), until_ms);
        self.shown.stale = Stale::All;
    }

    /// The ejections in force with their targets, and when each began in milliseconds since 1970.
    pub(in crate::control) fn ejections(
        &self,
        steady_ms: u64,
    ) -> impl Iterator<Item = (&TargetKey, u64, Inherited)> {
        self.targets.iter().filter_map(move |watched| {
            let ejection = watched.passive.as_ref()?.bequest(steady_ms)?;
            Some((&watched.key, watched.ejected_at_ms, ejection))
        })
    }

    /// Takes over an ejection, if there still is that target and its traffic still counts.
    pub(in crate::control) fn remember_ejection(
        &mut self,
        key: &TargetKey,
        ejection: Inherited,
        at_ms: u64,
        steady_ms: u64,
    ) {
        let Some(watched) = self.targets.get_mut(key) else {
            return;
        };
        if let Some(passive) = &mut watched.passive {
            passive.inherit(ejection, steady_ms);
            watched.ejected_at_ms = at_ms;
            self.shown.stale.add(watched.target.service);
        }
    }
}
