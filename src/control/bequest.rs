//! What an edge hands on to the process that takes its place: all that [`store`](super::store) remembers, and
//! what is worth nothing after a pause: round trips and suspicions.

use serde_json::{Value, json};

use super::store::{remember, restore};
use super::world::World;
use crate::clock::Now;

/// What there is to hand on.
pub(super) fn bequeath(world: &World, now: Now) -> Value {
    let mut state = remember(world, now);
    let suspects: Vec<_> = world.suspects().collect();
    if let Some(state) = state.as_object_mut() {
        state.insert("round_trips".to_owned(), world.round_trips().collect());
        state.insert("order".to_owned(), json!(world.order()));
        state.insert("suspects".to_owned(), json!(suspects));
    }
    state
}

/// Takes over what was handed on; what the configuration no longer has is left out.
pub(super) fn inherit(world: &mut World, state: &Value, now: Now) {
    restore(world, state, now);
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
}
