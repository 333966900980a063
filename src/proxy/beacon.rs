//! The beacon: a script that has some browsers time two regions, and where they report it.
//!
//! Served on every host of a service if `latency.beacon` is set. A report is a query string, so that no
//! body is read; it counts for the network that it comes from, after every check of `latency`.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};

use super::body::Body;
use crate::config::plan::Beacon;
use crate::latency::{Inbox, Report, Source};

const SCRIPT_PATH: &str = "/.well-known/meridian/beacon.js";
const REPORT_PATH: &str = "/.well-known/meridian/beacon";

/// The script; `SAMPLE` and `PROBES` stand for what the configuration says.
const SCRIPT: &str = include_str!("beacon.js");

/// The round trips that one report may name.
const MOST_ROUND_TRIPS: usize = 8;

/// The page may be another site's, which may load the script all the same.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The answer to a request that is the beacon's; none: it is somebody else's.
pub(super) fn answer(
    beacon: Option<&Beacon>,
    parts: &Parts,
    client: IpAddr,
    inbox: &Inbox,
) -> Option<Response<Body>> {
    let beacon = beacon?;
    match (&parts.method, parts.uri.path()) {
        (&Method::GET | &Method::HEAD, SCRIPT_PATH) => Some(script(beacon)),
        (&Method::POST, REPORT_PATH) => Some(report(beacon, parts, client, inbox)),
        _ => None,
    }
}

fn script(beacon: &Beacon) -> Response<Body> {
    let mut response = own(StatusCode::OK, Body::made(text(beacon)));
    let headers = response.headers_mut();
    let javascript = HeaderValue::from_static("text/javascript; charset=utf-8");
    headers.insert(CONTENT_TYPE, javascript);
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=300"),
    );
    response
}

fn text(beacon: &Beacon) -> String {
    let urls = beacon.probes.iter();
    let probes: serde_json::Map<String, serde_json::Value> = urls
        .map(|(region, url)| (region.to_string(), url.as_str().into()))
        .collect();
    let probes = serde_json::Value::from(probes).to_string();
    let sample = beacon.sample.ratio().to_string();
    SCRIPT.replace("SAMPLE", &sample).replace("PROBES", &probes)
}

fn report(beacon: &Beacon, parts: &Parts, client: IpAddr, inbox: &Inbox) -> Response<Body> {
    match read(beacon, parts.uri.query().unwrap_or_default()) {
        Some(round_trips) => {
            let report = Report {
                client,
                source: Source::Beacon,
                round_trips,
            };
            let status = match inbox.leave(report) {
                true => StatusCode::NO_CONTENT,
                false => StatusCode::TOO_MANY_REQUESTS,
            };
            own(status, Body::Empty)
        }
        None => own(StatusCode::BAD_REQUEST, Body::Empty),
    }
}

/// `REGION=MS&REGION=MS`: regions that have a probe, each once.
fn read(beacon: &Beacon, query: &str) -> Option<Vec<(Arc<str>, f64)>> {
    let mut round_trips: Vec<(Arc<str>, f64)> = Vec::new();
    for pair in query.split('&') {
        let (name, ms) = pair.split_once('=')?;
        let (region, _) = beacon.probes.iter().find(|(region, _)| **region == *name)?;
        let is_twice = round_trips.iter().any(|(known, _)| known == region);
        if is_twice || round_trips.len() >= MOST_ROUND_TRIPS {
            return None;
        }
        round_trips.push((region.clone(), ms.parse().ok()?));
    }
    Some(round_trips)
}

fn own(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beacon() -> Beacon {
        let probe = |region: &str| (region.into(), format!("https://{region}.example/ping"));
        Beacon {
            sample: "5%".parse().unwrap(),
            probes: ["a", "b"].map(probe).into(),
        }
    }

    #[test]
    fn a_report_names_regions_that_have_a_probe_each_once() {
        let read = |query| read(&beacon(), query).map(|found| found.len());
        assert_eq!(read("a=12.5&b=80"), Some(2));
        for wrong in ["", "a", "c=1", "a=1&a=2", "a=fast", "a=1&", "%61=1"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_report_names_eight_regions_and_no_more() {
        let regions: Vec<String> = (0..9).map(|n| format!("r{n}")).collect();
        let probe = |region: &String| (region.as_str().into(), "https://r.example/".to_owned());
        let beacon = Beacon {
            sample: "5%".parse().unwrap(),
            probes: regions.iter().map(probe).collect(),
        };
        let query = |most: usize| {
            let pairs = regions
                .iter()
                .take(most)
                .map(|region| format!("{region}=20"));
            pairs.collect::<Vec<_>>().join("&")
        };
        assert_eq!(read(&beacon, &query(8)).map(|found| found.len()), Some(8));
        assert_eq!(read(&beacon, &query(9)), None);
    }

    #[test]
    fn the_script_has_the_share_and_the_probes() {
        let text = text(&beacon());
        assert!(text.contains("var sample = 0.05;"), "{text}");
        assert!(text.contains(r#"{"a":"https://a.example/ping","b":"https://b.example/ping"}"#));
    }
}
