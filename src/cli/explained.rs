//! An explanation in words, from what the API has of it.

use serde_json::Value;

/// The lines that tell it.
pub(super) fn lines(explanation: &Value) -> Vec<String> {
    let mut told = vec![
        format!("service  {}", text(&explanation["service"])),
        format!("client   {}", client(&explanation["client"])),
        format!("decision {}", decision(explanation)),
    ];
    if explanation["face"] == "dns" {
        told.push(format!("ttl      {} s", explanation["ttl"]));
    }
    let otherwise = explanation["not_in_dns"].as_str();
    told.extend(otherwise.map(|why| format!("but      {why}")));
    told.extend(chances(explanation).map(|chances| format!("chances  {chances}")));
    let token = |token: &Value| {
        let (carrier, says) = (text(&token["carrier"]), text(&token["says"]));
        format!("token    ({carrier}) {says}")
    };
    told.extend(list(&explanation["tokens"]).iter().map(token));
    told.extend(steps(list(&explanation["steps"])));
    told
}

fn client(client: &Value) -> String {
    let country = client["country"].as_str().unwrap_or("unknown");
    let place = match list(&client["location"]) {
        [latitude, longitude] => format!(" ({latitude}, {longitude})"),
        _ => String::new(),
    };
    let scope = text(&client["scope"]);
    format!("{country}{place}; everybody in {scope} is ranked alike")
}

fn decision(explanation: &Value) -> String {
    let regions = list(&explanation["decision"]).iter().map(text);
    let regions: Vec<&str> = regions.collect();
    let regions = match &*regions {
        [] => "nobody".to_owned(),
        some => some.join(", "),
    };
    let (face, verdict) = (text(&explanation["face"]), text(&explanation["verdict"]));
    format!("{regions} ({face}, {verdict})")
}

/// How often each region is first, where that is drawn.
fn chances(explanation: &Value) -> Option<String> {
    let [_, _, ..] = list(&explanation["chances"]) else {
        return None;
    };
    let percent = |of: &Value| {
        let share = of["share"].as_f64().unwrap_or_default() * 100.0;
        format!("{} {share:.1} %", text(&of["region"]))
    };
    let chances: Vec<String> = list(&explanation["chances"]).iter().map(percent).collect();
    let what = match text(&explanation["face"]) {
        "dns" => "query",
        _ => "request",
    };
    Some(format!(
        "{}: each {what} is drawn anew, and the decision above is one draw",
        chances.join(", ")
    ))
}

fn steps(steps: &[Value]) -> Vec<String> {
    let names = steps.iter().map(|step| text(&step["region"]));
    let width = names.map(str::len).max().unwrap_or(0);
    let line = |step: &Value| {
        let kept = match step["kept"].as_bool() {
            Some(true) => "kept   ",
            Some(false) | None => "dropped",
        };
        let [region, rule, reason] = ["region", "rule", "reason"].map(|key| text(&step[key]));
        format!("  {region:width$}  {kept}  {rule:17}  {reason}")
    };
    steps.iter().map(line).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
