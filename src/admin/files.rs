//! The dashboard's files, as they are compiled in: with hashes, so that a browser asks once, and packed for those who take it.

use std::io::Write;
use std::sync::{Arc, LazyLock};

use aws_lc_rs::digest;
use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::state::AdminState;

const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! module {
    ($name:literal) => {
        File {
            path: concat!("/dashboard/", $name),
            content_type: SCRIPT,
            content: include_bytes!(concat!("dashboard/", $name)),
        }
    };
}

/// Every file but the page itself.
const FILES: &[File] = &[
    File {
        path: "/dashboard.css",
        content_type: "text/css; charset=utf-8",
        content: include_bytes!("dashboard/dashboard.css"),
    },
    File {
        path: "/dashboard.js",
        content_type: SCRIPT,
        content: include_bytes!("dashboard/dashboard.js"),
    },
    File {
        path: "/dashboard/world.json",
        content_type: "application/json",
        content: include_bytes!("../../data/map/world.json"),
    },
    File {
        path: "/dashboard/icon.svg",
        content_type: "image/svg+xml",
        content: include_bytes!("dashboard/icon.svg"),
    },
    module!("api.js"),
    module!("config.js"),
    module!("dialog.js"),
    module!("drains.js"),
    module!("events.js"),
    module!("explain.js"),
    module!("force.js"),
    module!("foreseen.js"),
    module!("lab.js"),
    module!("lag.js"),
    module!("line.js"),
    module!("map.js"),
    module!("outage.js"),
    module!("page.js"),
    module!("regions.js"),
    module!("said.js"),
    module!("service.js"),
    module!("stream.js"),
    module!("strip.js"),
    module!("theme.js"),
    module!("trouble.js"),
];

struct File {
    path: &'static str,
    content_type: &'static str,
    content: &'static [u8],
}

/// A file as it is sent.
struct Packed {
    tag: String,
    gzip: Bytes,
}

/// Packed when the first is asked for.
static PACKED: LazyLock<Vec<Packed>> =
    LazyLock::new(|| FILES.iter().map(|file| pack(file.content)).collect());

fn pack(content: &[u8]) -> Packed {
    let hash = digest::digest(&digest::SHA256, content);
    let half = hash.as_ref().get(..16).unwrap_or_default();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    // Writing into memory does not fail.
    let _ = gzip.write_all(content);
    Packed {
        tag: format!("\"{}\"", URL_SAFE_NO_PAD.encode(half)),
        gzip: gzip.finish().unwrap_or_default().into(),
    }
}

pub(super) fn routes() -> Router<Arc<AdminState>> {
    let files = FILES.iter().enumerate();
    files.fold(Router::new(), |router, (at, file)| {
        let serve = move |headers: HeaderMap| async move { answer(file, at, &headers) };
        router.route(file.path, get(serve))
    })
}

fn answer(file: &File, at: usize, asked: &HeaderMap) -> Response {
    let Some(packed) = PACKED.get(at) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let common = [
        (header::ETAG, packed.tag.as_str()),
        (header::CACHE_CONTROL, "no-cache"),
        (header::VARY, "accept-encoding"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let says = |name, word: &str| {
        let value = asked.get(name).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| value.contains(word))
    };
    if says(header::IF_NONE_MATCH, &packed.tag) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let kind = [(header::CONTENT_TYPE, file.content_type)];
    if says(header::ACCEPT_ENCODING, "gzip") {
        let packing = [(header::CONTENT_ENCODING, "gzip")];
        return (common, kind, packing, packed.gzip.clone()).into_response();
    }
    (common, kind, file.content).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(name: header::HeaderName, value: &str) -> Response {
        let headers = HeaderMap::from_iter([(name, value.parse().unwrap())]);
        answer(&FILES[0], 0, &headers)
    }

    #[test]
    fn a_file_that_the_browser_has_is_not_sent_again() {
        let sent = ask(header::ACCEPT, "*/*");
        let tag = sent.headers()[header::ETAG].to_str().unwrap();
        assert_eq!(ask(header::IF_NONE_MATCH, tag).status(), 304);
        assert_eq!(ask(header::IF_NONE_MATCH, "\"old\"").status(), 200);
    }

    #[test]
    fn a_file_is_packed_for_those_who_take_it() {
        let packed = ask(header::ACCEPT_ENCODING, "br, gzip");
        assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
        let plain = ask(header::ACCEPT_ENCODING, "br");
        assert!(!plain.headers().contains_key(header::CONTENT_ENCODING));
        let sizes = FILES.iter().zip(&*PACKED);
        for (file, packed) in sizes {
            assert!(packed.gzip.len() < file.content.len(), "{}", file.path);
        }
    }
}
