//! What counts of measured round trips that are well written: one row of each network and region, of regions that there are,
//! and nothing that light rules out. Each kind of doubt is told a hundred times, with how many more there are.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::config::plan::{Plan, SourceAt};
use crate::config::problem::{Few, Problem, nearest};
use crate::latency::{Network, Row, Whereabouts, all_plausible};

use super::Placed;

/// Leaves out what does not count, and warns of what is doubtful.
pub(super) fn believed(
    mut rows: Placed,
    plan: &Plan,
    whereabouts: &dyn Fn(Network) -> Option<Whereabouts>,
    warnings: &mut Vec<Problem>,
) -> Vec<Row> {
    let is_out_of_reach = |row: &Row| {
        let region = plan.region(&row.region);
        let there = region.and_then(|region| plan.regions.of(region).location);
        let here = whereabouts(row.network);
        let reaches = there.zip(here);
        reaches.is_some_and(|(there, here)| !here.reaches(there, row.measurement.ms))
    };
    warnings.extend(leave_out_unknown(&mut rows, plan));
    warnings.extend(leave_out_repeated(&mut rows));
    if plan.geo.asns.is_none() {
        warnings.extend(of_no_effect(&rows));
    }
    warnings.extend(leave_out_countries(&mut rows, is_out_of_reach));
    warnings.extend(leave_out_impossible(&mut rows, plan));
    warnings.extend(doubts(&rows, is_out_of_reach));
    rows.into_iter().map(|(row, _)| row).collect()
}

/// Rows of regions that there are not.
fn leave_out_unknown(rows: &mut Placed, plan: &Plan) -> Vec<Problem> {
    let (mut few, mut told) = (Few::default(), HashSet::<Arc<str>>::new());
    let regions: HashSet<&str> = plan.regions.values().map(|region| &*region.name).collect();
    rows.retain(|(row, at)| {
        let name = &row.region;
        let is_known = regions.contains(&**name);
        if !is_known && told.insert(name.clone()) {
            few.tell(at, || {
                let hint = nearest(name, regions.iter().copied());
                let hint =
                    hint.map_or_else(String::new, |known| format!(": did you mean `{known}`?"));
                format!("there is no region `{name}`, its rows are left out{hint}")
            });
        }
        is_known
    });
    few.all()
}

/// All but the first row of each network and region.
fn leave_out_repeated(rows: &mut Placed) -> Vec<Problem> {
    let mut places: HashMap<(Network, Arc<str>), SourceAt> = HashMap::with_capacity(rows.len());
    let mut few = Few::default();
    rows.retain(|(row, at)| {
        let first = places.entry((row.network, row.region.clone()));
        let first = first.or_insert_with(|| at.clone());
        if first != at {
            few.tell(at, || {
                let of_file = match first.file == at.file {
                    true => String::new(),
                    false => format!(" of {}", first.file.display()),
                };
                format!(
                    "line {}{of_file} has {} to {} already: this one is left out",
                    first.line, row.network, row.region
                )
            });
        }
        first == at
    });
    few.all()
}

/// Autonomous systems, where no database says whose addresses are whose.
fn of_no_effect(rows: &Placed) -> Option<Problem> {
    let is_system = |(row, _): &&(Row, SourceAt)| matches!(row.network, Network::Asn(_));
    let mut systems = rows.iter().filter(is_system);
    let (row, at) = systems.next()?;
    let more = match systems.count() {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let message = format!(
        "{}: without `geo.asn_database` nobody knows whose addresses these are, so the row has no effect{more}",
        row.network
    );
    Some(Problem::new(Some(at.clone()), message))
}

/// Countries that would be nearer to a region than light allows from their nearest end: a country is where it is.
fn leave_out_countries(rows: &mut Placed, is_out_of_reach: impl Fn(&Row) -> bool) -> Vec<Problem> {
    let mut few = Few::default();
    rows.retain(|(row, at)| {
        let is_left_out = matches!(row.network, Network::Country(_)) && is_out_of_reach(row);
        if is_left_out {
            few.tell(at, || format!("{}: the row is left out", too_quick(row)));
        }
        !is_left_out
    });
    few.all()
}

/// Networks whose round trips cannot all be true.
fn leave_out_impossible(rows: &mut Placed, plan: &Plan) -> Vec<Problem> {
    let location = |name: &str| plan.regions.of(plan.region(name)?).location;
    let places: HashMap<Arc<str>, _> = plan
        .regions
        .values()
        .map(|region| (region.name.clone(), location(&region.name)))
        .collect();
    // The least to each region speaks for all: what goes together with that goes together with more.
    let mut networks: HashMap<Network, HashMap<&str, f64>> = HashMap::new();
    for (row, _) in rows.iter() {
        let ms = row.measurement.ms;
        let least = networks.entry(row.network).or_default();
        let known = least.entry(&row.region).or_insert(ms);
        *known = known.min(ms);
    }
    let is_impossible = |least: &HashMap<&str, f64>| {
        let placed = |(region, ms): (&&str, &f64)| (places.get(*region).copied().flatten(), *ms);
        !all_plausible(None, &least.iter().map(placed).collect::<Vec<_>>())
    };
    networks.retain(|_, least| is_impossible(least));
    let impossible: HashSet<Network> = networks.into_keys().collect();
    let (mut few, mut told) = (Few::default(), HashSet::new());
    rows.retain(|(row, at)| {
        let network = row.network;
        let is_left_out = impossible.contains(&network);
        if is_left_out && told.insert(network) {
            few.tell(at, || {
                format!(
                    "{network} cannot be so near to all these regions: light takes longer from one to another; its rows are left out"
                )
            });
        }
        !is_left_out
    });
    few.all()
}

/// What counts although light rules it out from where the network should be: a database may have an address wrong, and
/// whoever has measured it knows better.
fn doubts(rows: &Placed, is_out_of_reach: impl Fn(&Row) -> bool) -> Vec<Problem> {
    let mut few = Few::default();
    for (row, at) in rows.iter().filter(|(row, _)| is_out_of_reach(row)) {
        few.tell(at, || {
            format!(
                "{}: it counts all the same, but is it in `ms`, and of this network?",
                too_quick(row)
            )
        });
    }
    few.all()
}

fn too_quick(row: &Row) -> String {
    format!(
        "{} ms from {} to {} is quicker than light from where the geography database has the network",
        row.measurement.ms, row.network, row.region
    )
}
