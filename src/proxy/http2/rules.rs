//! What RFC 9113 forbids of messages as a whole: [`crate::http2`] judges names, values and pseudo-headers one by one.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, Version, header};
use hyper::body::Frame;

use crate::http2::{Error, Incoming};
use crate::proxy::body::BodyError;
use crate::proxy::guard::{LONGEST_BODY, Refusal};
use crate::proxy::problem::Problem;

/// Refuses a request that says two things at once of where it goes or how long it is.
pub(in crate::proxy) fn check_request(parts: &Parts) -> Result<(), Problem> {
    if parts.version != Version::HTTP_2 {
        return Ok(());
    }
    let path = parts.uri.path_and_query().map(|path| path.as_str());
    // RFC 9113 §8.3.1: `:path` is there, and begins with a slash or is the asterisk of OPTIONS.
    let is_path = match path {
        Some("*") => parts.method == Method::OPTIONS,
        Some(path) => path.starts_with('/'),
        None => false,
    };
    if !is_path {
        return Err(Problem::Malformed("`:path` is no path".into()));
    }
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    let host = parts.headers.get(header::HOST).map(HeaderValue::as_bytes);
    // RFC 9113 §8.3.1: Host beside `:authority` says the same.
    if let (Some(authority), Some(host)) = (authority, host)
        && !authority.as_bytes().eq_ignore_ascii_case(host)
    {
        return Err(Problem::Malformed("Host is not `:authority`".into()));
    }
    check_fields(&parts.headers).map_err(|why| Problem::Malformed(why.into()))
}

/// Refuses an answer that HTTP/1.1 would read otherwise than HTTP/2.
pub(in crate::proxy) fn check_answer<B>(response: &Response<B>) -> Result<(), &'static str> {
    if response.version() != Version::HTTP_2 {
        return Ok(());
    }
    check_fields(response.headers())
}

fn check_fields(fields: &HeaderMap) -> Result<(), &'static str> {
    if fields.get_all(header::CONTENT_LENGTH).iter().count() > 1 {
        return Err("Content-Length is there twice");
    }
    let length = fields.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > LONGEST_BODY) {
        return Err("Content-Length is over 2^63 - 1");
    }
    check_values(fields)
}

/// RFC 9113 §8.2.1, for fields that neither frame nor route: trailers, and those of interim answers.
pub(super) fn check_values(fields: &HeaderMap) -> Result<(), &'static str> {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let mut values = fields.values().map(HeaderValue::as_bytes);
    if values.any(|value| is_blank(value.first()) || is_blank(value.last())) {
        return Err("a value begins or ends with a blank");
    }
    Ok(())
}

/// The trailers behind all content; none: there are none.
pub(super) fn take_trailers(stream: &mut Incoming) -> Result<Option<Frame<Bytes>>, BodyError> {
    let trailers = stream.take_trailers().map_err(|error| match error {
        Error::TrailersTooLarge => BodyError::broken(Refusal::TrailersTooLarge),
        Error::Reset(_) | Error::Wrong(_) | Error::Over => BodyError::broken(error),
        Error::Connection(_) | Error::Unsent(_) | Error::Left(_) => BodyError::broken(error),
    })?;
    if let Some(trailers) = &trailers {
        let checked = check_values(trailers).map_err(Refusal::Malformed);
        checked.map_err(BodyError::broken)?;
    }
    Ok(trailers.map(Frame::trailers))
}
