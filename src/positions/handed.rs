//! What sessions were issued, for the process that takes this one's place: a client whose last answer was lost has no less of its
//! writes for an upgrade.

use serde_json::{Value, json};

use super::session::Sessions;
use super::token::{Pin, Token};
use super::vector::{Vector, parse_vector};
use crate::config::plan::VersionForm;

/// The most bytes that are handed on, of the sessions that wrote last; all fits that is commonly remembered.
const MOST_BYTES: usize = 16 << 20;

impl Sessions {
    /// Whatever is remembered, with how long ago it was.
    pub fn bequeath(&self, now_ms: u64) -> Value {
        let mut known = self.all(now_ms);
        known.sort_unstable_by_key(|(_, ago_ms, ..)| *ago_ms);
        let mut bytes = 0;
        let told = known.into_iter().map(|(session, ago_ms, issued, told)| {
            let pin = issued.pin.as_ref();
            let pin = pin.map(|pin| json!([&*pin.region, pin.until, pin.turn]));
            let (vector, told) = (issued.vector.to_string(), told.to_string());
            json!([
                session,
                ago_ms,
                issued.expires,
                vector,
                pin,
                issued.lost,
                told
            ])
        });
        let fits = told.take_while(|session| {
            bytes += session.to_string().len();
            bytes <= MOST_BYTES
        });
        let mut fits: Vec<Value> = fits.collect();
        // In the order in which they are to be forgotten.
        fits.reverse();
        fits.into()
    }

    /// Remembers what the process before did.
    pub fn inherit(&self, bequest: &Value, now_ms: u64) {
        self.begin_blind(now_ms);
        for session in bequest.as_array().into_iter().flatten() {
            let Some((ago_ms, token, told)) = read(session) else {
                continue;
            };
            let at_ms = now_ms.saturating_sub(ago_ms);
            if !told.is_empty() {
                self.tell_lost(token.session, &told, &Vector::default(), at_ms);
            }
            self.issue(token.session, &token, at_ms);
        }
    }
}

fn read(session: &Value) -> Option<(u64, Token, Vector)> {
    let vector = |at: usize| parse_vector(session[at].as_str()?, VersionForm::Integer).ok();
    let seconds = |value: &Value| u32::try_from(value.as_u64()?).ok();
    let pin = |pin: &Value| {
        Some(Pin {
            region: pin[0].as_str()?.into(),
            until: seconds(&pin[1])?,
            // An edge before this one told none.
            turn: pin[2]
                .as_u64()
                .map_or(Some(0), |turn| u8::try_from(turn).ok())?,
        })
    };
    let token = Token {
        session: session[0].as_u64()?,
        expires: seconds(&session[2])?,
        vector: vector(3)?,
        pin: pin(&session[4]),
        lost: session[5].as_bool()?,
    };
    Some((session[1].as_u64()?, token, vector(6)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::positions::Carriers;
    use crate::positions::fixtures::vector;

    fn token(session: u64, text: &str, pin: Option<Pin>) -> Token {
        Token {
            session,
            expires: 1_000,
            vector: vector(text),
            pin,
            lost: session.is_multiple_of(2),
        }
    }

    #[test]
    fn the_process_after_remembers_what_this_one_did_for_as_long_as_it_would_have() {
        let before = Sessions::default();
        let pin = Pin {
            region: "eu".into(),
            until: 77,
            turn: 3,
        };
        let tokens = [
            token(7, "eu=4:12@3:977,us=5", None),
            token(8, "", Some(pin)),
        ];
        for (token, at_ms) in tokens.iter().zip([50_000, 90_000]) {
            before.issue(token.session, token, at_ms);
        }
        before.issue(9, &token(9, "us=1", None), 1_000);
        before.tell_lost(7, &vector("us=9"), &vector("us=5"), 50_000);
        let after = Sessions::default();
        after.inherit(&before.bequeath(100_000), 200_000);
        for (session, from_ms) in [(7, 210_000), (8, 250_000)] {
            let was = before.recall(session, 100_000);
            let is = after.recall(session, 200_000);
            assert_eq!((is.issued, is.told), (was.issued, was.told));
            assert!(after.recall(session, from_ms).issued.is_some());
            assert!(after.recall(session, from_ms + 1).issued.is_none());
        }
        assert!(after.recall(9, 200_000).issued.is_none(), "it was over");
        let from = Carriers {
            cookie: true,
            header: false,
        };
        let may_shrink = |now_ms| {
            let glance = after.recall(7, now_ms).glance;
            assert!(after.may_shrink(7, glance));
            !after.is_around_take_back(7, from, glance, now_ms)
        };
        assert!(
            !may_shrink(201_999),
            "its token may have been taken back before"
        );
        assert!(may_shrink(202_000));
    }

    #[test]
    fn of_more_than_is_handed_on_those_that_wrote_last_are() {
        let before = Sessions::default();
        let many: Vec<String> = (0..16)
            .map(|at| format!("{at:0>63}=18446744073709551615"))
            .collect();
        let wide = token(1, &many.join(","), None);
        for session in 0..20_000 {
            before.issue(session, &wide, session);
        }
        let handed = before.bequeath(20_000);
        let handed = handed.as_array().unwrap();
        assert!(handed.len() < 20_000);
        assert_eq!(handed.last().unwrap()[0], 19_999);
    }
}
