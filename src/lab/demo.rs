//! Pages of a region that show what a proxy in front of it does: who answers, with which headers,
//! and how streaming gets through.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use futures_util::stream;
use serde_json::json;

use super::face::answer;
use super::region::Region;

/// The longest pause between two chunks of `/slow`.
const PAUSE_MS_MAX: u64 = 10_000;
/// The most chunks of `/slow`.
const CHUNKS_MAX: u32 = 100;

pub(super) async fn home(State(region): State<Arc<Region>>) -> Response {
    let page = format!(
        "{} answers.\n\n\
         PUT, POST, GET, DELETE /kv/KEY  a store that replicates to the other regions\n\
         GET /kv                         its keys\n\
         GET /kv/KEY?siblings            what was written at the same time elsewhere\n\
         POST, GET /counters/KEY         counts by the number in the body\n\
         PUT, DELETE /sets/KEY/MEMBER    a set; GET /sets/KEY lists it\n\
         GET /health                     ok\n\
         /echo                           your request as it arrived here\n\
         GET /slow?ms=200&chunks=5       an answer that takes its time\n",
        region.name()
    );
    answer(&region, page)
}

pub(super) async fn echo(
    State(region): State<Arc<Region>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let mut shown = BTreeMap::<&str, Vec<String>>::new();
    for (name, value) in &headers {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        shown.entry(name.as_str()).or_default().push(text);
    }
    let echo = json!({
        "region": region.name().as_str(), "method": method.as_str(), "uri": uri.to_string(), "headers": shown,
    });
    answer(&region, Json(echo))
}

/// How `/slow` answers.
struct Pace {
    /// Between two chunks.
    ms: u64,
    chunks: u32,
}

impl Pace {
    /// None: it is not one that is offered.
    fn of(query: &[(String, String)]) -> Option<Self> {
        let mut pace = Self { ms: 200, chunks: 5 };
        for (key, value) in query {
            match key.as_str() {
                "ms" => pace.ms = value.parse().ok().filter(|ms| *ms <= PAUSE_MS_MAX)?,
                "chunks" => pace.chunks = value.parse().ok().filter(|n| *n <= CHUNKS_MAX)?,
                _ => return None,
            }
        }
        Some(pace)
    }
}

pub(super) async fn slow(
    State(region): State<Arc<Region>>,
    Query(query): Query<Vec<(String, String)>>,
) -> Response {
    let Some(pace) = Pace::of(&query) else {
        let usage = "/slow?ms=0..10000&chunks=0..100\n";
        return answer(&region, (StatusCode::BAD_REQUEST, usage));
    };
    let chunks = chunks(Arc::clone(&region), pace);
    answer(&region, Body::from_stream(chunks))
}

fn chunks(
    region: Arc<Region>,
    pace: Pace,
) -> impl stream::Stream<Item = Result<String, Infallible>> + Send + 'static {
    stream::unfold((1, region), move |(number, region)| async move {
        if number > pace.chunks {
            return None;
        }
        if number > 1 {
            tokio::time::sleep(Duration::from_millis(pace.ms)).await;
        }
        let chunk = format!("{} chunk {number} of {}\n", region.name(), pace.chunks);
        Some((Ok(chunk), (number + 1, region)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_takes_ten_seconds_and_a_hundred_chunks_and_nothing_more() {
        for (key, value, is_taken) in [
            ("ms", "10000", true),
            ("ms", "10001", false),
            ("chunks", "100", true),
            ("chunks", "101", false),
            ("chunks", "-1", false),
            ("more", "1", false),
        ] {
            let pace = Pace::of(&[(key.to_owned(), value.to_owned())]);
            assert_eq!(pace.is_some(), is_taken, "{key}={value}");
        }
    }
}
