//! Whether a request goes on to another region after a try that came to nothing. Pure: `retry` and `forward` carry
//! it out, and so does the simulator.

use http::Method;

use crate::config::plan::{Access, Retries, RetryMethods, Service, Writes};

/// What became of a try without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Try {
    /// Nothing was sent.
    Unsent,
    /// The origin says that it has not looked at it (RFC 9113 §8.7).
    Refused,
    /// The same, because the connection ends on which it was sent.
    Left,
    /// Something was sent, and nobody knows what became of it.
    Lost,
    /// The same, and the origin takes nothing any more, or was found down meanwhile.
    Gone,
}

/// Where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Onward {
    /// To the next origin.
    Next,
    /// To the same origin on another connection.
    Anew,
    /// To the next region, since it counts as never sent.
    Elsewhere,
    /// To the next region, within attempts and budget.
    Again,
    /// To the next origin, within attempts.
    Past,
    /// Nowhere.
    Stop,
}

impl Try {
    /// `is_covered`: `retries.methods` allows it to be sent again. `is_whole`: all of it is there to be sent again.
    pub(crate) fn onward(self, is_covered: bool, is_whole: bool) -> Onward {
        match (self, is_covered, is_whole) {
            (Self::Unsent, _, _) => Onward::Next,
            (Self::Left, _, true) => Onward::Anew,
            (Self::Refused, _, true) => Onward::Elsewhere,
            (Self::Lost, true, true) => Onward::Again,
            // No load is added to it, so that a budget would save nobody.
            (Self::Gone, true, true) => Onward::Past,
            (Self::Left | Self::Refused | Self::Lost | Self::Gone, _, _) => Onward::Stop,
        }
    }
}

/// Whether such a request may be sent again after something of it was sent. What `intents` calls a
/// read is safe, and what they call a write is not, whatever its method.
pub(crate) fn may_be_repeated(retries: &Retries, method: &Method, access: Access) -> bool {
    match retries.methods {
        RetryMethods::None => false,
        RetryMethods::Safe => access == Access::Read,
        // RFC 9110 §9.2.2.
        RetryMethods::Idempotent => {
            access == Access::Read || matches!(*method, Method::PUT | Method::DELETE)
        }
    }
}

/// Whether that may be to another region: a write that has one region at a time may still be under way in the first.
pub(crate) fn covers(service: &Service, method: &Method, access: Access) -> bool {
    let has_one_region = access == Access::Write && service.writes != Writes::Nearest;
    !has_one_region && may_be_repeated(&service.retries, method, access)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_text;

    #[test]
    fn what_was_sent_goes_on_only_if_it_is_covered_and_whole() {
        for (is_covered, is_whole) in [(false, false), (false, true), (true, false), (true, true)] {
            let onward = |of: Try| of.onward(is_covered, is_whole);
            assert_eq!(onward(Try::Unsent), Onward::Next);
            let is_again = onward(Try::Lost) == Onward::Again;
            assert_eq!(is_again, is_covered && is_whole);
            assert_eq!(onward(Try::Gone) == Onward::Past, is_again);
            assert_eq!(onward(Try::Refused) == Onward::Elsewhere, is_whole);
            assert_eq!(onward(Try::Left) == Onward::Anew, is_whole);
        }
    }

    #[test]
    fn a_write_that_has_one_region_is_repeated_there_and_nowhere_else() {
        let service = |writes: &str| {
            let yaml = format!(
                "regions: {{ us: {{ origins: ['http://127.0.0.1:1'] }} }}
services: {{ api: {{ hosts: [api.example.com], retries: {{ methods: idempotent }}{writes} }} }}"
            );
            let plan = load_text("meridian.yaml", &yaml, &|_| None).unwrap().plan;
            plan.services.iter().next().unwrap().1.clone()
        };
        for (writes, elsewhere) in [("", true), (", writes: { to: { primary: us } }", false)] {
            let service = service(writes);
            for (method, access) in [(Method::PUT, Access::Write), (Method::GET, Access::Read)] {
                assert!(may_be_repeated(&service.retries, &method, access));
                let expected = elsewhere || access == Access::Read;
                assert_eq!(covers(&service, &method, access), expected, "{method}");
            }
            assert!(!may_be_repeated(
                &service.retries,
                &Method::POST,
                Access::Write
            ));
        }
    }
}
