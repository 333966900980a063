//! The dashboard: one page with its scripts and style, served from the binary.

use axum::http::header;
use axum::response::{IntoResponse, Response};

/// Nothing from elsewhere, nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

pub(super) async fn html() -> Response {
    file(
        "text/html; charset=utf-8",
        include_str!("dashboard/index.html"),
    )
}

pub(super) async fn script() -> Response {
    file(
        "text/javascript; charset=utf-8",
        include_str!("dashboard/dashboard.js"),
    )
}

pub(super) async fn lag_script() -> Response {
    file(
        "text/javascript; charset=utf-8",
        include_str!("dashboard/lag.js"),
    )
}

pub(super) async fn style() -> Response {
    file(
        "text/css; charset=utf-8",
        include_str!("dashboard/dashboard.css"),
    )
}

fn file(content_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}
