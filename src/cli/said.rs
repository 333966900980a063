//! What operators have said of regions, and why a region is out, from a status.
#![expect(
    clippy::indexing_slicing,
    reason = "a JSON value indexed by a key it lacks gives null"
)]

use std::time::Duration;

use serde_json::Value;

use super::complain;
use crate::units::show_duration;

/// The drains and forced states in force, a line each.
pub(super) fn by_operators(status: &Value) -> String {
    let drains = list(&status["drains"]).iter().map(drain);
    let forced = list(&status["forced"]).iter().map(forced);
    drains.chain(forced).map(|line| line + "\n").collect()
}

/// Services for which no region is able, a line each, and what would help.
pub(super) fn outages(status: &Value) -> String {
    let services = list(&status["services"]).iter();
    let lost = services.filter_map(|service| Some((service, service["none_able"].as_str()?)));
    lost.map(|(service, what)| outage(status, text(&service["name"]), what) + "\n")
        .collect()
}

fn outage(status: &Value, service: &str, what: &str) -> String {
    let what = match what {
        "fails_open" => {
            "clients are sent to regions that are unhealthy all the same, and to drained ones only after those"
        }
        _ => "its clients get no answer (SERVFAIL, 503)",
    };
    let waits = |state: &Value| state["name"] == service && state["state"] == "draining";
    let drained = list(&status["regions"])
        .iter()
        .filter(|region| list(&region["services"]).iter().any(waits));
    let help = drained.map(|region| {
        let name = text(&region["name"]);
        format!("; {name} is healthy and drained: `meridian undrain {name}`")
    });
    let help: String = help.collect();
    format!("no region is able for service {service}: {what}{help}")
}

/// Why a region is out for a service, by the rule that dropped it; `None` where the status does not say.
pub(super) fn why(status: &Value, rule: &str, region: &str, service: &str) -> Option<String> {
    let concerns = |said: &&Value| {
        said["region"] == region && (said["service"].is_null() || said["service"] == service)
    };
    // What is said of the service itself counts before what is said of all.
    let find = |key: &str| {
        let all = || list(&status[key]).iter().filter(concerns);
        all()
            .find(|said| !said["service"].is_null())
            .or_else(|| all().next())
            .cloned()
    };
    match rule {
        "forced" => find("forced").as_ref().map(forced),
        "drain" => find("drains").as_ref().map(drain),
        "health" => failing(status, region, service),
        _ => None,
    }
}

fn failing(status: &Value, region: &str, service: &str) -> Option<String> {
    let named = |entries: &'_ Value, name: &str| {
        let entry = list(entries).iter().find(|entry| entry["name"] == name);
        entry.cloned()
    };
    let state = named(&named(&status["regions"], region)?["services"], service)?;
    let origins = list(&state["origins"]).iter();
    let told: Vec<String> = origins
        .filter(|origin| origin["state"] == "unhealthy")
        .map(|origin| format!("{}: {}", text(&origin["url"]), detail(origin)))
        .collect();
    let since = text(&state["since"]);
    (!told.is_empty()).then(|| {
        format!(
            "region {region} is unhealthy since {since}: {}",
            told.join("; ")
        )
    })
}

/// How a target is: its ejection, else its last check.
pub(super) fn detail(origin: &Value) -> String {
    let (last, ejected) = (&origin["last_check"], &origin["ejected"]);
    if !ejected.is_null() {
        let until = text(&ejected["until"]);
        format!("ejected until {until}: {}", text(&ejected["detail"]))
    } else if last.is_null() {
        "not checked yet".to_owned()
    } else {
        text(&last["detail"]).to_owned()
    }
}

/// What was taken back, and what was not.
pub(super) fn undone(answer: &Value, service: Option<&str>, undone: &str) -> String {
    let of = service.map_or(String::new(), |service| format!(" for service {service}"));
    let drained = still(answer, "still_drained");
    let forced = still(answer, "still_forced");
    let (undone, left) = match (drained, forced) {
        (Some(drained), _) => (undone, format!("; it is still drained for {drained}")),
        (None, Some(forced)) => (
            "is no longer forced",
            format!("; it is still forced for {forced}"),
        ),
        (None, None) => (undone, String::new()),
    };
    format!("region {} {undone}{of}{left}", text(&answer["region"]))
}

/// For whom a region still is what was undone for others.
fn still(answer: &Value, key: &str) -> Option<String> {
    let left = list(&answer[key]).iter();
    let left: Vec<String> = left
        .map(|service| match service.as_str() {
            Some(service) => format!("service {service}"),
            None => "all services".to_owned(),
        })
        .collect();
    (!left.is_empty()).then(|| left.join(" and "))
}

