//! The dashboard's page: it has the regions in it already, for those who run no scripts.

use std::fmt::Write;

use axum::Extension;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::caller::Caller;
use super::desk::Desk;
use super::writes::error;

/// Nothing from elsewhere, nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = include_str!("dashboard/index.html");

/// Where the rows of the regions go.
const ROWS: &str = "<!-- rows -->";

/// `GET /`. Without a token, whoever needs one gets the page without the regions.
pub(super) async fn html(
    Extension(desk): Extension<Desk>,
    Extension(caller): Extension<Caller>,
) -> Response {
    let rows = if caller.may_see {
        match desk.status().await {
            Ok(status) => rows(&status.value),
            Err(closed) => {
                return error(StatusCode::SERVICE_UNAVAILABLE, closed.to_string()).into_response();
            }
        }
    } else {
        String::new()
    };
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, PAGE.replacen(ROWS, &rows, 1)).into_response()
}

fn rows(status: &Value) -> String {
    let mut rows = String::new();
    for region in items(status, "regions") {
        for service in items(region, "services") {
            let checks: Vec<String> = items(service, "origins").map(check).collect();
            // Writing to a string does not fail.
            let _ = write!(
                rows,
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                text(region, "name"),
                text(service, "name"),
                text(service, "state"),
                text(service, "since"),
                checks.join("<br>"),
            );
        }
    }
    rows
}

fn check(origin: &Value) -> String {
    let last = origin.get("last_check").unwrap_or(&Value::Null);
    let detail = match last.get("detail") {
        Some(_) => text(last, "detail"),
        None => "not checked yet".to_owned(),
    };
    // Without the scheme: nothing here shall look as if it were to be fetched from elsewhere.
    let url = text(origin, "url");
    let place = url.split_once("://").map_or(&*url, |(_, place)| place);
    format!("{place}: {detail}")
}

fn items<'a>(of: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    let items = of.get(key).and_then(Value::as_array);
    items.into_iter().flatten()
}

/// A text as HTML shows it.
fn text(of: &Value, key: &str) -> String {
    let text = of.get(key).and_then(Value::as_str).unwrap_or("–");
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
        let rows = rows(&status);
        assert!(rows.contains("<td>a: &lt;script&gt;&quot;&amp;"), "{rows}");
        assert!(
            rows.contains("&lt;b&gt;") && !rows.contains("<b>"),
            "{rows}"
        );
    }

    #[test]
    fn the_page_has_a_place_for_the_rows() {
        assert_eq!(PAGE.matches(ROWS).count(), 1);
    }
}
