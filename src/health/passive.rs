//! What traffic shows of one origin, and whether it is to be ejected for that.
//!
//! Pure: `now` is in milliseconds of the steady clock, and chance comes in as a number. It knows nothing of other
//! origins; `ejection` decides whether they can do without this one.

use std::fmt;
use std::num::NonZeroU8;
use std::time::Duration;

use crate::config::plan::PassiveHealth;
use crate::units::show_duration;

/// Parts of a window: results leave it a tenth at a time.
const BUCKETS: usize = 10;

/// An ejection is shorter than its nominal length by up to this share, so that edges do not return together.
const JITTER: f64 = 0.1;

/// For each so many `ejection` times without a new one, the next is not doubled once.
const CALM: u64 = 2;

/// An origin's own word that it wants no requests for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// 503 with `Retry-After`.
    RetryAfter(Duration),
    /// `Meridian-Drain`, on any answer.
    Drain(Duration),
}

/// What traffic has shown since it was last looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Requests that it answered.
    pub good: u32,
    /// Requests that it failed.
    pub failed: u32,
    /// How many of the last ones it failed without a good one between.
    pub in_a_row: u32,
    /// Whether there was an answer among those, or a wait for one, and not only connections that failed.
    pub answered: bool,
    /// What it asked for itself.
    pub word: Option<Word>,
}

/// Why an origin is to be ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// So many requests in a row failed.
    InARow(u32),
    /// The same, and each for its connection.
    Connections(u32),
    /// Too few requests within the window succeeded.
    SuccessRate {
        /// Those that did.
        good: u32,
        /// All of them.
        of: u32,
    },
    /// It asked for it.
    Word(Word),
}

impl Cause {
    /// As the metrics call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InARow(_) | Self::Connections(_) => "consecutive_failures",
            Self::SuccessRate { .. } => "success_rate",
            Self::Word(Word::RetryAfter(_)) => "retry_after",
            Self::Word(Word::Drain(_)) => "drain",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InARow(failed) => write!(f, "{failed} requests in a row failed"),
            Self::Connections(failed) => write!(f, "{failed} connections in a row failed"),
            Self::SuccessRate { good, of } => {
                write!(f, "only {good} of {of} requests succeeded")
            }
            Self::Word(Word::RetryAfter(_)) => f.write_str("it answered 503 with Retry-After"),
            Self::Word(Word::Drain(_)) => f.write_str("it asked for it with Meridian-Drain"),
        }
    }
}

/// An ejection in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// Why.
    pub cause: Cause,
    /// For how long, from its beginning.
    pub length: Duration,
    since_ms: u64,
    until_ms: u64,
    /// Probes that have passed since, without a failed one between.
    passes: u8,
}

/// An ejection that goes from one process to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inherited {
    /// Why.
    pub cause: Cause,
    /// For how long, from its beginning.
    pub length: Duration,
    /// What is left of that.
    pub left: Duration,
    /// How often the next one is doubled.
    pub strikes: u32,
}

/// How requests to an origin have gone lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lately {
    /// There were none within the window.
    Quiet,
    /// Nothing speaks against it.
    Fine,
    /// It is at least halfway to an ejection.
    Failing,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bucket {
    good: u32,
    failed: u32,
}

/// What traffic shows of one origin.
///
/// ```text
///             observe: a cause, and it is granted
///    in ────────────────── eject ──────────────────▶ ejected
///     ▲ ╲ refused: spare, not judged for a window       │
///     └────── readmit: its time is over, or ────────────┘
///             probed: what failed has been seen to work
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Passive {
    settings: PassiveHealth,
    buckets: [Bucket; BUCKETS],
    /// Tenths of a window since the clock began.
    newest: u64,
    in_a_row: u32,
    answered: bool,
    ejection: Option<Ejection>,
    /// How often the next ejection is doubled, before calm is counted.
    strikes: u32,
    /// When the last ejection ended.
    calm_since_ms: u64,
    spared_until_ms: u64,
}

