//! Ejections as they outlast a process: with the moment at which they end, by the clock that a restart leaves alone.
//! Pure.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::World;
use crate::clock::Now;
use crate::health::{Cause, Inherited, Word};

/// The ejections in force: at most one a target.
pub(super) fn remember(world: &World, now: Now) -> Vec<Value> {
    let ejections = world.ejections(now.steady_ms);
    ejections
        .map(|(key, at_ms, ejection)| {
            json!({
                "target": &**key,
                "at_ms": at_ms,
                "until_ms": now.unix_ms.saturating_add(ms(ejection.left)),
                "cause": show_cause(ejection.cause),
                "length_ms": ms(ejection.length),
                "strikes": ejection.strikes,
            })
        })
        .collect()
}

/// Takes over an ejection that is not over and whose target there still is.
pub(super) fn restore(world: &mut World, ejection: &Value, now: Now) -> Option<()> {
    let number = |name: &str| ejection[name].as_u64();
    let left_ms = number("until_ms")?.saturating_sub(now.unix_ms);
    if left_ms == 0 {
        return None;
    }
    let inherited = Inherited {
        cause: read_cause(&ejection["cause"])?,
        length: Duration::from_millis(number("length_ms")?),
        left: Duration::from_millis(left_ms),
        strikes: u32::try_from(number("strikes")?).ok()?,
    };
    let key = ejection["target"].as_str()?.into();
    world.remember_ejection(&key, inherited, number("at_ms")?, now.steady_ms);
    Some(())
}

fn show_cause(cause: Cause) -> Value {
    match cause {
        Cause::InARow(failed) => json!(["in_a_row", failed]),
        Cause::Connections(failed) => json!(["connections", failed]),
        Cause::SuccessRate { good, of } => json!(["success_rate", good, of]),
        Cause::Word(Word::RetryAfter(asked)) => json!(["retry_after", ms(asked)]),
        Cause::Word(Word::Drain(asked)) => json!(["drain", ms(asked)]),
    }
}

fn read_cause(shown: &Value) -> Option<Cause> {
    let count = |at: usize| u32::try_from(shown[at].as_u64()?).ok();
    let asked = || Some(Duration::from_millis(shown[1].as_u64()?));
    Some(match shown[0].as_str()? {
        "in_a_row" => Cause::InARow(count(1)?),
        "connections" => Cause::Connections(count(1)?),
        "success_rate" => Cause::SuccessRate {
            good: count(1)?,
            of: count(2)?,
        },
        "retry_after" => Cause::Word(Word::RetryAfter(asked()?)),
        "drain" => Cause::Word(Word::Drain(asked()?)),
        _ => return None,
    })
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_is_read_as_it_was_written() {
        let asked = Duration::from_secs(9);
        for cause in [
            Cause::InARow(7),
            Cause::Connections(7),
            Cause::SuccessRate { good: 3, of: 20 },
            Cause::Word(Word::RetryAfter(asked)),
            Cause::Word(Word::Drain(asked)),
        ] {
            assert_eq!(read_cause(&show_cause(cause)), Some(cause));
        }
        assert_eq!(read_cause(&json!(["unheard of", 1])), None);
    }
}
