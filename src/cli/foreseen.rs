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
    let mut out = format!(
        "{}\n  clients  {} % of IPv4 and {} % of IPv6 would move, of {}\n",
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
    out + &of_left(service)
}

/// Which regions would be left, and whether they are enough.
fn of_left(service: &Value) -> String {
    let names = |key: &str| -> Vec<&str> { list(&service[key]).iter().map(text).collect() };
    let (left, unread) = (names("left"), names("unread"));
    let is_few = service["min_regions"].as_u64() > u64::try_from(left.len()).ok();
    let (enough, why) = match (service["refused"] == true, is_few) {
        (true, _) => ("too few", ""),
        (false, true) => (
            "too few",
            ", but it is none of the able ones: no guard forbids it",
        ),
        (false, false) => ("enough", ""),
    };
    let told = match &*left {
        [] => "none".to_owned(),
        some => some.join(", "),
    };
    let mut out = format!(
        "  left     {told}: {enough} for guards.min_regions {}{why}\n",
        service["min_regions"]
    );
    if !unread.is_empty() {
        out.push_str(&format!(
            "           not counted: {}, from which nothing is read now\n",
            unread.join(", ")
        ));
    }
    let mut to = list(&service["clients"]["to"]).iter();
    let goes_somewhere = to.any(|to| to["region"].is_string());
    if left.is_empty() && unread.is_empty() && goes_somewhere {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn too_few_that_are_left_are_not_called_enough_where_no_guard_forbids_it() {
        let told = |left: &[&str], refused: bool| {
            let clients = json!({ "ipv4_percent": 0, "ipv6_percent": 0, "of": "all addresses", "stays": {}, "to": [{ "region": null }] });
            let moved = json!({ "answers": 0, "requests": 0, "move": 0, "to": [] });
            of_service(
                &json!({ "service": "www", "left": left, "refused": refused, "min_regions": 2, "clients": clients, "dns": moved, "http": moved }),
                60,
            )
        };
        assert!(
            told(&["a", "b"], false).contains("left     a, b: enough for guards.min_regions 2")
        );
        assert!(told(&["a"], true).contains("left     a: too few for guards.min_regions 2"));
        assert!(told(&[], false).contains(
            "left     none: too few for guards.min_regions 2, but it is none of the able ones: no guard forbids it"
        ));
        let nowhere = told(&[], true);
        assert!(!nowhere.contains("whoever moves goes to"), "{nowhere}");
    }
}