impl Passive {
    /// Nothing is known yet.
    pub fn new(settings: PassiveHealth) -> Self {
        Self {
            settings,
            buckets: [Bucket::default(); BUCKETS],
            newest: 0,
            in_a_row: 0,
            answered: false,
            ejection: None,
            strikes: 0,
            calm_since_ms: 0,
            spared_until_ms: 0,
        }
    }

    /// What it goes by.
    pub fn settings(&self) -> &PassiveHealth {
        &self.settings
    }

    /// The ejection in force.
    pub fn ejection(&self) -> Option<&Ejection> {
        self.ejection.as_ref()
    }

    /// The ejection in force, for the process that takes this one's place.
    pub fn bequest(&self, now_ms: u64) -> Option<Inherited> {
        let ejection = self.ejection.as_ref()?;
        Some(Inherited {
            cause: ejection.cause,
            length: ejection.length,
            left: Duration::from_millis(ejection.until_ms.saturating_sub(now_ms)),
            strikes: self.strikes,
        })
    }

    /// Goes on with an ejection that another process began, for no longer than one of its own could last.
    pub fn inherit(&mut self, ejection: Inherited, now_ms: u64) {
        self.strikes = ejection.strikes;
        self.ejection = Some(Ejection {
            cause: ejection.cause,
            length: ejection.length.min(self.settings.max_ejection),
            since_ms: now_ms,
            until_ms: now_ms.saturating_add(ms(ejection.left.min(self.settings.max_ejection))),
            passes: 0,
        });
    }

    /// Takes in what was seen. The answers of an ejected origin to requests from before count for nothing, but
    /// its word may make the ejection longer.
    pub fn observe(&mut self, seen: &Seen, now_ms: u64) {
        self.advance(now_ms);
        if let Some(ejection) = &mut self.ejection {
            if let Some(word) = seen.word {
                let length = self.settings.bounded(word);
                ejection.until_ms = ejection.until_ms.max(now_ms.saturating_add(ms(length)));
            }
            return;
        }
        self.in_a_row = seen.in_a_row;
        self.answered = seen.answered;
        if let Some(bucket) = self.bucket() {
            bucket.good = bucket.good.saturating_add(seen.good);
            bucket.failed = bucket.failed.saturating_add(seen.failed);
        }
    }

    /// Why it is to be ejected now, if it is; what it asks for itself is said only once.
    pub fn judge(&mut self, word: Option<Word>, now_ms: u64) -> Option<Cause> {
        self.advance(now_ms);
        // An origin that stays may say the same with every answer.
        if self.ejection.is_some() || now_ms < self.spared_until_ms {
            return None;
        }
        if let Some(word) = word {
            return Some(Cause::Word(word));
        }
        let most = self.settings.consecutive_failures;
        if most > 0 && self.in_a_row >= most {
            return Some(match self.answered {
                true => Cause::InARow(self.in_a_row),
                false => Cause::Connections(self.in_a_row),
            });
        }
        let (good, of) = self.counted();
        self.is_below_rate(good, of)
            .then_some(Cause::SuccessRate { good, of })
    }

    /// How its requests have gone lately.
    pub fn lately(&self) -> Lately {
        let (good, of) = self.counted();
        let most = self.settings.consecutive_failures;
        if of == 0 {
            Lately::Quiet
        } else if (most > 0 && self.in_a_row.saturating_mul(2) >= most)
            || self.is_below_rate(good, of)
        {
            Lately::Failing
        } else {
            Lately::Fine
        }
    }

    /// Ejects it; `draw` is uniform from 0 to 1. Failures of traffic double the next ejection, its own word does not.
    pub fn eject(&mut self, cause: Cause, now_ms: u64, draw: f64) -> Ejection {
        let length = match cause {
            Cause::Word(word) => self.settings.bounded(word),
            Cause::InARow(_) | Cause::Connections(_) | Cause::SuccessRate { .. } => {
                self.next_length(now_ms, draw)
            }
        };
        let ejection = Ejection {
            cause,
            length,
            since_ms: now_ms,
            until_ms: now_ms.saturating_add(ms(length)),
            passes: 0,
        };
        self.ejection = Some(ejection);
        self.forget();
        ejection
    }

