//! Changes as JSON, between regions. Pure. What does not read is no change of a lab's.

use std::collections::BTreeSet;
use std::sync::Arc;

use litemap::LiteMap;
use serde_json::{Value, json};

use super::causal::{Actor, Causal, Dot, Dots, Payload};
use super::counter::{Counter, GCounter};
use super::delta::{Change, Delta};
use super::hlc::Moment;
use super::log::Entry;
use super::position::Position;
use super::register::{Stamp, Version};

impl Entry {
    pub(super) fn to_json(&self) -> Value {
        json!({ "at": self.position.to_json(), "change": self.change.to_json() })
    }

    pub(super) fn from_json(entry: &Value) -> Option<Self> {
        Some(Self {
            position: Position::from_json(entry.get("at")?)?,
            change: Change::from_json(entry.get("change")?)?,
        })
    }
}

impl Change {
    pub(super) fn to_json(&self) -> Value {
        let (kind, state) = match &self.delta {
            Delta::Register(register) => ("register", causal_to_json(register, version_to_json)),
            Delta::Counter(counter) => ("counter", counter_to_json(counter)),
            Delta::Set(set) => ("set", causal_to_json(set, |member| json!(&**member))),
        };
        json!({ "key": &*self.key, kind: state })
    }

    pub(super) fn from_json(change: &Value) -> Option<Self> {
        let of_kind = |kind: &str| change.get(kind);
        let delta = if let Some(register) = of_kind("register") {
            Delta::Register(causal_from_json(register, version_from_json)?)
        } else if let Some(counter) = of_kind("counter") {
            Delta::Counter(counter_from_json(counter)?)
        } else {
            Delta::Set(causal_from_json(of_kind("set")?, text)?)
        };
        Some(Self {
            key: text(change.get("key")?)?,
            delta,
        })
    }
}

fn text(value: &Value) -> Option<Arc<str>> {
    value.as_str().map(Into::into)
}

/// An actor and one of its numbers.
fn dot_to_json(actor: &Actor, number: u64) -> Value {
    json!([actor.region.as_str(), actor.epoch, number])
}

fn dot_from_json(dot: &Value) -> Option<Dot> {
    let [region, epoch, number] = dot.as_array()?.as_slice() else {
        return None;
    };
    let actor = Actor {
        region: region.as_str()?.parse().ok()?,
        epoch: epoch.as_u64()?,
    };
    let number = number.as_u64()?;
    Some(Dot { actor, number })
}

fn dots_to_json(dots: &Dots) -> Value {
    let upto = dots.upto.iter();
    let upto: Vec<_> = upto
        .map(|(actor, number)| dot_to_json(actor, *number))
        .collect();
    let beyond = dots.beyond.iter();
    let beyond: Vec<_> = beyond
        .map(|dot| dot_to_json(&dot.actor, dot.number))
        .collect();
    json!({ "upto": upto, "beyond": beyond })
}

fn dots_from_json(dots: &Value) -> Option<Dots> {
    let upto = dots.get("upto")?.as_array()?.iter().map(dot_from_json);
    let upto = upto.map(|dot| dot.map(|dot| (dot.actor, dot.number)));
    let beyond = dots.get("beyond")?.as_array()?.iter().map(dot_from_json);
    let mut read = Dots {
        upto: upto.collect::<Option<LiteMap<_, _>>>()?,
        beyond: BTreeSet::new(),
    };
    // One by one, because a set of dots has one form whatever was sent.
    beyond
        .collect::<Option<Vec<_>>>()?
        .into_iter()
        .for_each(|dot| read.insert(dot));
    Some(read)
}

fn causal_to_json<T: Payload>(state: &Causal<T>, payload: impl Fn(&T) -> Value) -> Value {
    let present = state.present.iter();
    let present: Vec<_> = present
        .map(|(dot, held)| json!([dot_to_json(&dot.actor, dot.number), payload(held)]))
        .collect();
    json!({ "present": present, "seen": dots_to_json(&state.seen) })
}

