//! The token: what a client must see, merged with what else it is known to have asked for, and set back where writes
//! are lost. How it travels is `wire`, what is wrong with one that counts as absent `flaw`.

mod flaw;
#[cfg(test)]
mod tests;
mod wire;

use super::applied::Applied;
use super::seal::SealError;
use super::vector::{Entry, RegionName, Vector};

pub use flaw::Flaw;

/// Keeps a client on the region of a write whose position is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Where the write went.
    pub region: RegionName,
    /// Unix seconds.
    pub until: u32,
    /// Which it is of its client's pins that end in that second.
    pub turn: u8,
}

impl Pin {
    /// The newer one ends later, or comes later in its second.
    pub(super) fn age(&self) -> (u32, u8) {
        (self.until, self.turn)
    }

    /// Ends as late as another, and comes after it.
    fn put_after(&mut self, before: &Self) {
        (self.until, self.turn) = match before.turn.checked_add(1) {
            Some(turn) => (before.until, turn),
            None => (before.until.saturating_add(1), 0),
        };
    }
}

/// What a client must see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Token {
    /// Unix seconds after which it counts as absent.
    pub expires: u32,
    /// Random, the same through a client's chain of tokens.
    pub session: u64,
    /// The client's writes.
    pub vector: Vector,
    /// The newest write of unknown position.
    pub pin: Option<Pin>,
    /// An entry gave way to one of a newer epoch that does not include it, and its client has not been told.
    pub lost: bool,
}

/// Why a token counts as absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not one of ours, or altered.
    #[error("the token is not genuine: {0}")]
    Seal(#[from] SealError),
    /// Over.
    #[error("the token has expired")]
    Expired,
}

impl TokenError {
    /// As the metric's label has it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Seal(SealError::Forged) => "forged",
            Self::Seal(SealError::Malformed) => "malformed",
            Self::Expired => "expired",
        }
    }
}

impl Token {
    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.vector.is_empty() && self.pin.is_none() && !self.lost
    }

    /// Takes over what another token of the same client asks for: the larger entries, the newer pin.
    pub fn merge(&mut self, other: &Self) {
        self.vector.merge(&other.vector);
        self.expires = self.expires.max(other.expires);
        self.lost |= other.lost;
        if other
            .pin
            .as_ref()
            .is_some_and(|pin| self.is_older_than(pin))
        {
            self.pin.clone_from(&other.pin);
        }
    }

    /// Whether its client's newest write went to another region than this one, and nobody knows how far.
    pub fn is_pinned_elsewhere(&self, region: &str) -> bool {
        self.pin.as_ref().is_some_and(|pin| *pin.region != *region)
    }

    fn is_older_than(&self, pin: &Pin) -> bool {
        let order = |pin: &Pin| (pin.age(), pin.region.clone());
        self.pin.as_ref().is_none_or(|own| order(own) < order(pin))
    }

    /// Whether merging another would change nothing, and none of its entries is of an earlier epoch.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let has = |(region, entry): (&RegionName, Entry)| {
            let own = self.vector.entry(region);
            own.is_some_and(|own| {
                own == entry
                    || own.position.epoch == entry.position.epoch && own.position > entry.position
            })
        };
        other.expires <= self.expires
            && (self.lost || !other.lost)
            && other
                .pin
                .as_ref()
                .is_none_or(|pin| !self.is_older_than(pin))
            && other.vector.entries().all(has)
    }

    /// Sets the entries that are lost back to what is left of them.
    pub(super) fn set_back(&mut self, lost: &Vector, applied: &Applied) {
        if !lost.is_empty() {
            self.set_back_to(lost, &applied.rest(lost));
        }
    }

    /// Sets the entries that are lost back to the `rest` of them.
    pub(super) fn set_back_to(&mut self, lost: &Vector, rest: &Vector) {
        for (region, lost) in lost.iter() {
            let own = self.vector.get(region);
            let is_lost = own.is_some_and(|own| own.epoch == lost.epoch && own.seq <= lost.seq);
            if let Some(rest) = rest.get(region).filter(|_| is_lost) {
                self.vector.set(region, rest);
            }
        }
    }

    /// Asks for lost entries again, as long as the client was not told of them.
    pub(super) fn bring_back(&mut self, lost: &Vector, rest: &Vector) {
        for (region, lost) in lost.iter() {
            let own = self.vector.get(region);
            if own.is_none_or(|own| Some(own) == rest.get(region)) {
                self.vector.set(region, lost);
            } else {
                self.lost = true;
            }
        }
    }

    /// Has a pin that was just set count as newer than the one before, also when both were set within one second. To the same
    /// region it ends no sooner: it may have superseded another, which an edge remembers that has not heard of this.
    pub(super) fn supersede_pin(&mut self, before: Option<&Pin>) {
        let (Some(pin), Some(before)) = (&mut self.pin, before) else {
            return;
        };
        if pin.age() > before.age() {
            return;
        }
        if pin.region == before.region {
            pin.clone_from(before);
        } else {
            pin.put_after(before);
        }
    }

    /// How many seconds it lasts for certain: the last one is the rest of that in which it was issued.
    pub fn lasts_secs(&self, now: u32) -> u32 {
        self.expires.saturating_sub(now).saturating_sub(1)
    }

    /// The token, unless it has expired.
    pub fn still_valid(self, now: u32) -> Result<Self, TokenError> {
        if self.expires <= now {
            return Err(TokenError::Expired);
        }
        Ok(self)
    }
}
