//! What a run's clients and edges agree on, and the configuration that says so.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use crate::config::load_text;
use crate::config::plan::Plan;
use crate::geo::{ClientMap, Database};
use crate::positions::Lifetimes;

/// What a run's clients and edges agree on.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// Replicas of each region.
    pub(super) replicas: Vec<usize>,
    pub(super) wait_ms: u64,
    pub(super) ttl_secs: u32,
    pub(super) pin_secs: u32,
    pub(super) fails: bool,
    /// How many bytes a token may have.
    pub(super) room: usize,
    /// The region that is nearest to all edges; none: Frankfurt's.
    pub(super) nearest: Option<usize>,
}

/// Where regions lie: Virginia, Frankfurt, Tokyo, São Paulo.
const PLACES: [&str; 4] = [
    "[38.95, -77.45]",
    "[50.11, 8.68]",
    "[35.62, 139.78]",
    "[-23.53, -46.63]",
];

/// Where all edges are.
const EDGES_PLACE: &str = "[50.03, 8.57]";

/// Their names.
pub(super) const NAMES: [&str; 4] = ["us", "eu", "ap", "sa"];

impl Terms {
    fn yaml(&self) -> String {
        let mut yaml = format!("node: {{ location: {EDGES_PLACE} }}\nregions:\n");
        for (at, replicas) in self.replicas.iter().enumerate() {
            let origins: Vec<_> = (0..*replicas)
                .map(|replica| format!("'http://127.0.0.1:1{at}{replica}'"))
                .collect();
            let (name, place) = (NAMES[at], self.place(at));
            let origins = origins.join(", ");
            writeln!(
                yaml,
                "  {name}: {{ location: {place}, origins: [{origins}] }}"
            )
            .unwrap();
        }
        let when = if self.fails { "fail" } else { "stale" };
        let (wait, ttl, pin) = (self.wait_ms, self.ttl_secs, self.pin_secs);
        writeln!(
            yaml,
            "services: {{ api: {{ hosts: [api.example.com], consistency: {{ read_your_writes: true, \
             wait: {wait}ms, ttl: {ttl}s, pin: {pin}s, when_unsatisfiable: {when} }} }} }}"
        )
        .unwrap();
        yaml
    }

    fn place(&self, region: usize) -> &'static str {
        if self.nearest == Some(region) {
            EDGES_PLACE
        } else {
            PLACES[region]
        }
    }

    pub(super) fn plan(&self) -> (Arc<Plan>, Arc<ClientMap>) {
        type Compiled = HashMap<String, (Arc<Plan>, Arc<ClientMap>)>;
        thread_local! {
            static COMPILED: RefCell<Compiled> = RefCell::default();
        }
        let yaml = self.yaml();
        let compile = || {
            let loaded = load_text("meridian.yaml", &yaml, &|_| None);
            let plan = Arc::new(loaded.unwrap_or_else(|why| panic!("{why}\n{yaml}")).plan);
            let clients = client_map(&plan, (self.replicas.len(), self.nearest));
            (plan, clients)
        };
        COMPILED.with_borrow_mut(|compiled| {
            let known = compiled.entry(yaml.clone());
            known.or_insert_with(compile).clone()
        })
    }

    pub(super) fn lifetimes(&self) -> Lifetimes {
        Lifetimes {
            ttl: self.ttl_secs,
            pin: self.pin_secs,
        }
    }
}

/// Where clients are; slow to compile, and the same for all plans of so many regions with the same one nearest.
fn client_map(plan: &Plan, regions: (usize, Option<usize>)) -> Arc<ClientMap> {
    type Compiled = HashMap<(usize, Option<usize>), Arc<ClientMap>>;
    thread_local! {
        static COMPILED: RefCell<Compiled> = RefCell::default();
    }
    let compile = || Arc::new(ClientMap::compile(plan, &Database::built_in()));
    COMPILED.with_borrow_mut(|compiled| {
        let known = compiled.entry(regions);
        known.or_insert_with(compile).clone()
    })
}
