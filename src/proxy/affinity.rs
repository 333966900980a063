//! What keeps a client on its region: the sealed cookie, or an entry of the sticky table for those without one.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue};

use super::carried::Carried;
use super::inbound::header_value;
use super::sticky::StickyTable;
use crate::chance;
use crate::config::plan::{Affinity, AffinityBy, Plan, Service};
use crate::ids::RegionId;
use crate::positions::Keyring;
use crate::steering::{Draw, Spread, stable_hash};

/// What is known of a client's affinity before it is steered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// The region that it is used to.
    pub(super) region: Option<RegionId>,
    /// Its own draw where it has one.
    pub(super) draw: Draw,
    /// Whether its cookie is past half of its life.
    renew: bool,
    /// Its key in the sticky table.
    key: Option<u64>,
}

impl Known {
    /// Whether its cookie says all that there is to say of a client that this region served.
    pub(super) fn is_settled(&self, served: RegionId) -> bool {
        self.key.is_none() && !self.renew && self.region == Some(served)
    }

    /// The client's place among a hundred: by what tells it apart, else by its address.
    pub(super) fn spread(&self, client: IpAddr) -> Spread {
        match self.key {
            Some(_) => Spread::of_hash(self.draw.0),
            None => Spread::of_client(client),
        }
    }
}

/// What a cookie says.
#[derive(Clone, Copy)]
pub(super) struct Home {
    /// Unix seconds.
    pub(super) expires: u32,
    /// None: of an earlier configuration.
    region: Option<RegionId>,
}

/// What affinity is looked up and remembered with.
pub(super) struct Session<'a> {
    pub(super) service: &'a Service,
    pub(super) plan: &'a Arc<Plan>,
    pub(super) keyring: &'a Keyring,
    pub(super) sticky: &'a StickyTable,
    pub(super) host: &'a str,
    pub(super) secure: bool,
    pub(super) now: u32,
}

impl Session<'_> {
    /// What is known of a client, which carries this of the edge's own.
    pub(super) fn find(
        &self,
        carried: Option<&Carried>,
        headers: &HeaderMap,
        client: IpAddr,
    ) -> Known {
        let new = Known {
            region: None,
            draw: Draw(chance::draw()),
            renew: true,
            key: None,
        };
        let Some(affinity) = &self.service.affinity else {
            return new;
        };
        let key = match &affinity.by {
            AffinityBy::Cookie => {
                let home = carried.and_then(|carried| carried.home);
                return home.map_or(new, |home| self.at_home(home, affinity));
            }
            AffinityBy::Header(name) => header_value(headers, name),
            AffinityBy::ClientIp => Some(client.to_string()),
        };
        let Some(key) = key else { return new };
        let own = stable_hash(&key);
        let key = stable_hash(&format!("{} {key}", self.service.name));
        Known {
            region: self
                .sticky
                .find(key, self.now)
                .and_then(|name| self.plan.region(&name)),
            draw: Draw(own),
            renew: false,
            key: Some(key),
        }
    }

    pub(super) fn at_home(&self, home: Home, affinity: &Affinity) -> Known {
        let half = u32::try_from(affinity.ttl.as_secs() / 2).unwrap_or(u32::MAX);
        Known {
            region: home.region,
            draw: Draw(chance::draw()),
            // The last second is the rest of that in which it was set.
            renew: home.expires.saturating_sub(self.now) <= half.saturating_add(1),
            key: None,
        }
    }

    /// What an affinity cookie's value says, if it is genuine and not over.
    pub(super) fn home(&self, text: &str) -> Option<Home> {
        self.open(text).filter(|home| home.expires > self.now)
    }

    fn open(&self, text: &str) -> Option<Home> {
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let plain = self.keyring.open(&self.context(), &sealed).ok()?;
        let (expires, region) = plain.split_first_chunk::<4>()?;
        Some(Home {
            expires: u32::from_be_bytes(*expires),
            region: self.plan.region(std::str::from_utf8(region).ok()?),
        })
    }

    /// Remembers where the client was served; the cookie to set, if one is due.
    pub(super) fn remember(&self, known: &Known, served: RegionId) -> Option<HeaderValue> {
        let affinity = self.service.affinity.as_ref()?;
        let region = &self.plan.regions.of(served).name;
        match affinity.by {
            AffinityBy::Cookie if known.is_settled(served) => None,
            AffinityBy::Cookie => self.cookie(affinity, region),
            AffinityBy::Header(_) | AffinityBy::ClientIp => {
                self.sticky
                    .remember(known.key?, region, self.now, affinity.ttl);
                None
            }
        }
    }

    fn cookie(&self, affinity: &Affinity, region: &str) -> Option<HeaderValue> {
        let ttl = u32::try_from(affinity.ttl.as_secs()).unwrap_or(u32::MAX);
        // Of the second in which it is set something has passed.
        let expires = self.now.saturating_add(ttl).saturating_add(1);
        let expires = expires.to_be_bytes();
        let sealed = self
            .keyring
            .seal(&self.context(), &[&expires, region.as_bytes()].concat())?;
        let secure = if self.secure { "; Secure" } else { "" };
        let text = format!(
            "{}{}={}; Path=/; Max-Age={ttl}{secure}; HttpOnly; SameSite=Lax",
            self.cookie_prefix(),
            self.service.name,
            URL_SAFE_NO_PAD.encode(sealed)
        );
        HeaderValue::from_str(&text).ok()
    }

    fn cookie_prefix(&self) -> &'static str {
        if self.secure {
            "__Host-meridian_region_"
        } else {
            "meridian_region_"
        }
    }

    /// Whether affinity is kept in a cookie of this name.
    pub(super) fn is_cookie_name(&self, name: &[u8]) -> bool {
        let affinity = self.service.affinity.as_ref();
        let is_by_cookie = affinity.is_some_and(|affinity| affinity.by == AffinityBy::Cookie);
        let service = name.strip_prefix(self.cookie_prefix().as_bytes());
        is_by_cookie && service == Some(self.service.name.as_bytes())
    }

    fn context(&self) -> Vec<u8> {
        format!("affinity {} {}", self.service.name, self.host).into_bytes()
    }
}
