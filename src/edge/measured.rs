//! What is measured, as far as files and memory have it, and the client map that comes of it.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::plan::{Latency, Plan};
use crate::config::{Problem, read_imports};
use crate::geo::{AsnDatabase, ClientMap, Database, country_point};
use crate::latency::{
    Above, Enough, Network, Row, Source, Whereabouts, alike, together, unrefuted,
};

/// What is measured.
#[derive(Clone, Default)]
pub(super) struct Measured {
    /// Whose addresses are whose.
    pub(super) asns: Option<Arc<AsnDatabase>>,
    /// What the operator's files say.
    imported: Arc<Vec<Row>>,
    /// What that shows of the networks around.
    around: Arc<Vec<Row>>,
    /// What is sampled here; the same from reload to reload.
    pub(super) sampled: Arc<ArcSwap<Vec<Row>>>,
}

impl Measured {
    /// Reads the files that a Plan names. None of a database: nobody knows where networks are.
    pub(super) fn load(
        plan: &Plan,
        database: Option<&Database>,
        before: Option<&Self>,
        warnings: &mut Vec<Problem>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let whereabouts = |network| whereabouts(database?, network);
        let imported = read_imports(&plan.latency.imports, plan, &whereabouts, warnings);
        let imported = imported.unwrap_or_else(|wrong| {
            problems.extend(wrong);
            Vec::new()
        });
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
            around: Arc::default(),
            imported: Arc::new(imported),
            sampled: before
                .map(|before| before.sampled.clone())
                .unwrap_or_default(),
        })
    }

    /// Takes in what the files show of the networks around theirs.
    pub(super) fn look_around(self, plan: &Plan, database: &Database) -> Self {
        let around = together(&self.imported, enough(plan), |address| {
            above(database, self.asns.as_deref(), address)
        });
        Self {
            around: Arc::new(around),
            ..self
        }
    }

    /// Whether both have the same from files.
    pub(super) fn is_imported_as(&self, other: &Self) -> bool {
        self.imported == other.imported
    }

    /// The client map of a Plan: what the operator's files say comes before what is sampled.
    pub(super) fn client_map(&self, plan: &Plan, database: &Database) -> ClientMap {
        let sampled = match plan.latency.is_sampled() {
            true => self.sampled.load_full(),
            false => Arc::default(),
        };
        let told = self.imported.iter().chain(&*self.around);
        let place = |region: &str| plan.regions.of(plan.region(region)?).location;
        let sampled = unrefuted(&sampled, &self.imported, place);
        let mut rows: Vec<Row> = told.chain(sampled).cloned().collect();
        rows.extend(alike(&rows, enough(plan), |address| {
            above(database, self.asns.as_deref(), address)
        }));
        let clients = ClientMap::measured(plan, database, self.asns.as_deref(), &rows);
        if clients.is_full() {
            tracing::warn!(
                "there are more orders of regions than are kept: some networks go by distance instead of measured latency, or where distance alone gives more than 60,000, by none"
            );
        }
        clients
    }
}

/// What is asked of samples before they count.
pub(super) fn enough(plan: &Plan) -> Enough {
    Enough {
        samples: plan.latency.min_samples,
        sources: plan.latency.quorum.into(),
        off: switched_off(&plan.latency),
    }
}

fn switched_off(latency: &Latency) -> &'static [Source] {
    match (latency.connections, latency.beacon.is_some()) {
        (true, true) => &[],
        (true, false) => &[Source::Beacon],
        (false, true) => &[Source::Connections, Source::Edge],
        (false, false) => &[Source::Connections, Source::Edge, Source::Beacon],
    }
}

/// Where a network is, if the database knows one place of all of it.
fn whereabouts(database: &Database, network: Network) -> Option<Whereabouts> {
    let (point, country) = match network {
        Network::Prefix(prefix) => {
            let location = database.lookup_all(prefix)?;
            (location.point?, location.country)
        }
        Network::Country(country) => (country_point(country)?, Some(country)),
        Network::Asn(_) => return None,
    };
    Some(Whereabouts::new(point, country))
}

/// What an address lies in.
pub(super) fn above(
    database: &Database,
    asns: Option<&AsnDatabase>,
    address: std::net::IpAddr,
) -> Above {
    let asn = asns.and_then(|asns| asns.lookup(address));
    (asn, database.lookup(address).country)
}
