//! The DNSSEC keys of the Plan's zones: read, and made where there are none yet.
//!
//! Never made for a zone that this edge has signed: its parent has the DS of the keys that are gone, and whoever validates
//! would refuse whatever another key signs. What earlier processes have signed is known from `state_dir`.

mod vouched;

use std::collections::BTreeMap;
use std::sync::Arc;

use hickory_proto::rr::Name;

use super::signed_before::{SignedBefore, Tags};
use crate::clock;
use crate::config::Problem;
use crate::config::plan::{Dnssec, Plan, Zone};
use crate::disk::Claim;
use crate::dns::{
    Key, KeyFileError, Signs, Times, ZoneKeys, create_keys, load_keys, too_many_rankings,
};

/// Names that a warning names.
const MOST_NAMED: usize = 3;

/// How long before a zone is signed no more it is warned of, in seconds: keys that are to be rolled in a year are no news.
const TOLD_AHEAD: u32 = 30 * 86_400;

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

/// What signs the Plan's zones, and what has signed others before.
pub(super) struct LoadedKeys {
    pub(super) all: AllKeys,
    pub(super) known: KnownKeys,
}

/// The keys that every zone which this edge has signed had last, whether it is signed still or not.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownKeys {
    /// Of this process.
    seen: BTreeMap<Name, Vec<KnownKey>>,
    /// Of those before it.
    remembered: Tags,
    /// Where that is kept; none: nowhere.
    file: Option<SignedBefore>,
    /// What is wrong with the file.
    unread: Option<String>,
}

/// As much of a key as tells it from others.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KnownKey {
    tag: u16,
    dnskey: Vec<u8>,
    times: Times,
}

impl KnownKey {
    fn of(key: &Key) -> Self {
        Self {
            tag: key.tag(),
            dnskey: key.dnskey(),
            times: key.times,
        }
    }
}

impl KnownKeys {
    /// What processes before this one have known.
    pub(super) fn remembered(plan: &Plan) -> Self {
        let file = plan.node.state_dir.as_deref().map(SignedBefore::of);
        let read = file.as_ref().map_or(Ok(Tags::new()), SignedBefore::read);
        let (remembered, unread) = match read {
            Ok(remembered) => (remembered, None),
            Err(why) => (Tags::new(), Some(why)),
        };
        Self {
            seen: BTreeMap::new(),
            remembered,
            file,
            unread,
        }
    }

    /// Has processes to come know it, unless they could not read it beside what is there.
    pub(super) fn remember(&self, claim: Option<&Claim>) {
        let Some(file) = self.file.as_ref() else {
            return;
        };
        let mut zones = self.remembered.clone();
        let seen = self.seen.iter();
        zones.extend(seen.map(|(zone, keys)| (zone.to_ascii(), tags(keys))));
        let written = match &self.unread {
            Some(why) => Err(why.clone()),
            None => claim
                .map_or(Ok(()), Claim::assure)
                .and_then(|()| file.write(&zones))
                .map_err(|error| format!("{file}: {error}")),
        };
        if let Err(why) = written {
            tracing::warn!("{why}: after a restart it will not be known which zones were signed");
        }
    }

    /// The tags of the keys that a zone had, if it was signed.
    fn tags_of(&self, zone: &Name) -> Option<Vec<u16>> {
        let seen = self.seen.get(zone).map(|keys| tags(keys));
        seen.or_else(|| self.remembered.get(&zone.to_ascii()).cloned())
    }

    /// The tags of keys of a zone that signed it, and are not among these. Of those before this process only the tags are known.
    fn missed_of(&self, zone: &Name, keys: &ZoneKeys, now: u32) -> Vec<u16> {
        let Some(seen) = self.seen.get(zone) else {
            let remembered = self.remembered.get(&zone.to_ascii()).into_iter().flatten();
            let is_there = |tag: &u16| keys.keys.iter().any(|key| key.tag() == *tag);
            return remembered.copied().filter(|tag| !is_there(tag)).collect();
        };
        let is_there = |known: &KnownKey| keys.keys.iter().any(|key| key.dnskey() == known.dnskey);
        let missed = seen.iter();
        let missed = missed.filter(|known| known.times.is_active(now) && !is_there(known));
        missed.map(|known| known.tag).collect()
    }

