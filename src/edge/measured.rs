//! What is measured, as far as files and memory have it, and the client map that comes of it.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::plan::Plan;
use crate::config::{Problem, read_import};
use crate::geo::{AsnDatabase, ClientMap, Database};
use crate::latency::Row;

/// What is measured.
#[derive(Clone, Default)]
pub(super) struct Measured {
    /// Whose addresses are whose.
    pub(super) asns: Option<Arc<AsnDatabase>>,
    /// What the operator's files say.
    imported: Arc<Vec<Row>>,
    /// What is sampled here; the same from reload to reload.
    pub(super) sampled: Arc<ArcSwap<Vec<Row>>>,
}

impl Measured {
    /// Reads the files that a Plan names.
    pub(super) fn load(
        plan: &Plan,
        before: Option<&Self>,
        warnings: &mut Vec<Problem>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut imported = Vec::new();
        for file in &plan.latency.imports {
            match read_import(file, plan, warnings) {
                Ok(rows) => imported.extend(rows),
                Err(wrong) => problems.extend(wrong),
            }
        }
        let asns = plan.geo.asns.as_ref().map(|file| {
            AsnDatabase::open(&file.path)
                .map(Arc::new)
                .map_err(|error| Problem::new(Some(file.at.clone()), error.to_string()))
        });
        let asns = asns.transpose().map_err(|problem| problems.push(problem));
        let (Ok(asns), true) = (asns, problems.is_empty()) else {
            return Err(problems);
        };
        Ok(Self {
            asns,
            imported: Arc::new(imported),
            sampled: before
                .map(|before| before.sampled.clone())
                .unwrap_or_default(),
        })
    }

    /// Whether both have the same from files.
    pub(super) fn is_imported_as(&self, other: &Self) -> bool {
        self.imported == other.imported
    }

    /// The client map of a Plan: what the operator's files say comes before what is sampled.
    pub(super) fn client_map(&self, plan: &Plan, database: &Database) -> ClientMap {
        let sampled = self.sampled.load();
        let asns = self.asns.as_deref();
        let clients = if plan.latency.is_sampled() {
            let rows: Vec<Row> = self.imported.iter().chain(&**sampled).cloned().collect();
            ClientMap::measured(plan, database, asns, &rows)
        } else {
            ClientMap::measured(plan, database, asns, &self.imported)
        };
        if clients.is_full() {
            tracing::warn!(
                "measured latency gives more orders of regions than are kept: some networks go by distance"
            );
        }
        clients
    }
}
