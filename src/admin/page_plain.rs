//! The status as a page without scripts shows it: what is wrong first, then tables.

use std::fmt::Write;

use serde_json::Value;

const NEWS: &str = "<p>The live page needs its scripts. This is how things were when it was loaded; \
    <a href=\"\">load it again</a> for news, or read <a href=\"api/v1/status\">api/v1/status</a>.</p>";

const REGIONS: &str = "<table><caption>Regions</caption><thead><tr><th scope=\"col\">Region</th>\
    <th scope=\"col\">Service</th><th scope=\"col\">State</th><th scope=\"col\">Since</th>\
    <th scope=\"col\">Last checks</th></tr></thead><tbody>";

const SAID: &str = "<table><caption>Drains and forced states</caption><thead><tr><th scope=\"col\">Region</th>\
    <th scope=\"col\">Service</th><th scope=\"col\">What</th><th scope=\"col\">Since</th>\
    <th scope=\"col\">Until</th><th scope=\"col\">Reason</th></tr></thead><tbody>";

const END: &str = "</tbody></table>";

/// For those who may not see the status without a token: a page without scripts cannot send one.
pub(super) const WITHOUT_TOKEN: &str = "<p>This edge shows how it is to bearers of a token alone, which a page without its scripts \
    cannot send. Ask with the command, <code>MERIDIAN_ADMIN_TOKEN=… meridian status --admin URL</code>, or with \
    <code>curl -H 'Authorization: Bearer …' URL/api/v1/status</code>; URL is the address of this page.</p>";

/// The status, as HTML.
pub(super) fn plain(status: &Value) -> String {
    let mut page = NEWS.to_owned();
    page.extend(alarms(status).map(|text| format!("<p class=\"alarm\">{text}</p>")));
    page.push_str(REGIONS);
    page.push_str(&regions(status));
    page.push_str(END);
    page.push_str(SAID);
    page.push_str(&said(status));
    page.push_str(END);
    page
}

/// What is wrong, the worst first, as HTML shows it.
fn alarms(status: &Value) -> impl Iterator<Item = String> {
    let trouble = items(status, "trouble").map(|line| escaped(line.as_str().unwrap_or_default()));
    let outages = items(status, "services").filter_map(|service| outage(status, service));
    let error = status.pointer("/config/error");
    let refused = error.filter(|error| !error.is_null()).map(refused);
    trouble.chain(outages).chain(refused)
}

fn outage(status: &Value, service: &Value) -> Option<String> {
    let what = match service.get("none_able")?.as_str()? {
        "fails_open" => "clients are sent to regions that are unhealthy or drained all the same",
        _ => "its clients get no answer",
    };
    let name = text(service, "name");
    let is_drained = |region: &&Value| {
        let mut services = items(region, "services");
        services.any(|of| of.get("name") == service.get("name") && text(of, "state") == "draining")
    };
    let drained = items(status, "regions").filter(is_drained);
    let drained: Vec<String> = drained.map(|region| text(region, "name")).collect();
    let help = match &*drained {
        [] => String::new(),
        drained => format!(" {}: healthy and drained.", drained.join(", ")),
    };
    Some(format!("No region is able for {name}: {what}.{help}"))
}

fn refused(error: &Value) -> String {
    let number = |key| error.get(key).and_then(Value::as_u64).unwrap_or_default();
    let place = match error.get("file").and_then(Value::as_str) {
        Some(file) => format!(
            "{}:{}:{}: ",
            escaped(file),
            number("line"),
            number("column")
        ),
        None => String::new(),
    };
    let message = text(error, "message");
    format!("The last reload was refused and nothing changed. {place}{message}")
}

fn regions(status: &Value) -> String {
    let mut rows = String::new();
    for region in items(status, "regions") {
        for service in items(region, "services") {
            let checks: Vec<String> = items(service, "origins").map(check).collect();
            let (state, since) = (text(service, "state"), text(service, "since"));
            let since = match &*state {
                "draining" => format!("{} since {since}", text(service, "health")),
                _ => since.to_string(),
            };
            let is_left_out = service.get("read_from") == Some(&Value::Bool(false));
            let reads = if is_left_out { ", not read from" } else { "" };
            // Writing to a string does not fail.
            let _ = write!(
                rows,
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}{reads}</td><td>{}</td><td>{}</td></tr>",
                text(region, "name"),
                text(service, "name"),
                state,
                since,
                checks.join("<br>"),
            );
        }
    }
    rows
}

fn check(origin: &Value) -> String {
    let last = origin.get("last_check").unwrap_or(&Value::Null);
    let ejected = origin.get("ejected").filter(|ejected| !ejected.is_null());
    let detail = match (ejected, last.get("detail")) {
        (Some(ejected), _) => format!(
            "ejected until {}: {}",
            text(ejected, "until"),
            text(ejected, "detail")
        ),
        (None, Some(_)) => text(last, "detail"),
        (None, None) => "not checked yet".to_owned(),
    };
    // Without the scheme: nothing here shall look as if it were to be fetched from elsewhere.
    let url = text(origin, "url");
    let place = url.split_once("://").map_or(&*url, |(_, place)| place);
    format!("{place}: {detail}")
}

/// Drains, then forced states.
fn said(status: &Value) -> String {
    let drains = items(status, "drains").map(|drain| row(drain, drained(status, drain)));
    let forced = items(status, "forced")
        .map(|forced| row(forced, format!("forced {}", text(forced, "state"))));
    let rows: String = drains.chain(forced).collect();
    if rows.is_empty() {
        "<tr><td colspan=\"6\">None.</td></tr>".to_owned()
    } else {
        rows
    }
}