    /// What changed since `before`, a line for each zone.
    pub(super) fn changes_since(&self, before: &Self) -> Vec<String> {
        let zones = self.seen.iter();
        zones
            .filter_map(|(zone, keys)| {
                let before = before.seen.get(zone).map_or(&[][..], Vec::as_slice);
                let changes = changes(keys, before);
                (!changes.is_empty()).then(|| format!("keys of {zone}: {}", changes.join(", ")))
            })
            .collect()
    }

    /// These and those of zones that `self` does not know.
    fn and(mut self, before: &Self) -> Self {
        for (zone, keys) in &before.seen {
            self.seen
                .entry(zone.clone())
                .or_insert_with(|| keys.clone());
        }
        self.remembered = before.remembered.clone();
        self.file = before.file.clone();
        self.unread = before.unread.clone();
        self
    }
}

fn tags(keys: &[KnownKey]) -> Vec<u16> {
    keys.iter().map(|key| key.tag).collect()
}

fn changes(keys: &[KnownKey], before: &[KnownKey]) -> Vec<String> {
    let same = |key: &KnownKey, among: &[KnownKey]| {
        let mut among = among.iter();
        among.find(|other| other.dnskey == key.dnskey).cloned()
    };
    let now = keys.iter().filter_map(|key| match same(key, before) {
        None => Some(format!("{} is new", key.tag)),
        Some(old) if old.times != key.times => Some(format!("{} has other times", key.tag)),
        Some(_) => None,
    });
    let gone = before.iter().filter(|key| same(key, keys).is_none());
    now.chain(gone.map(|key| format!("{} is gone", key.tag)))
        .collect()
}

/// Reads all keys; all that is wrong is told at once, and nothing is made unless all is right. `before` are those that
/// this process has known.
pub(super) fn load_all_keys(
    plan: &Plan,
    before: &KnownKeys,
    missing: MissingKeys,
    warnings: &mut Vec<Problem>,
) -> Result<LoadedKeys, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut read = Vec::new();
    for zone in &plan.zones {
        let keys = zone
            .dnssec
            .as_ref()
            .map(|dnssec| load(zone, dnssec, before));
        let keys = keys.transpose();
        read.push(keys.unwrap_or_else(|errors| {
            problems.extend(errors);
            None
        }));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut all = Vec::new();
    let mut known = KnownKeys::default();
    for (zone, keys) in plan.zones.iter().zip(read) {
        let (Some(dnssec), Some(mut keys)) = (&zone.dnssec, keys) else {
            all.push(None);
            continue;
        };
        if keys.keys.is_empty() && missing == MissingKeys::Create {
            keys = create(zone, dnssec, before).map_err(|problem| vec![problem])?;
        }
        if !keys.keys.is_empty() {
            let keys = keys.keys.iter().map(KnownKey::of).collect();
            known.seen.insert(zone.origin.clone(), keys);
        }
        warnings.extend(warning(zone, dnssec, &keys));
        all.push(Some(Arc::new(keys)));
    }
    if missing == MissingKeys::Leave {
        warnings.extend(plan.zones.iter().filter_map(|zone| unsigned(zone, before)));
    }
    let all: AllKeys = all.into();
    warnings.extend(vouched::unvouched(plan, &all, clock::unix_secs()));
    warnings.extend(signs_late(plan, &all, clock::unix_secs()));
    let known = known.and(before);
    Ok(LoadedKeys { all, known })
}