/// Warns whoever changed something that it would not outlive a restart of the edge.
pub(super) fn warn_if_unsaved(answer: &Value) {
    if let Some(why) = answer["unsaved"].as_str() {
        complain(&format!(
            "warning: it is in force, and would not outlive a restart: {why}"
        ));
    }
}

/// Over what time a drain is; at once: nothing.
pub(super) fn over(drain: &Value) -> String {
    match drain["over_ms"].as_u64() {
        None | Some(0) => String::new(),
        Some(ms) => format!(" over {}", show_duration(Duration::from_millis(ms))),
    }
}

/// A drain, as its answer and the status have it.
pub(super) fn drain(drain: &Value) -> String {
    let over = over(drain);
    format!(
        "region {} is drained{}{over}{}",
        text(&drain["region"]),
        of_service(drain),
        when_and_why(drain)
    )
}

/// A forced state, as its answer and the status have it.
pub(super) fn forced(forced: &Value) -> String {
    format!(
        "region {} is forced {}{}{}",
        text(&forced["region"]),
        text(&forced["state"]),
        of_service(forced),
        when_and_why(forced)
    )
}

fn of_service(said: &Value) -> String {
    let of = said["service"].as_str();
    of.map_or(String::new(), |service| format!(" for service {service}"))
}

fn when_and_why(said: &Value) -> String {
    let part = |key: &str, before: &str| {
        let value = said[key].as_str();
        value.map_or(String::new(), |value| format!("{before}{value}"))
    };
    // Who has just done it knows by whom; its answer has no `since`.
    let by = said["since"].is_string().then(|| part("by", " by "));
    [
        part("since", " since "),
        part("until", " until "),
        by.unwrap_or_default(),
        part("reason", ": "),
    ]
    .concat()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status() -> Value {
        let drain = json!({ "region": "a", "service": null, "since": "S", "until": "U", "over_ms": 600_000, "by": "alice", "reason": "new disks" });
        let forced = json!({ "region": "b", "service": "www", "state": "up", "since": "S", "until": null, "by": null, "reason": null });
        let origin = json!({ "url": "http://c", "state": "unhealthy", "ejected": null, "last_check": { "detail": "refused" } });
        let service = json!({ "name": "www", "since": "S", "origins": [origin] });
        json!({ "drains": [drain], "forced": [forced], "regions": [{ "name": "c", "services": [service] }] })
    }

    #[test]
    fn what_operators_said_is_told_with_its_end_and_its_reason() {
        assert_eq!(
            by_operators(&status()),
            "region a is drained over 10m since S until U by alice: new disks\nregion b is forced up for service www since S\n"
        );
    }

    #[test]
    fn what_was_undone_is_told_with_what_still_holds() {
        let told = |answer: Value, service| undone(&answer, service, "is undone");
        for (answer, service, expected) in [
            (
                json!({ "region": "a", "still_drained": [] }),
                None,
                "region a is undone",
            ),
            (
                json!({ "region": "a", "still_drained": [null] }),
                Some("www"),
                "region a is undone for service www; it is still drained for all services",
            ),
            (
                json!({ "region": "a", "still_forced": [] }),
                Some("www"),
                "region a is undone for service www",
            ),
            (
                json!({ "region": "a", "still_forced": ["www", null] }),
                Some("api"),
                "region a is no longer forced for service api; it is still forced for service www and all services",
            ),
        ] {
            assert_eq!(told(answer, service), expected);
        }
    }

    #[test]
    fn a_service_without_an_able_region_is_told_first_and_who_would_help() {
        let of = |service: &str, state: &str| json!([{ "name": service, "state": state }]);
        let status = json!({
            "services": [
                { "name": "www", "none_able": "fails_open" },
                { "name": "api", "none_able": "not_answered" },
                { "name": "shop", "none_able": null },
            ],
            "regions": [
                { "name": "a", "services": of("www", "unhealthy") },
                { "name": "b", "services": of("www", "draining") },
            ],
        });
        assert_eq!(
            outages(&status),
            "no region is able for service www: clients are sent to regions that are unhealthy all the same, and to \
             drained ones only after those; b is healthy and drained: `meridian undrain b`\n\
             no region is able for service api: its clients get no answer (SERVFAIL, 503)\n"
        );
    }

    #[test]
    fn why_a_region_is_out_is_what_was_said_of_it_or_what_its_checks_say() {
        let why = |rule, region, service| why(&status(), rule, region, service);
        let drained = "region a is drained over 10m since S until U by alice: new disks";
        assert_eq!(why("drain", "a", "api").as_deref(), Some(drained));
        assert_eq!(why("forced", "b", "api"), None, "said of another service");
        let refused = "region c is unhealthy since S: http://c: refused";
        assert_eq!(why("health", "c", "www").as_deref(), Some(refused));
        assert_eq!(why("policy", "c", "www"), None);
    }
}
