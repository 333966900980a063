//! Who may change something: the bearer of the token, or without one whoever is on this machine.

use std::net::SocketAddr;
use std::sync::Arc;

use aws_lc_rs::{constant_time, digest};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::state::AdminState;
use super::writes::error;
use crate::units::Secret;

/// Where the admin listens; decides whether changes without a token are allowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListensOn(pub(super) SocketAddr);

/// Lets reads pass, and changes only with the right to make them.
pub(super) async fn guard(
    State((state, listens_on)): State<(Arc<AdminState>, ListensOn)>,
    request: Request,
    next: Next,
) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let snapshot = state.snapshot();
    match may_change(
        request.headers(),
        snapshot.plan.admin_token.as_ref(),
        listens_on,
    ) {
        Ok(()) => next.run(request).await,
        Err((status, why)) => error(status, why).into_response(),
    }
}

fn may_change(
    headers: &HeaderMap,
    token: Option<&Secret>,
    ListensOn(address): ListensOn,
) -> Result<(), (StatusCode, &'static str)> {
    if is_cross_site(headers) {
        return Err((
            StatusCode::FORBIDDEN,
            "a page of another origin may not change anything here",
        ));
    }
    let Some(token) = token else {
        return if address.ip().is_loopback() && !names_this_machine(headers) {
            Err((
                StatusCode::FORBIDDEN,
                "without `admin.token` changes need a Host that is an address or localhost",
            ))
        } else if address.ip().is_loopback() {
            Ok(())
        } else {
            Err((
                StatusCode::FORBIDDEN,
                "without `admin.token` changes are refused, unless admin listens on loopback",
            ))
        };
    };
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        // RFC 9110 §11.1: the scheme is case-insensitive.
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"))
        .map(|(_, token)| token.trim());
    match bearer {
        Some(given) if same(given, token.expose()) => Ok(()),
        Some(_) => Err((
            StatusCode::UNAUTHORIZED,
            "the bearer token is not the right one",
        )),
        None => Err((
            StatusCode::UNAUTHORIZED,
            "a bearer token is needed: `Authorization: Bearer TOKEN`",
        )),
    }
}

/// Compares digests in constant time, so that neither content nor length leaks.
fn same(given: &str, expected: &str) -> bool {
    let digest = |text: &str| digest::digest(&digest::SHA256, text.as_bytes());
    constant_time::verify_slices_are_equal(digest(given).as_ref(), digest(expected).as_ref())
        .is_ok()
}

/// A page of a name that its owner lets point to this machine (DNS rebinding) has that name as Host.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else {
        return true;
    };
    let authority = host
        .to_str()
        .ok()
        .and_then(|host| host.parse::<axum::http::uri::Authority>().ok());
    authority.is_some_and(|authority| {
        let host = authority.host().trim_matches(['[', ']']);
        host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok()
    })
}

/// Browsers say where a request comes from; one from elsewhere must not ride on this machine's trust.
fn is_cross_site(headers: &HeaderMap) -> bool {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &header::HeaderValue| value.to_str().ok())
    };
    match (text(header::ORIGIN), text(header::HOST)) {
        (None, _) => false,
        (Some(origin), Some(host)) => origin
            .split_once("://")
            .is_none_or(|(_, from)| from != host),
        (Some(_), None) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fields: &[(&'static str, &str)], token: Option<&str>, address: &str) -> u16 {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.insert(*name, value.parse().unwrap());
        }
        let token = token.map(|token| Secret::new(token.to_owned()));
        let address = ListensOn(address.parse().unwrap());
        may_change(&headers, token.as_ref(), address)
            .map_or_else(|(status, _)| status.as_u16(), |()| 200)
    }

    #[test]
    fn without_a_token_only_this_machine_may_change_anything() {
        assert_eq!(check(&[], None, "127.0.0.1:9090"), 200);
        assert_eq!(check(&[], None, "0.0.0.0:9090"), 403);
    }

    #[test]
    fn with_a_token_only_its_bearer_may() {
        assert_eq!(
            check(
                &[("authorization", "Bearer right")],
                Some("right"),
                "0.0.0.0:9090"
            ),
            200
        );
        assert_eq!(
            check(
                &[("authorization", "Bearer wrong")],
                Some("right"),
                "127.0.0.1:9090"
            ),
            401
        );
        assert_eq!(check(&[], Some("right"), "127.0.0.1:9090"), 401);
    }

    #[test]
    fn a_page_from_elsewhere_may_not_use_this_machine_s_trust() {
        let host = ("host", "127.0.0.1:9090");
        assert_eq!(
            check(
                &[host, ("origin", "http://127.0.0.1:9090")],
                None,
                "127.0.0.1:9090"
            ),
            200
        );
        assert_eq!(
            check(
                &[host, ("origin", "https://evil.example")],
                None,
                "127.0.0.1:9090"
            ),
            403
        );
        assert_eq!(
            check(&[host, ("origin", "null")], None, "127.0.0.1:9090"),
            403
        );
        for (host, expected) in [
            ("evil.example:9090", 403),
            ("localhost:9090", 200),
            ("[::1]:9090", 200),
        ] {
            assert_eq!(
                check(&[("host", host)], None, "127.0.0.1:9090"),
                expected,
                "{host}"
            );
        }
    }
}
