//! Events in the state file: what was told is still there after a restart, when somebody asks what happened.

use serde_json::{Value, json};

use super::events::{Event, EventLog, Gravity, Kind};

/// Adds what is kept to a state.
pub(super) fn remember(state: &mut Value, events: &EventLog) {
    let (kept, _) = events.follow(0);
    if let Some(state) = state.as_object_mut() {
        state.insert("events".to_owned(), kept.iter().map(written).collect());
    }
}

/// Takes over what an earlier process told; what is no event is left out.
pub(super) fn restore(events: &EventLog, state: &Value) {
    let told = state["events"].as_array().into_iter().flatten();
    events.resume(told.filter_map(read).collect());
}

fn written(event: &Event) -> Value {
    json!({ "id": event.id, "at_ms": event.at_ms, "kind": event.kind.as_str(), "region": event.region, "service": event.service,
        "message": event.message, "is_warning": event.gravity == Gravity::Warning, "is_refusal": event.is_refusal })
}

fn read(event: &Value) -> Option<Event> {
    let name = |key: &str| event[key].as_str().map(str::to_owned);
    let is = |key: &str| event[key].as_bool().unwrap_or_default();
    let gravity = if is("is_warning") {
        Gravity::Warning
    } else {
        Gravity::Note
    };
    Some(Event {
        id: event["id"].as_u64()?,
        at_ms: event["at_ms"].as_u64()?,
        kind: Kind::named(event["kind"].as_str()?)?,
        region: name("region"),
        service: name("service"),
        message: name("message")?,
        gravity,
        is_refusal: is("is_refusal"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: Kind, message: &str) -> Event {
        let region = Some("eu".to_owned());
        Event {
            region,
            ..Event::new(kind, 7, message.to_owned())
        }
    }

    #[test]
    fn what_was_told_before_a_restart_is_told_after_it_and_its_numbers_grow_on() {
        let before = EventLog::new(1_000);
        for kind in Kind::ALL {
            before.record(event(kind, "of before").warning_if(kind == Kind::Health));
        }
        before.record(event(Kind::Audit, "refused").refusal());
        let (told, _) = before.follow(0);
        // The second clock was set back meanwhile.
        for began_ms in [2_000, 500] {
            let after = EventLog::new(began_ms);
            let mut state = json!({});
            remember(&mut state, &before);
            restore(&after, &state);
            assert_eq!(after.follow(0).0, told);
            after.record(event(Kind::Reload, "of after"));
            let last = told.last().unwrap().id;
            let (news, _) = after.follow(last);
            assert_eq!(news.len(), 1, "who has seen the rest hears this alone");
            assert!(
                news[0].id > last + 1_000,
                "what was not saved had numbers too"
            );
        }
    }

    #[test]
    fn what_is_no_event_is_left_out() {
        let event = json!({ "id": 5, "at_ms": 7, "kind": "drain", "message": "drained" });
        let without = |key: &str| {
            let mut event = event.clone();
            event.as_object_mut().unwrap().remove(key);
            event
        };
        let mut told: Vec<_> = ["id", "at_ms", "kind", "message"].map(without).into();
        told.extend([
            Value::Null,
            json!(7),
            json!({ "kind": "of a later version" }),
        ]);
        for nothing in [json!({ "events": told }), json!({}), Value::Null] {
            let log = EventLog::new(1);
            restore(&log, &nothing);
            assert_eq!(log.follow(0).0, []);
        }
        let log = EventLog::new(1);
        restore(&log, &json!({ "events": [event] }));
        assert_eq!(log.follow(0).0.len(), 1);
    }

    #[test]
    fn no_more_is_taken_over_than_is_kept_and_numbers_end_at_the_last_there_is() {
        let log = EventLog::new(1);
        let event =
            |id: u64| json!({ "id": id, "at_ms": 7, "kind": "drain", "message": "drained" });
        restore(
            &log,
            &json!({ "events": (1..=3_000).map(event).collect::<Vec<_>>() }),
        );
        let (kept, _) = log.follow(0);
        assert_eq!((kept.len(), kept[0].id), (1_024, 1_977));
        let log = EventLog::new(1);
        restore(&log, &json!({ "events": [event(u64::MAX)] }));
        log.record(Event::new(Kind::Drain, 8, "drained".to_owned()));
        assert_eq!(log.follow(0).0.len(), 2);
    }
}