/// What somebody checks would take the signatures from a zone. A reload tells of that by itself.
fn unsigned(zone: &Zone, before: &KnownKeys) -> Option<Problem> {
    let tags = before
        .remembered
        .get(&zone.origin.to_ascii())
        .filter(|_| zone.dnssec.is_none())?;
    let message = format!(
        "{} has no `dnssec`, and this edge has signed it, with {}: as long as its parent has a DS, whoever validates refuses what is not signed",
        zone.origin,
        listed(tags)
    );
    Some(Problem::new(None, message))
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

fn load(zone: &Zone, dnssec: &Dnssec, before: &KnownKeys) -> Result<ZoneKeys, Vec<Problem>> {
    let at = || Some(dnssec.keys.at.clone());
    let told = |error: KeyFileError| Problem::new(at(), error.to_string());
    let folder = &dnssec.keys.path;
    let name = zone.origin.to_ascii();
    let keys = load_keys(folder, &zone.origin)
        .map_err(|errors| errors.into_iter().map(told).collect::<Vec<_>>())?;
    let now = clock::unix_secs();
    let message = if keys.keys.is_empty() {
        let Some(gone) = before.tags_of(&zone.origin) else {
            return Ok(keys);
        };
        format!(
            "the keys of {name} are gone: there are none in {}, and the zone was signed with {}. Put them back; no other key is made, since whoever validates goes by the DS of these. If its parent has no DS any more, put another key there with dnssec-keygen",
            folder.display(),
            listed(&gone)
        )
    } else {
        let missed = before.missed_of(&zone.origin, &keys, now);
        if missed.is_empty() || keys.is_whole(now) {
            return Ok(keys);
        }
        format!(
            "{} of {name}, which signs the zone, is gone from {}, and no key that is left signs in its place by its times. Put it back, or let another be active",
            listed(&missed),
            folder.display()
        )
    };
    Err(vec![Problem::new(at(), message)])
}

fn listed(tags: &[u16]) -> String {
    let tags: Vec<String> = tags.iter().map(u16::to_string).collect();
    tags.join(", ")
}

fn create(zone: &Zone, dnssec: &Dnssec, before: &KnownKeys) -> Result<ZoneKeys, Problem> {
    let folder = &dnssec.keys.path;
    let name = zone.origin.to_ascii();
    if let Some(why) = &before.unread {
        let message = format!(
            "no key is made for {name}: {why}, so that it is not known whether the zone was signed before. Mend that file, or remove it if it was not"
        );
        return Err(Problem::new(Some(dnssec.keys.at.clone()), message));
    }
    let made = create_keys(folder, &zone.origin, dnssec.algorithm, clock::unix_secs());
    let made =
        made.map_err(|error| Problem::new(Some(dnssec.keys.at.clone()), error.to_string()))?;
    tracing::warn!(
        zone = %name,
        folder = %folder.display(),
        "made a DNSSEC key, for there was none: its DS is printed by `meridian check --ds`. If the zone has been signed before, whoever validates refuses it until its own keys are put in this one's place"
    );
    Ok(made)
}

/// A zone whose parent has a DS cannot be resolved once nothing signs it.
fn warning(zone: &Zone, dnssec: &Dnssec, keys: &ZoneKeys) -> Option<Problem> {
    if keys.keys.is_empty() {
        return None;
    }
    let (origin, now) = (&zone.origin, clock::unix_secs());
    let refused = "whoever validates refuses the zone while its parent has a DS";
    let ahead = || {
        let (from, then) = keys.signs_less_from(now)?;
        let from_ms = u64::from(from) * 1_000;
        (from - now <= TOLD_AHEAD).then(|| (clock::rfc3339(from_ms), then))
    };
    let message = match keys.signs(now) {
        Signs::Nothing => {
            format!("no key of {origin} is active by its times: the zone is not signed")
        }
        Signs::DataAlone => {
            format!("no key-signing key of {origin} is active by its times: {refused}")
        }
        Signs::All => match ahead()? {
            (from, Signs::Nothing) => format!(
                "no key of {origin} is active from {from} on, by their times: the zone is not signed then"
            ),
            (from, Signs::DataAlone | Signs::All) => format!(
                "no key-signing key of {origin} is active from {from} on, by their times: {refused} then"
            ),
        },
    };
    Some(Problem::new(Some(dnssec.keys.at.clone()), message))
}
