//! Pages of other sites: what a browser says of where a request comes from and whom it is for.

use std::net::IpAddr;

use axum::http::{HeaderMap, StatusCode, header};

use super::denied::{Denied, denied};

/// Whether the host that a request is for is an address, `localhost` or none, and so nobody's to point here.
pub(super) fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else {
        return true;
    };
    let authority = host
        .to_str()
        .ok()
        .and_then(|host| host.parse::<axum::http::uri::Authority>().ok());
    authority.is_some_and(|authority| {
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
