//! What an edge hands on to the process that takes its place: all that [`store`](super::store) remembers, and
//! what is worth nothing after a pause: round trips, ejections, suspicions.

use std::time::Duration;

use serde_json::{Value, json};

use super::store::{remember, restore};
use super::world::World;
use crate::health::{Cause, Inherited, Word};

/// What there is to hand on.
pub(super) fn bequeath(world: &World, steady_ms: u64) -> Value {
    let mut state = remember(world);
    let ejections: Vec<Value> = world
        .ejections(steady_ms)
        .map(|(key, at_ms, ejection)| {
            json!({
                "target": &**key,
                "at_ms": at_ms,
                "cause": show_cause(ejection.cause),
                "length_ms": ms(ejection.length),
                "left_ms": ms(ejection.left),
                "strikes": ejection.strikes,
            })
        })
        .collect();
    let suspects: Vec<_> = world.suspects().collect();
    if let Some(state) = state.as_object_mut() {
        state.insert("round_trips".to_owned(), world.round_trips().collect());
        state.insert("order".to_owned(), json!(world.order()));
        state.insert("suspects".to_owned(), json!(suspects));
        state.insert("ejections".to_owned(), Value::from(ejections));
    }
    state
}

/// Takes over what was handed on; what the configuration no longer has is left out.
pub(super) fn inherit(world: &mut World, state: &Value, now_ms: u64, steady_ms: u64) {
    restore(world, state, now_ms);
    for (region, ms) in state["round_trips"].as_object().into_iter().flatten() {
        if let Some(ms) = ms.as_f64() {
            world.remember_round_trip(region, ms);
        }
    }
    let order = state["order"].as_array().into_iter().flatten();
    world.remember_order(order.filter_map(Value::as_str));
    for suspect in state["suspects"].as_array().into_iter().flatten() {
        if let (Some(region), Some(until_ms)) = (suspect[0].as_str(), suspect[1].as_u64()) {
            world.remember_suspect(region, until_ms);
        }
    }
    for ejection in state["ejections"].as_array().into_iter().flatten() {
        let _ = inherit_ejection(world, ejection, steady_ms);
    }
}

fn inherit_ejection(world: &mut World, ejection: &Value, steady_ms: u64) -> Option<()> {
    let number = |name: &str| ejection[name].as_u64();
    let inherited = Inherited {
        cause: read_cause(&ejection["cause"])?,
        length: Duration::from_millis(number("length_ms")?),
        left: Duration::from_millis(number("left_ms")?),
        strikes: u32::try_from(number("strikes")?).ok()?,
    };
    let key = ejection["target"].as_str()?.into();
    world.remember_ejection(&key, inherited, number("at_ms")?, steady_ms);
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
