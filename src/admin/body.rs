//! What a call sends: read whole before it is looked at, within a time, and no longer than there is need for.

use std::error::Error as _;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::CONNECTION;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::LengthLimitError;

use super::positions;
use super::writes::{bad, error};

/// No call that an operator makes has a longer body.
const MOST: usize = 64 << 10;

/// A store with many writers says more.
const MOST_OF_POSITIONS: usize = 2 << 20;

/// How long a body may take: whoever is slower than that holds a connection and nothing else.
const WITHIN: Duration = Duration::from_secs(10);

/// Lets a call pass once its body is there.
pub(super) async fn await_whole(request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let most = if request.uri().path().starts_with(positions::PATH) {
        MOST_OF_POSITIONS
    } else {
        MOST
    };
    let (parts, body) = request.into_parts();
    match tokio::time::timeout(WITHIN, to_bytes(body, most)).await {
        Ok(Ok(body)) => next.run(Request::from_parts(parts, Body::from(body))).await,
        Ok(Err(wrong))
            if wrong
                .source()
                .is_some_and(|why| why.is::<LengthLimitError>()) =>
        {
            let message = format!("a body of at most {most} bytes is expected");
            let told = error(StatusCode::PAYLOAD_TOO_LARGE, message);
            ([(CONNECTION, "close")], told).into_response()
        }
        Ok(Err(wrong)) => bad(format!("the body is broken: {wrong}")).into_response(),
        Err(_) => {
            let message = format!("the body did not end within {} s", WITHIN.as_secs());
            let told = error(StatusCode::REQUEST_TIMEOUT, message);
            ([(CONNECTION, "close")], told).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::middleware::from_fn;
    use axum::routing::put;
    use futures_util::{StreamExt, stream};
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;
    use tokio::time::Instant;

    use super::*;

    async fn answer_to(path: &str, body: Body) -> Response {
        let routes = put(|| async {}).layer(from_fn(await_whole));
        let router: Router = Router::new().route("/{*path}", routes);
        let request = Request::put(path).body(body).unwrap();
        let router = TowerToHyperService::new(router);
        router.call(request).await.unwrap()
    }

    #[tokio::test]
    async fn a_body_has_a_longest_length_and_that_of_positions_a_longer_one() {
        for (path, most) in [
            ("/api/v1/drains/eu", 64 << 10),
            ("/api/v1/positions/eu", 2 << 20),
        ] {
            let of = |length| answer_to(path, Body::from(vec![b' '; length]));
            assert_eq!(of(most).await.status(), StatusCode::OK);
            let refused = of(most + 1).await;
            assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
            assert_eq!(refused.headers()[CONNECTION], "close");
        }
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_broken_and_not_too_long() {
        let parts = [Ok("{"), Err(std::io::Error::other("the client has gone"))];
        let body = Body::from_stream(stream::iter(parts));
        let answer = answer_to("/api/v1/drains/eu", body).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_in_ten_seconds_is_given_up() {
        let began = Instant::now();
        let first = stream::iter([Ok::<_, std::convert::Infallible>("{")]);
        let body = Body::from_stream(first.chain(stream::pending()));
        let answer = answer_to("/api/v1/drains/eu", body).await;
        assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(answer.headers()[CONNECTION], "close");
        assert_eq!(began.elapsed(), WITHIN);
    }
}
