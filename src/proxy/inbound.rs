//! What a request says, read once: client, keys, and whether it reads or writes.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, header};
use percent_encoding::percent_decode_str;

use super::problem::Problem;
use crate::config::plan::{Access, Limits, RequestKey, ResidencyBy, Service, Writes};
use crate::normal_path::normal;
use crate::prefix::Prefix;

/// The most fields of a head (the contract).
pub(crate) const MOST_FIELDS: usize = 100;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Refuses a head that is larger than the service takes.
pub(super) fn check_size(headers: &HeaderMap, limits: &Limits) -> Result<(), Problem> {
    // HTTP/2 may send a cookie a field, which are one (RFC 9113 §8.2.3).
    let cookies = || headers.get_all(header::COOKIE).iter().count();
    if headers.len() > MOST_FIELDS && headers.len() + 1 > MOST_FIELDS + cookies().max(1) {
        return Err(Problem::HeadersTooLarge(format!(
            "more than {MOST_FIELDS} fields"
        )));
    }
    let size: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    let over = u64::try_from(size).is_ok_and(|size| limits.headers > 0 && size > limits.headers);
    if over {
        return Err(Problem::HeadersTooLarge(format!(
            "more than {} bytes",
            limits.headers
        )));
    }
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if limits.body > 0 && length > limits.body => {
            Err(Problem::BodyTooLong(limits.body))
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether the peer's `X-Forwarded-*` is believed.
pub(super) fn is_trusted(peer: IpAddr, trusted: &[Prefix]) -> bool {
    trusted.iter().any(|prefix| prefix.contains(peer))
}

/// The client's address: the peer, or behind trusted proxies the last one that is not theirs.
pub(super) fn client(headers: &HeaderMap, peer: IpAddr, trusted: &[Prefix]) -> IpAddr {
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let mut client = peer;
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    // RFC 9110 §5.6.1.2: an element of a list may be empty.
    for hop in hops.filter(|hop| !hop.trim_ascii().is_empty()) {
        let hop = std::str::from_utf8(hop.trim_ascii());
        let Some(address) = hop.ok().and_then(hop_address) else {
            break;
        };
        client = address;
        if !is_trusted(address, trusted) {
            break;
        }
    }
    client.to_canonical()
}

/// Some write the port that they were asked from behind the address, and IPv6 in brackets.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let with_port = || hop.parse::<SocketAddr>().ok().map(|hop| hop.ip());
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address = hop.parse().ok().or_else(with_port).or_else(bracketed);
    address.map(|address: IpAddr| address.to_canonical())
}

/// Whether a request reads or writes: as the first matching intent says, else by its method. Paths that mean the same
/// do the same: the origin's own parser decodes them.
pub(crate) fn access(service: &Service, method: &Method, path: &str) -> Access {
    let intents = service
        .consistency
        .as_ref()
        .map_or(&[][..], |consistency| &consistency.intents);
    let path = match intents {
        [] => Cow::Borrowed(path),
        _ => normal(path),
    };
    let intended = intents.iter().find(|intent| {
        intent.method.as_ref().is_none_or(|m| m == method)
            && path.strip_prefix(&*intent.path).is_some_and(|rest| {
                rest.is_empty() || rest.starts_with('/') || intent.path.ends_with('/')
            })
    });
    match intended {
        Some(intent) => intent.is,
        None if is_safe(method) => Access::Read,
        None => Access::Write,
    }
}

/// RFC 9110 §9.2.1, and QUERY.
pub(super) fn is_safe(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
    ) || method.as_str() == "QUERY"
}