/// With what a region still takes, while it leaves little by little.
fn drained(status: &Value, drain: &Value) -> String {
    let is_of = |of: &&Value| match drain.get("service").and_then(Value::as_str) {
        Some(service) => text(of, "name") == escaped(service),
        None => true,
    };
    let regions = items(status, "regions");
    let mut here = regions.filter(|region| region.get("name") == drain.get("region"));
    let services = here
        .next()
        .into_iter()
        .flat_map(|region| items(region, "services"));
    let shares = services
        .filter(is_of)
        .filter_map(|of| of.get("share")?.as_u64());
    match shares.max() {
        None | Some(0) => "drained".to_owned(),
        Some(share) => format!("leaving little by little: takes {share} % of new clients"),
    }
}

/// With who said so.
fn why(said: &Value) -> String {
    let told = |key| said.get(key).and_then(Value::as_str).map(escaped);
    let by = told("by").map(|by| format!("by {by}"));
    let parts: Vec<String> = told("reason").into_iter().chain(by).collect();
    parts.join(", ")
}

fn row(said: &Value, what: String) -> String {
    let or = |key, absent: &str| match said.get(key).and_then(Value::as_str) {
        Some(given) => escaped(given),
        None => absent.to_owned(),
    };
    format!(
        "<tr><th scope=\"row\">{}</th><td>{}</td><td>{what}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
        text(said, "region"),
        or("service", "all services"),
        text(said, "since"),
        or("until", "undone by hand"),
        why(said),
    )
}

fn items<'a>(of: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    let items = of.get(key).and_then(Value::as_array);
    items.into_iter().flatten()
}

/// A text as HTML shows it; a dash where there is none.
fn text(of: &Value, key: &str) -> String {
    escaped(of.get(key).and_then(Value::as_str).unwrap_or("–"))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_origins_say_is_text_and_never_markup() {
        let origin = json!({ "url": "http://a", "last_check": { "detail": "<script>\"&" } });
        let service =
            json!({ "name": "www", "state": "healthy", "since": null, "origins": [origin] });
        let status = json!({ "regions": [{ "name": "<b>", "services": [service] }] });
        let rows = regions(&status);
        assert!(rows.contains("<td>a: &lt;script&gt;&quot;&amp;"), "{rows}");
        assert!(
            rows.contains("&lt;b&gt;") && !rows.contains("<b>"),
            "{rows}"
        );
    }

    #[test]
    fn what_operators_say_is_text_and_never_markup() {
        let drain = json!({ "region": "<b>", "service": null, "since": "now", "until": null, "reason": "<i>" });
        let page = plain(&json!({ "drains": [drain], "trouble": ["<u>"] }));
        for markup in ["<b>", "<i>", "<u>"] {
            assert!(!page.contains(markup), "{page}");
        }
        assert!(
            page.contains(
                "<td>all services</td><td>drained</td><td>now</td><td>undone by hand</td><td>&lt;i&gt;</td>"
            ),
            "{page}"
        );
    }

    #[test]
    fn why_a_region_is_out_is_told_with_how_far_it_has_left_and_by_whom() {
        let ejected = json!({ "until": "U", "detail": "7 of 10 failed" });
        let origin =
            json!({ "url": "http://a", "last_check": { "detail": "ok" }, "ejected": ejected });
        assert_eq!(check(&origin), "a: ejected until U: 7 of 10 failed");
        let service = |name, share| json!({ "name": name, "state": "draining", "share": share });
        let drain = |service: Value| json!({ "region": "eu", "service": service, "since": "S", "until": null, "by": "alice", "reason": "disks" });
        let status = json!({
            "services": [{ "name": "www", "none_able": "fails_open" }],
            "regions": [{ "name": "eu", "services": [service("www", 0), service("api", 40)] }],
            "drains": [drain(json!("api")), drain(json!("www"))],
        });
        let rows = said(&status);
        assert!(
            rows.contains("<td>leaving little by little: takes 40 % of new clients</td>"),
            "{rows}"
        );
        assert!(
            rows.contains("<td>drained</td>") && rows.contains("<td>disks, by alice</td>"),
            "{rows}"
        );
        let alarm = alarms(&status).next().unwrap();
        assert!(alarm.ends_with(" eu: healthy and drained."), "{alarm}");
    }

    #[test]
    fn a_region_that_is_not_read_from_is_said_to_be() {
        let service = json!({ "name": "www", "state": "healthy", "read_from": false });
        let rows = regions(&json!({ "regions": [{ "name": "eu", "services": [service] }] }));
        assert!(rows.contains("<td>healthy, not read from</td>"), "{rows}");
    }

    #[test]
    fn what_is_wrong_is_told_before_how_regions_are() {
        let status = json!({
            "trouble": ["the audit log cannot be written"],
            "services": [{ "name": "www", "none_able": "fails_open" }, { "name": "api", "none_able": null }],
            "config": { "error": { "file": "edge.yaml", "line": 3, "column": 5, "message": "unknown key" } },
        });
        let told: Vec<String> = alarms(&status).collect();
        assert_eq!(
            told,
            [
                "the audit log cannot be written",
                "No region is able for www: clients are sent to regions that are unhealthy or drained all the same.",
                "The last reload was refused and nothing changed. edge.yaml:3:5: unknown key",
            ]
        );
        let page = plain(&status);
        assert!(page.find("audit log") < page.find("Regions"), "{page}");
    }
}
