//! Which region clients without cookies are used to.
//!
//! In parts by the client's key, each behind a lock of its own, so that requests of two clients seldom meet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

/// Into how many the table is parted.
const PARTS: usize = 32;

/// Clients that a part remembers, 200,000 in all; more are steered anew each time.
const MOST_STICKY: usize = 6_250;

/// How often a full part is searched for what has expired, seconds.
const SWEPT_EVERY: u32 = 5;

/// The clients that are remembered, by hashes of what tells them apart.
#[derive(Debug, Default)]
pub(super) struct StickyTable([Mutex<Sticky>; PARTS]);

/// One part of it.
#[derive(Debug, Default)]
struct Sticky {
    entries: HashMap<u64, (Arc<str>, u32)>,
    /// Until when it counts as full, seconds since 1970: a full part is not searched for each new client.
    full_until: u32,
}

impl StickyTable {
    /// Whom it knows, for the process that takes this one's place: region → key and expiry of each client.
    pub(super) fn bequeath(&self) -> Value {
        let mut regions: HashMap<Arc<str>, Vec<(u64, u32)>> = HashMap::new();
        for part in self.0.iter().map(locked) {
            for (key, (region, expires)) in &part.entries {
                let clients = regions.entry(region.clone()).or_default();
                clients.push((*key, *expires));
            }
        }
        let regions = regions.iter().map(|(region, clients)| (&**region, clients));
        json!(regions.collect::<HashMap<_, _>>())
    }

    /// Knows whom the process before knew.
    pub(super) fn inherit(&self, bequest: &Value) {
        for (region, clients) in bequest.as_object().into_iter().flatten() {
            let region: Arc<str> = region.as_str().into();
            let clients = clients.as_array().into_iter().flatten();
            let clients = clients.filter_map(|client| {
                let expires = u32::try_from(client[1].as_u64()?).ok()?;
                Some((client[0].as_u64()?, expires))
            });
            for (key, expires) in clients {
                if let Some(mut part) = self.part(key)
                    && part.entries.len() < MOST_STICKY
                {
                    part.entries.insert(key, (region.clone(), expires));
                }
            }
        }
    }

    /// The region that a client is used to.
    pub(super) fn find(&self, key: u64, now: u32) -> Option<Arc<str>> {
        let part = self.part(key)?;
        let (region, expires) = part.entries.get(&key)?;
        (*expires > now).then(|| region.clone())
    }

    /// A client has been served by this region, and is used to it for `ttl` from now on.
    pub(super) fn remember(&self, key: u64, region: &Arc<str>, now: u32, ttl: Duration) {
        let expires = now.saturating_add(u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX));
        if let Some(mut part) = self.part(key)
            && (part.entries.contains_key(&key) || part.has_room(now))
        {
            part.entries.insert(key, (region.clone(), expires));
        }
    }

    /// The part of this key; there is one for each.
    fn part(&self, key: u64) -> Option<MutexGuard<'_, Sticky>> {
        let at = usize::try_from(key % 32).ok()?;
        self.0.get(at).map(locked)
    }
}

fn locked(part: &Mutex<Sticky>) -> MutexGuard<'_, Sticky> {
    // Each critical section leaves it whole, even if it were to panic.
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sticky {
    fn has_room(&mut self, now: u32) -> bool {
        if self.entries.len() < MOST_STICKY {
            return true;
        }
        if now < self.full_until {
            return false;
        }
        self.full_until = now.saturating_add(SWEPT_EVERY);
        self.entries.retain(|_, (_, expires)| *expires > now);
        self.entries.len() < MOST_STICKY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_process_knows_whom_this_one_knew() {
        let (old, new) = (StickyTable::default(), StickyTable::default());
        old.remember(u64::MAX, &"near".into(), 100, Duration::from_secs(60));
        old.remember(7, &"far".into(), 100, Duration::from_secs(60));
        new.inherit(&old.bequeath());
        assert_eq!(new.find(u64::MAX, 159).as_deref(), Some("near"));
        assert_eq!(new.find(7, 159).as_deref(), Some("far"));
        assert_eq!(new.find(7, 160), None);
    }

    #[test]
    fn a_full_table_takes_no_new_client_keeps_the_old_and_has_room_once_they_expire() {
        let (table, ttl) = (StickyTable::default(), Duration::from_secs(60));
        let [here, there]: [Arc<str>; 2] = ["here".into(), "there".into()];
        let most = u64::try_from(PARTS * MOST_STICKY).unwrap();
        for client in 0..most {
            table.remember(client, &here, 100, ttl);
        }
        table.remember(most, &here, 100, ttl);
        assert_eq!(table.find(most, 100), None);
        table.remember(7, &there, 101, ttl);
        assert_eq!(table.find(7, 101), Some(there));
        assert_eq!(table.find(8, 159), Some(here.clone()));
        assert_eq!(table.find(8, 160), None, "its time is over");
        table.remember(most, &here, 160, ttl);
        assert_eq!(table.find(most, 160), Some(here));
    }

    /// Were there one lock for all, this test would not end.
    #[test]
    fn a_client_waits_for_none_of_another_part() {
        let (table, here): (_, Arc<str>) = (StickyTable::default(), "here".into());
        let held = table.part(1);
        std::thread::scope(|scope| {
            scope.spawn(|| table.remember(2, &here, 100, Duration::from_secs(60)));
        });
        drop(held);
        assert_eq!(table.find(2, 100), Some(here));
    }

    #[test]
    fn a_full_table_is_searched_every_few_seconds_and_not_for_every_client() {
        let (table, here): (_, Arc<str>) = (StickyTable::default(), "here".into());
        let most = u64::try_from(PARTS * MOST_STICKY).unwrap();
        for client in 0..most {
            table.remember(client, &here, 100, Duration::from_secs(2));
        }
        table.remember(most, &here, 100, Duration::from_secs(2));
        table.remember(most, &here, 104, Duration::from_secs(2));
        assert_eq!(table.find(most, 104), None, "it has just been searched");
        table.remember(most, &here, 105, Duration::from_secs(2));
        assert_eq!(table.find(most, 105), Some(here));
    }
}