/// What residency goes by, if that is a field of the request. Several lines are one list (RFC 9110 §5.3).
pub(crate) fn residency(service: &Service, headers: &HeaderMap) -> Option<String> {
    let ResidencyBy::Header(name) = &service.residency.as_ref()?.by else {
        return None;
    };
    let lines = headers.get_all(name).into_iter();
    let lines: Vec<_> = lines
        .map(|line| String::from_utf8_lossy(line.as_bytes()))
        .collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

/// What the home of a write goes by.
pub(crate) fn write_key(service: &Service, parts: &Parts) -> Option<String> {
    match &service.writes {
        Writes::Home { key: by, .. } => key(by, parts),
        Writes::Nearest | Writes::Primary { .. } => None,
    }
}

/// The value of a part of the request, without percent-encoding: one key must not have two homes (RFC 3986 §2.3).
pub(super) fn key(key: &RequestKey, parts: &Parts) -> Option<String> {
    match key {
        RequestKey::Header(name) => header_value(&parts.headers, name),
        RequestKey::Cookie(name) => cookie(&parts.headers, name).map(str::to_owned),
        RequestKey::Query(name) => form_urlencoded::parse(parts.uri.query()?.as_bytes())
            .find(|(given, _)| **given == **name)
            .map(|(_, value)| value.into_owned()),
        RequestKey::Path(index) => normal(parts.uri.path())
            .split('/')
            .skip(1)
            .nth(*index)
            .filter(|segment| !segment.is_empty())
            .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned()),
    }
}

/// A header's value as text. Octets that are no UTF-8 are told apart from each other (U+0080 to U+00FF for each).
pub(super) fn header_value(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?.as_bytes();
    let text = std::str::from_utf8(value).map(str::to_owned);
    Some(text.unwrap_or_else(|_| value.iter().copied().map(char::from).collect()))
}

/// A cookie's value (RFC 6265 §5.4).
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    cookies(headers, |given| given == name).next()
}

/// Every value of a cookie: one that was set for a wider path or domain may stand before the right one.
pub(super) fn cookies(
    headers: &HeaderMap,
    is_name: impl Fn(&str) -> bool,
) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(header::COOKIE).into_iter();
    lines
        .flat_map(|line| cookie_pairs(line.as_bytes()))
        .filter_map(move |pair| {
            let (name, value) = pair.split_at_checked(memchr::memchr(b'=', pair)?)?;
            let value = std::str::from_utf8(value.get(1..)?).ok()?;
            std::str::from_utf8(name)
                .is_ok_and(&is_name)
                .then_some(value)
        })
}

