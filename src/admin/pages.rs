//! Whom a request is for, and pages of other sites: what a browser says of where it comes from.

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, Version, header};

use super::denied::{Denied, denied};

/// RFC 9112 §3.2: a request of HTTP/1.1 has one `Host`, and every request at most one, with a valid value. Two readers of a
/// request with more may take it to be for different hosts.
pub(super) fn refuse_doubtful_host(
    version: Version,
    target: &Uri,
    headers: &HeaderMap,
) -> Result<(), Denied> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let is_right = match (hosts.next(), hosts.next()) {
        (None, _) => version < Version::HTTP_11,
        (Some(host), None) => match target.authority() {
            // RFC 9112 §3.2.2: a target that names a host has the same one beside it.
            Some(named) => authority(host).is_some_and(|host| host == *named),
            None => host.is_empty() || authority(host).is_some(),
        },
        (Some(_), Some(_)) => false,
    };
    if is_right {
        return Ok(());
    }
    Err(denied(
        StatusCode::BAD_REQUEST,
        "one `Host` is expected, with a name or an address, and a port if any",
    ))
}

fn authority(host: &HeaderValue) -> Option<Authority> {
    host.to_str().ok()?.parse().ok()
}

/// Whether the host that a request is for is an address, `localhost` or none, and so nobody's to point here.
pub(super) fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else {
        return true;
    };
    authority(host).is_some_and(|authority| {
        let host = authority.host().trim_matches(['[', ']']);
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok()
    })
}

/// Browsers say where a request comes from; one from elsewhere must not ride on what this browser may do here.
/// What a page can send without asking first (a form) is never JSON.
pub(super) fn refuse_other_pages(headers: &HeaderMap) -> Result<(), Denied> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (origin, site) = (headers.get("origin"), headers.get("sec-fetch-site"));
    let is_from_here = match (origin, text("origin"), text("host")) {
        (None, _, _) => true,
        (Some(_), Some(origin), Some(host)) => origin
            .split_once("://")
            .is_some_and(|(_, from)| from.eq_ignore_ascii_case(host)),
        (Some(_), _, _) => false,
    };
    let is_same_site =
        site.is_none() || matches!(text("sec-fetch-site"), Some("same-origin" | "none"));
    if !is_from_here || !is_same_site {
        return Err(denied(
            StatusCode::FORBIDDEN,
            "a page of another origin may not change anything here",
        ));
    }
    let is_browser = origin.is_some() || site.is_some();
    let is_json = text("content-type").is_none_or(|given| {
        let essence = given.split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case("application/json")
    });
    if is_browser && !is_json {
        return Err(denied(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "a page must send `Content-Type: application/json`",
        ));
    }
    Ok(())
}
