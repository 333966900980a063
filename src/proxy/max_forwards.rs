//! OPTIONS and TRACE go over no more hops than `Max-Forwards` says (RFC 9110 §7.6.2).

use http::header::MAX_FORWARDS;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};

use super::body::Body;
use super::problem::insert_own_answer;

/// Counts this hop; the answer, if none is left behind it. What is no number counts nothing.
pub(super) fn count(parts: &mut Parts, node: &str) -> Option<Response<Body>> {
    if parts.method != Method::OPTIONS && parts.method != Method::TRACE {
        return None;
    }
    let left = parts.headers.get(MAX_FORWARDS)?.to_str().ok()?;
    let is_number = !left.is_empty() && left.bytes().all(|byte| byte.is_ascii_digit());
    // What is too many counts as the most that there are.
    let left = is_number.then(|| left.parse().unwrap_or(u64::MAX))?;
    match left.checked_sub(1) {
        Some(left) => {
            let left = HeaderValue::from(left);
            parts.headers.insert(MAX_FORWARDS, left);
            None
        }
        None => Some(at_the_end(&parts.method, node)),
    }
}

/// What the edge says for itself: a trace would show what others are not to see of a request.
fn at_the_end(method: &Method, node: &str) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = if *method == Method::OPTIONS {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_IMPLEMENTED
    };
    insert_own_answer(response.headers_mut(), node, "Max-Forwards is 0");
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The status of the edge's own answer and what is left to the origin.
    fn counted(method: &Method, max: &'static str) -> (Option<u16>, String) {
        let request = http::Request::builder()
            .method(method)
            .header(MAX_FORWARDS, max);
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let answer = count(&mut parts, "edge");
        let left = parts.headers[MAX_FORWARDS].to_str().unwrap().to_owned();
        (answer.map(|answer| answer.status().as_u16()), left)
    }

    #[test]
    fn options_and_trace_go_over_as_many_hops_as_they_say() {
        for (method, status) in [(Method::OPTIONS, 204), (Method::TRACE, 501)] {
            assert_eq!(counted(&method, "0").0, Some(status));
            assert_eq!(counted(&method, "1"), (None, "0".into()));
            assert_eq!(counted(&method, "10"), (None, "9".into()));
            let many = counted(&method, "99999999999999999999");
            assert_eq!(many, (None, "18446744073709551614".into()));
            assert_eq!(counted(&method, "-1"), (None, "-1".into()));
            assert_eq!(counted(&method, "soon"), (None, "soon".into()));
        }
        assert_eq!(counted(&Method::GET, "0"), (None, "0".into()));
    }
}