fn causal_from_json<T: Payload>(
    state: &Value,
    payload: impl Fn(&Value) -> Option<T>,
) -> Option<Causal<T>> {
    let version = |version: &Value| match version.as_array()?.as_slice() {
        [dot, held] => Some((dot_from_json(dot)?, payload(held)?)),
        _ => None,
    };
    let present = state.get("present")?.as_array()?.iter().map(version);
    let present = present.collect::<Option<LiteMap<_, _>>>()?;
    let mut seen = dots_from_json(state.get("seen")?)?;
    // A version that is present has been seen, whatever was sent.
    present.keys().for_each(|dot| seen.insert(dot.clone()));
    Some(Causal { present, seen })
}

fn version_to_json(version: &Version) -> Value {
    let Stamp { moment, region } = &version.stamp;
    json!({
        "moment": [moment.unix_ms, moment.count], "by": region.as_str(),
        "at": version.position.to_json(), "value": version.value.as_deref(),
    })
}

fn version_from_json(version: &Value) -> Option<Version> {
    let [unix_ms, count] = version.get("moment")?.as_array()?.as_slice() else {
        return None;
    };
    let moment = Moment {
        unix_ms: unix_ms.as_u64()?,
        count: count.as_u64()?.try_into().ok()?,
    };
    let value = version.get("value")?;
    let value = if value.is_null() {
        None
    } else {
        Some(text(value)?)
    };
    Some(Version {
        stamp: Stamp {
            moment,
            region: version.get("by")?.as_str()?.parse().ok()?,
        },
        position: Position::from_json(version.get("at")?)?,
        value,
    })
}

fn counter_to_json(counter: &Counter) -> Value {
    let totals = |totals: &GCounter| {
        let totals = totals.0.iter();
        totals
            .map(|(actor, total)| dot_to_json(actor, *total))
            .collect::<Vec<_>>()
    };
    json!({ "added": totals(&counter.added), "taken": totals(&counter.taken) })
}

fn counter_from_json(counter: &Value) -> Option<Counter> {
    let totals = |totals: &Value| {
        let totals = totals.as_array()?.iter().map(dot_from_json);
        let totals = totals.map(|dot| dot.map(|dot| (dot.actor, dot.number)));
        totals.collect::<Option<LiteMap<_, _>>>().map(GCounter)
    };
    Some(Counter {
        added: totals(counter.get("added")?)?,
        taken: totals(counter.get("taken")?)?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::causal::tests::{any_causal, any_dot};
    use super::*;

    fn delta() -> impl Strategy<Value = Delta> {
        let totals = || prop::collection::vec(any_dot(), 0..4);
        let totals = move || {
            totals().prop_map(|dots| {
                GCounter(
                    dots.into_iter()
                        .map(|dot| (dot.actor, dot.number))
                        .collect(),
                )
            })
        };
        let version = (any::<(u64, u32)>(), prop::option::of(".*"));
        let version = version.prop_map(|((unix_ms, count), value)| Version {
            stamp: Stamp {
                moment: Moment { unix_ms, count },
                region: "us".parse().unwrap(),
            },
            position: Position { epoch: 1, seq: 2 },
            value: value.map(Into::into),
        });
        let member = ".*".prop_map(|member| Arc::from(member.as_str()));
        prop_oneof![
            any_causal(version).prop_map(Delta::Register),
            any_causal(member).prop_map(Delta::Set),
            (totals(), totals())
                .prop_map(|(added, taken)| Delta::Counter(Counter { added, taken })),
        ]
    }

    proptest! {
        #[test]
        fn a_change_arrives_as_it_left(key in ".*", delta in delta(), epoch in 0..3u64, seq in any::<u64>()) {
            let change = Change { key: key.into(), delta };
            let entry = Entry { position: Position { epoch, seq }, change };
            let text = entry.to_json().to_string();
            let read = Entry::from_json(&serde_json::from_str(&text).unwrap());
            prop_assert_eq!(read, Some(entry));
        }
    }

    #[test]
    fn what_is_no_change_is_refused() {
        for wrong in [
            json!(null),
            json!({ "key": "k" }),
            json!({ "key": "k", "register": { "present": [], "seen": {} } }),
            json!({ "key": "k", "counter": { "added": [["us", 0]], "taken": [] } }),
            json!({ "key": 1, "set": { "present": [], "seen": { "upto": [], "beyond": [] } } }),
        ] {
            assert_eq!(Change::from_json(&wrong), None, "{wrong}");
        }
    }
}
