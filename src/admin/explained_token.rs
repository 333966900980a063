//! What an explanation says of the tokens that a request carries: what each asks for, or why it counts for nothing.

use std::fmt;

use serde_json::{Value, json};

use crate::config::plan::{Plan, Service, VersionForm};
use crate::positions::{Applied, Flaw, Keyring, Now, Pin, Sessions, Token, Visit};
use crate::steering::Snapshot;

/// Where a token was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// The question's own parameter.
    Parameter,
    /// `Meridian-Token`.
    Header,
    /// The cookie.
    Cookie,
}

/// What is told of one token.
#[derive(Clone, Debug)]
pub struct ToldToken {
    carrier: Carrier,
    verdict: Verdict,
}

#[derive(Clone, Debug)]
enum Verdict {
    /// It counts, and asks for this.
    Counts {
        /// What must be seen, as positions are written.
        requires: String,
        /// What every region has, so that it need not be asked for.
        retired: String,
        /// What no region has any more.
        lost: String,
        pin: Option<Pin>,
        pinned_secs: u32,
        expires_secs: u32,
        /// What must be seen by what this edge remembers of its session, if that is something else.
        remembered: Option<String>,
    },
    /// It counts as absent.
    Absent(Flaw),
    /// Nobody looks at it.
    Unread,
}

/// Who reads a question's tokens.
pub(super) struct Examiner<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) service: &'a Service,
    pub(super) reader: TokenReader<'a>,
    pub(super) now: Now,
}

/// What tells which tokens are genuine, and what their sessions were issued.
#[derive(Clone, Copy)]
pub struct TokenReader<'a> {
    /// The keys in force.
    pub keyring: &'a Keyring,
    /// A running edge's memory; none: there is no edge.
    pub sessions: Option<&'a Sessions>,
}

impl Examiner<'_> {
    /// What a text is worth as a token of the service's domain, and the token if it counts.
    pub(super) fn examine(&self, carrier: Carrier, text: &str) -> (ToldToken, Option<Token>) {
        let (verdict, token) = match self.open(text) {
            None => (Verdict::Unread, None),
            Some(Err(flaw)) => (Verdict::Absent(flaw), None),
            Some(Ok((token, form, applied))) => (self.counts(&token, form, applied), Some(token)),
        };
        (ToldToken { carrier, verdict }, token)
    }

    /// What a read with these tokens must see by now, and by what this edge remembers; none: it has no token.
    pub(super) fn needed(&self, tokens: Vec<Token>) -> Option<Token> {
        let consistency = self.service.consistency.as_ref()?;
        let applied = self.snapshot.positions.of(consistency.domain);
        (!tokens.is_empty()).then(|| self.remembering(tokens, applied))
    }

    fn remembering(&self, tokens: Vec<Token>, applied: &Applied) -> Token {
        let nothing = Sessions::default();
        let sessions = self.reader.sessions.unwrap_or(&nothing);
        let mut visit = Visit::begin(tokens, sessions, applied, self.now);
        visit.sift(applied);
        visit.token().clone()
    }

    fn open(&self, text: &str) -> Option<Result<(Token, VersionForm, &Applied), Flaw>> {
        let plan: &Plan = &self.snapshot.plan;
        let id = self.service.consistency.as_ref()?.domain;
        let domain = plan.domains.of(id);
        let others = plan.domains.iter().map(|(_, other)| &*other.name);
        let examined = Token::examine(
            text,
            self.reader.keyring,
            &domain.name,
            others,
            self.now.unix_secs,
        );
        let applied = &**self.snapshot.positions.of(id);
        Some(examined.map(|token| (token, domain.version, applied)))
    }

    fn counts(&self, token: &Token, form: VersionForm, applied: &Applied) -> Verdict {
        let sifted = applied.sift(&token.vector);
        let secs_until = |secs: u32| secs.saturating_sub(self.now.unix_secs);
        let pin = token.pin.clone().filter(|pin| secs_until(pin.until) > 0);
        let by_memory = self.remembering(vec![token.clone()], applied);
        let is_remembered = (&by_memory.vector, &by_memory.pin) != (&sifted.needed, &pin);
        Verdict::Counts {
            remembered: is_remembered.then(|| show(&by_memory, form)),
            requires: sifted.needed.show(form),
            retired: sifted.retired.show(form),
            lost: sifted.lost.show(form),
            pinned_secs: pin.as_ref().map_or(0, |pin| secs_until(pin.until)),
            pin,
            expires_secs: token.lasts_secs(self.now.unix_secs),
        }
    }
}

impl ToldToken {
    /// Why it counts as absent.
    pub(super) fn flaw(&self) -> Option<&Flaw> {
        match &self.verdict {
            Verdict::Absent(flaw) => Some(flaw),
            Verdict::Counts { .. } | Verdict::Unread => None,
        }
    }

    /// As the API has it.
    pub(super) fn to_json(&self) -> Value {
        let (requires, pin, expires_secs, remembered) = match &self.verdict {
            Verdict::Counts {
                requires,
                pin,
                expires_secs,
                remembered,
                ..
            } => (
                Some(requires),
                pin.as_ref(),
                Some(expires_secs),
                remembered.as_ref(),
            ),
            Verdict::Absent(_) | Verdict::Unread => (None, None, None, None),
        };
        json!({
            "carrier": self.carrier.as_str(),
            "counts": requires.is_some(),
            "says": self.verdict.to_string(),
            "requires": requires,
            "pin": pin.map(|pin| &*pin.region),
            "expires_in_s": expires_secs,
            "remembered": remembered,
        })
    }
}

/// What a token asks for, in few words.
fn show(token: &Token, form: VersionForm) -> String {
    let vector = if token.vector.is_empty() {
        "no position".to_owned()
    } else {
        token.vector.show(form)
    };
    match &token.pin {
        Some(pin) => format!("{vector} and a pin to {}", pin.region),
        None => vector,
    }
}

impl fmt::Display for ToldToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}) {}", self.carrier.as_str(), self.verdict)
    }
}

impl Carrier {
    fn as_str(self) -> &'static str {
        match self {
            Self::Parameter => "token",
            Self::Header => "header",
            Self::Cookie => "cookie",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (requires, retired, lost, pin, pinned_secs, expires_secs, remembered) = match self {
            Self::Absent(flaw) => return write!(f, "counts as absent: {flaw}"),
            Self::Unread => {
                return f.write_str(
                    "is not looked at: the service has no `consistency: { read_your_writes: true }`",
                );
            }
            Self::Counts {
                requires,
                retired,
                lost,
                pin,
                pinned_secs,
                expires_secs,
                remembered,
            } => (
                requires,
                retired,
                lost,
                pin,
                pinned_secs,
                expires_secs,
                remembered,
            ),
        };
        match requires.as_str() {
            "" => f.write_str("asks for no position")?,
            requires => write!(f, "asks for {requires}")?,
        }
        if let Some(pin) = pin {
            write!(f, "; is pinned to {} for {pinned_secs} s", pin.region)?;
        }
        if !retired.is_empty() {
            write!(f, "; {retired} is everywhere")?;
        }
        if !lost.is_empty() {
            write!(f, "; {lost} is lost")?;
        }
        write!(f, "; expires in {expires_secs} s")?;
        match remembered {
            Some(remembered) => write!(
                f,
                "; by what this edge remembers of its session, the decision is that of {remembered}"
            ),
            None => Ok(()),
        }
    }
}
