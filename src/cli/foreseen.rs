//! What a dry run shows, in words.
#![expect(
    clippy::indexing_slicing,
    reason = "a JSON value indexed by a key it lacks gives null"
)]

use serde_json::Value;

use super::said;

/// The answer to a dry run of a drain, for people.
pub(super) fn show(answer: &Value) -> String {
    let verdict = if answer["refused"] == true {
        "would be refused (--force does it anyway)".to_owned()
    } else {
        format!(
            "would be done{}; nothing is changed yet",
            said::over(answer)
        )
    };
    let seconds = answer["measured_over_ms"].as_u64().unwrap_or(0) / 1_000;
    let mut out = format!(
        "the drain of region {} {verdict}\n",
        text(&answer["region"])
    );
    for service in list(&answer["services"]) {
        out.push_str(&of_service(service, seconds));
    }
    out
}

fn of_service(service: &Value, seconds: u64) -> String {
    let clients = &service["clients"];
    let left: Vec<&str> = list(&service["left"]).iter().map(text).collect();
    let mut out = format!(
        "{}\n  clients  {} % of IPv4 and {} % of IPv6 {} would move\n",
        text(&service["service"]),
        clients["ipv4_percent"],
        clients["ipv6_percent"],
        text(&clients["of"])
    );
    for to in list(&clients["to"]) {
        let (v4, v6) = (&to["ipv4_percent"], &to["ipv6_percent"]);
        out.push_str(&format!(
            "    to {:20} {v4} % of IPv4, {v6} % of IPv6\n",
            place(to)
        ));
    }
    let stays = &clients["stays"];
    if stays["ipv4_percent"] != 0.0 || stays["ipv6_percent"] != 0.0 {
        out.push_str(&format!(
            "    stay {} % of IPv4, {} % of IPv6: no other region is able to take them\n",
            stays["ipv4_percent"], stays["ipv6_percent"]
        ));
    }
    for (face, what) in [("dns", "answers"), ("http", "requests")] {
        let (moved, all) = (&service[face]["move"], &service[face][what]);
        let to = list(&service[face]["to"]).iter();
        let to: Vec<String> = to
            .map(|to| format!("about {} to {}", to["estimate"], place(to)))
            .collect();
        let to = if to.is_empty() {
            String::new()
        } else {
            format!(": {}", to.join(", "))
        };
        out.push_str(&format!(
            "  {face:8} {moved} of {all} {what} in {seconds} s would move{to}\n"
        ));
    }
    let enough = if service["refused"] == true {
        "too few"
    } else {
        "enough"
    };
    let left = if left.is_empty() {
        "none".to_owned()
    } else {
        left.join(", ")
    };
    out.push_str(&format!(
        "  left     {left}: {enough} for guards.min_regions {}\n",
        service["min_regions"]
    ));
    if list(&service["left"]).is_empty() && !list(&clients["to"]).is_empty() {
        out.push_str(
            "           whoever moves goes to regions that are unhealthy, drained or leaving\n",
        );
    }
    out
}

fn place(to: &Value) -> &str {
    to["region"].as_str().unwrap_or("nowhere")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