    /// It was to be ejected and is not: it is not judged again for a whole window.
    pub fn spare(&mut self, now_ms: u64) {
        self.spared_until_ms = now_ms.saturating_add(ms(self.settings.window));
    }

    /// Lets it back in if its time is over; what ended.
    pub fn readmit(&mut self, now_ms: u64) -> Option<Ejection> {
        let over = self
            .ejection
            .take_if(|ejection| ejection.until_ms <= now_ms)?;
        self.calm_since_ms = now_ms;
        Some(over)
    }

    /// Takes in a probe that connects where requests do. Where only connections failed, `needed` passed ones in a
    /// row end the ejection: what failed has been seen to work. What ended.
    pub fn probed(
        &mut self,
        passed: bool,
        (began_ms, now_ms): (u64, u64),
        needed: NonZeroU8,
    ) -> Option<Ejection> {
        let ejection = self.ejection.as_mut()?;
        if began_ms < ejection.since_ms {
            return None;
        }
        ejection.passes = match passed {
            true => ejection.passes.saturating_add(1),
            false => 0,
        };
        let is_over =
            ejection.passes >= needed.get() && matches!(ejection.cause, Cause::Connections(_));
        let over = self.ejection.take_if(|_| is_over)?;
        self.calm_since_ms = now_ms;
        Some(over)
    }

    /// The doubled time, with what calm has earned.
    fn next_length(&mut self, now_ms: u64, draw: f64) -> Duration {
        let base = self.settings.ejection;
        let calm_ms = now_ms.saturating_sub(self.calm_since_ms);
        let forgiven = calm_ms / (CALM * ms(base)).max(1);
        let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
        let strikes = self.strikes.saturating_sub(forgiven);
        self.strikes = strikes.saturating_add(1);
        let doubled = base.saturating_mul(2_u32.saturating_pow(strikes));
        let nominal = doubled.min(self.settings.max_ejection);
        nominal.mul_f64(1.0 - JITTER * draw.clamp(0.0, 1.0))
    }

    fn forget(&mut self) {
        self.buckets = [Bucket::default(); BUCKETS];
        self.in_a_row = 0;
    }

    fn is_below_rate(&self, good: u32, of: u32) -> bool {
        of > 0
            && of >= self.settings.min_requests
            && f64::from(good) < f64::from(of) * self.settings.success_rate.ratio()
    }

    /// The good ones within the window, and all.
    fn counted(&self) -> (u32, u32) {
        self.buckets.iter().fold((0, 0), |(good, of), bucket| {
            let all = bucket.good.saturating_add(bucket.failed);
            (
                u32::saturating_add(good, bucket.good),
                u32::saturating_add(of, all),
            )
        })
    }

    fn bucket(&mut self) -> Option<&mut Bucket> {
        self.buckets.get_mut(place(self.newest))
    }

    /// Empties the buckets of the tenths that have begun since.
    fn advance(&mut self, now_ms: u64) {
        let now = now_ms.saturating_mul(BUCKETS_IN_TIME) / ms(self.settings.window).max(1);
        for tenth in (self.newest.saturating_add(1)..=now).take(BUCKETS) {
            if let Some(bucket) = self.buckets.get_mut(place(tenth)) {
                *bucket = Bucket::default();
            }
        }
        self.newest = self.newest.max(now);
    }
}

/// [`BUCKETS`], as times count.
const BUCKETS_IN_TIME: u64 = 10;

/// The bucket of a tenth.
fn place(tenth: u64) -> usize {
    usize::try_from(tenth % BUCKETS_IN_TIME).unwrap_or(0)
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl PassiveHealth {
    /// How long an origin's own word counts.
    fn bounded(&self, word: Word) -> Duration {
        let (Word::RetryAfter(asked) | Word::Drain(asked)) = word;
        asked.min(self.max_ejection)
    }
}

impl fmt::Display for Ejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = Duration::from_millis(ms(self.length));
        write!(f, "ejected for {}: {}", show_duration(whole), self.cause)
    }
}

#[cfg(test)]
#[path = "passive_tests.rs"]
mod tests;