/// The pairs of a line of cookies, without the blanks around them.
pub(super) fn cookie_pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let (pair, behind) = match memchr::memchr(b';', line) {
            Some(end) => (line.get(..end)?, line.get(end + 1..)),
            None => (line, None),
        };
        rest = behind;
        Some(pair.trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_cookie_is_found_among_others_however_they_are_written() {
        let found = |line: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("cookie", HeaderValue::from_static(line));
            let found = cookies(&headers, |name| name == "a").map(str::to_owned);
            found.collect::<Vec<_>>()
        };
        assert_eq!(found("a=1"), ["1"]);
        assert_eq!(found("b=0;a=1; a=2 ;c=3"), ["1", "2"]);
        assert_eq!(found("a==1;;a="), ["=1", ""]);
        assert_eq!(found("aa=1; a; b=a=1"), [""; 0]);
    }

    fn parts(uri: &str, headers: &[(&'static str, &str)]) -> Parts {
        let mut builder = http::Request::builder().uri(uri);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_hundred_fields_are_taken_and_one_more_refused() {
        let limits = Limits {
            body: 0,
            headers: 0,
            in_flight_per_region: 0,
            body_rate: 0,
        };
        let mut headers = HeaderMap::new();
        for i in 0..100 {
            headers.append(HeaderName::from_static("x"), i.into());
        }
        assert_eq!(check_size(&headers, &limits), Ok(()));
        headers.append(HeaderName::from_static("x"), 100.into());
        assert!(check_size(&headers, &limits).is_err());
    }

    #[test]
    fn the_pieces_of_a_cookie_count_as_one_field() {
        let limits = Limits {
            body: 0,
            headers: 0,
            in_flight_per_region: 0,
            body_rate: 0,
        };
        let with = |others: u32| {
            let mut headers = HeaderMap::new();
            for i in 0..others {
                headers.append(HeaderName::from_static("x"), i.into());
            }
            for _ in 0..200 {
                headers.append(header::COOKIE, HeaderValue::from_static("a=1"));
            }
            check_size(&headers, &limits).is_ok()
        };
        assert!(with(99));
        assert!(!with(100));
    }

    #[test]
    fn a_head_is_its_names_its_values_and_four_bytes_each() {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static("x-a"), "12345".parse().unwrap());
        let limits = |bytes| Limits {
            body: 0,
            headers: bytes,
            in_flight_per_region: 0,
            body_rate: 0,
        };
        assert_eq!(check_size(&headers, &limits(12)), Ok(()));
        assert!(check_size(&headers, &limits(11)).is_err());
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let trusted: Vec<Prefix> = vec!["10.0.0.0/8".parse().unwrap()];
        let forwarded = parts(
            "/",
            &[("x-forwarded-for", "1.2.3.4, 203.0.113.7, 10.0.0.9")],
        )
        .headers;
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(
            client(&forwarded, ip("10.0.0.1"), &trusted),
            ip("203.0.113.7")
        );
        assert_eq!(
            client(&forwarded, ip("198.51.100.1"), &trusted),
            ip("198.51.100.1")
        );
    }

    #[test]
    fn a_hop_may_have_a_port_or_brackets_and_an_ipv4_one_be_written_as_ipv6() {
        let trusted: Vec<Prefix> = vec!["10.0.0.0/8".parse().unwrap()];
        let told = |hops: &str| {
            let forwarded = parts("/", &[("x-forwarded-for", hops)]).headers;
            client(&forwarded, "10.0.0.1".parse().unwrap(), &trusted).to_string()
        };
        assert_eq!(told("203.0.113.7:4711"), "203.0.113.7");
        assert_eq!(told("[2001:db8::7]:4711"), "2001:db8::7");
        assert_eq!(told("[2001:db8::7]"), "2001:db8::7");
        assert_eq!(told("203.0.113.7, ::ffff:10.0.0.9"), "203.0.113.7");
        assert_eq!(told("203.0.113.7, ,10.0.0.9,"), "203.0.113.7");
        assert_eq!(told("203.0.113.7, unknown"), "10.0.0.1");
    }

    #[test]
    fn what_a_client_adds_in_no_ascii_hides_no_hop_that_a_trusted_proxy_has_told() {
        let trusted: Vec<Prefix> = vec!["10.0.0.0/8".parse().unwrap()];
        let mut forwarded = HeaderMap::new();
        for line in [&b"198.51.100.6"[..], b"\xff, 203.0.113.7", b"10.0.0.9"] {
            forwarded.append(X_FORWARDED_FOR, HeaderValue::from_bytes(line).unwrap());
        }
        let told = client(&forwarded, "10.0.0.1".parse().unwrap(), &trusted);
        assert_eq!(told.to_string(), "203.0.113.7");
    }

    #[test]
    fn a_key_is_a_header_a_cookie_a_parameter_or_a_segment() {
        let parts = parts(
            "/t/acme/x?tenant=globex",
            &[("x-tenant", "initech"), ("cookie", "a=b; tenant=hooli")],
        );
        let find = |k: RequestKey| key(&k, &parts);
        assert_eq!(
            find(RequestKey::Header(HeaderName::from_static("x-tenant"))).unwrap(),
            "initech"
        );
        assert_eq!(find(RequestKey::Cookie("tenant".into())).unwrap(), "hooli");
        assert_eq!(find(RequestKey::Query("tenant".into())).unwrap(), "globex");
        assert_eq!(find(RequestKey::Path(1)).unwrap(), "acme");
        assert_eq!(find(RequestKey::Path(9)), None);
    }

    #[test]
    fn a_key_in_a_header_may_have_any_letters_and_different_ones_stay_apart() {
        let name = HeaderName::from_static("x-tenant");
        let key_of = |value: &[u8]| {
            let mut parts = parts("/", &[]);
            let value = http::HeaderValue::from_bytes(value).unwrap();
            parts.headers.insert(name.clone(), value);
            key(&RequestKey::Header(name.clone()), &parts).unwrap()
        };
        assert_eq!(key_of("zürich".as_bytes()), "zürich");
        assert_ne!(key_of(b"z\xfcrich"), key_of(b"z\xf6rich"));
    }

    #[test]
    fn a_key_is_the_same_however_it_is_written() {
        for uri in [
            "/t/ac%6De%20x?ten%61nt=ac%6de+x",
            "/t/acme%20x?a&tenant=acme%20x",
        ] {
            let parts = parts(uri, &[]);
            assert_eq!(key(&RequestKey::Path(1), &parts).unwrap(), "acme x");
            let tenant = RequestKey::Query("tenant".into());
            assert_eq!(key(&tenant, &parts).unwrap(), "acme x");
        }
    }
}
