//! The DNSSEC keys of the Plan's zones: read, and made where there are none yet.

use std::sync::Arc;

use hickory_proto::rr::Name;

use crate::clock;
use crate::config::Problem;
use crate::config::plan::{Dnssec, Plan, Zone};
use crate::dns::{KeyFileError, ZoneKeys, create_keys, load_keys, too_many_rankings};

/// Names that a warning names.
const MOST_NAMED: usize = 3;

/// What happens to a zone that is to be signed and has no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingKeys {
    /// One is made: the edge will sign with it.
    Create,
    /// It stays without: nothing is written by who only looks.
    Leave,
}

/// In the order of the Plan's zones; `None` for zones that are not signed.
pub(super) type AllKeys = Arc<[Option<Arc<ZoneKeys>>]>;

/// Reads all keys; all that is wrong is told at once.
pub(super) fn load_all_keys(
    plan: &Plan,
    missing: MissingKeys,
    warnings: &mut Vec<Problem>,
) -> Result<AllKeys, Vec<Problem>> {
    let mut problems = Vec::new();
    let keys = plan.zones.iter().map(|zone| {
        let dnssec = zone.dnssec.as_ref()?;
        match load(zone, dnssec, missing) {
            Ok(keys) => {
                warnings.extend(warning(zone, dnssec, &keys));
                Some(Arc::new(keys))
            }
            Err(errors) => {
                problems.extend(errors);
                None
            }
        }
    });
    let keys: AllKeys = keys.collect();
    warnings.extend(signs_late(plan, &keys, clock::unix_secs()));
    if problems.is_empty() {
        Ok(keys)
    } else {
        Err(problems)
    }
}

/// Not all that services answer in signed zones is signed before anybody asks for it.
fn signs_late(plan: &Plan, keys: &AllKeys, now: u32) -> Option<Problem> {
    let told = too_many_rankings(plan, keys, now)?;
    let mut signed = plan.zones.iter().filter_map(|zone| zone.dnssec.as_ref());
    let at = signed.next()?.keys.at.clone();
    let (count, most) = (told.count, told.most);
    let from = match told.from {
        from if from > now => format!(
            " (from {}, by the times of keys)",
            clock::rfc3339(u64::from(from) * 1_000)
        ),
        _ => String::new(),
    };
    let message = format!(
        "in signed zones{from}, HTTPS records name several regions, in {count} orders for all names together, of which {most} at most are signed when the configuration is loaded, those of a name all or none: those of {} are signed when health first gives them, or when they are first asked for. Fewer names, or fewer regions for a service, have fewer",
        first_of(&told.unsigned)
    );
    Some(Problem::new(Some(at), message))
}

fn first_of(names: &[Name]) -> String {
    let (shown, others) = names.split_at(names.len().min(MOST_NAMED));
    let shown = shown.iter().map(Name::to_string).collect::<Vec<_>>();
    let shown = shown.join(", ");
    match others.len() {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn load(zone: &Zone, dnssec: &Dnssec, missing: MissingKeys) -> Result<ZoneKeys, Vec<Problem>> {
    let told = |error: KeyFileError| Problem::new(Some(dnssec.keys.at.clone()), error.to_string());
    let folder = &dnssec.keys.path;
    let name = zone.origin.to_ascii();
    let keys = load_keys(folder, &name)
        .map_err(|errors| errors.into_iter().map(told).collect::<Vec<_>>())?;
    if !keys.keys.is_empty() || missing == MissingKeys::Leave {
        return Ok(keys);
    }
    let made = create_keys(folder, &name, dnssec.algorithm, clock::unix_secs());
    let made = made.map_err(|error| vec![told(error)])?;
    tracing::info!(zone = %name, folder = %folder.display(), "made a DNSSEC key: its DS is printed by `meridian check --ds`");
    Ok(made)
}

/// A zone whose parent has a DS cannot be resolved once nothing signs it.
fn warning(zone: &Zone, dnssec: &Dnssec, keys: &ZoneKeys) -> Option<Problem> {
    let is_idle = !keys.keys.is_empty() && !keys.is_signing(clock::unix_secs());
    is_idle.then(|| {
        let message = format!(
            "no key of {} is active by its times: the zone is not signed",
            zone.origin
        );
        Problem::new(Some(dnssec.keys.at.clone()), message)
    })
}
