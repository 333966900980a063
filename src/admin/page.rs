//! The dashboard's page: it has how things are in it already, for those who run no scripts.

use axum::Extension;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::caller::Caller;
use super::desk::Desk;
use super::page_plain::{WITHOUT_TOKEN, plain};
use super::writes::error;

/// Nothing from elsewhere, nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = include_str!("dashboard/index.html");

/// Where that goes which is shown without scripts.
const PLAIN: &str = "<!-- plain -->";

/// `GET /`. Whoever may not see how things are is told what to do instead.
pub(super) async fn html(
    Extension(desk): Extension<Desk>,
    Extension(caller): Extension<Caller>,
) -> Response {
    let shown = if caller.may_see {
        match desk.status().await {
            Ok(status) => plain(&status.value),
            Err(closed) => {
                return error(StatusCode::SERVICE_UNAVAILABLE, closed.to_string()).into_response();
            }
        }
    } else {
        WITHOUT_TOKEN.to_owned()
    };
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, PAGE.replacen(PLAIN, &shown, 1)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_a_place_for_what_is_shown_without_scripts() {
        assert_eq!(PAGE.matches(PLAIN).count(), 1);
    }
}
