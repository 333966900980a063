//! The kinds of scalars: what a text must be to stand for a port, a host name, an origin and the like.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::rr::Name;

use super::plan::{OriginScheme, OriginUrl};
use super::shape::Kind;
use crate::earth::Country;
use crate::geo::is_country;
use crate::prefix::Prefix;
use crate::units::{Share, Ttl, parse_duration, parse_size};

/// Shortest secret of a key, bytes: 128 bits.
const SHORTEST_SECRET: usize = 16;

/// Shortest window of a success rate: its tenths are not shorter than a timer's ten milliseconds.
const SHORTEST_WINDOW: Duration = Duration::from_millis(100);

/// Most bytes of a body that may be kept to be sent again: each request may take as much memory.
const LARGEST_BUFFER: u64 = 16 << 20;

macro_rules! kind {
    ($name:ident, $json:literal, $example:literal, $check:expr) => {
        pub(super) static $name: Kind = Kind {
            check: $check,
            json: $json,
            example: $example,
            secret: false,
        };
    };
}

/// What is wrong with a text that is no address with a port.
fn what_it_lacks(text: &str) -> String {
    let split = text.rsplit_once(':');
    match split.filter(|(_, port)| port.parse::<u16>().is_ok()) {
        Some(("", _)) => format!(
            "`{text}` lacks an address: write 0.0.0.0{text} for every IPv4 address, [::]{text} for IPv6"
        ),
        // RFC 3986 §3.2.2.
        Some((address, port)) if address.parse::<Ipv6Addr>().is_ok() => {
            format!("`{text}` lacks the brackets of an IPv6 address: write [{address}]:{port}")
        }
        Some(_) | None => {
            format!("`{text}` is not an address with a port, such as 0.0.0.0:53 or [::]:53")
        }
    }
}

fn told<T, E: std::fmt::Display>(parsed: Result<T, E>) -> Result<(), String> {
    parsed.map(drop).map_err(|error| error.to_string())
}

fn whole(text: &str, least: u32, most: u32) -> Result<(), String> {
    let number: Option<u32> = text.parse().ok();
    number
        .filter(|number| (least..=most).contains(number))
        .map(drop)
        .ok_or_else(|| format!("`{text}` is not a whole number from {least} to {most}"))
}

kind!(TEXT, "string", "text", |text| if text.is_empty() {
    Err("it is empty".into())
} else {
    Ok(())
});
kind!(BOOL, "boolean", "true", |text| match text {
    "true" | "false" => Ok(()),
    _ => Err(format!("`{text}` is not true or false")),
});
kind!(DURATION, "string", "10s", |text| told(parse_duration(text)));
kind!(
    POSITIVE,
    "string",
    "10s",
    |text| match parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err("it must be longer than 0s".into()),
        parsed => told(parsed),
    }
);
kind!(WINDOW, "string", "10s", |text| match parse_duration(text) {
    Ok(window) if window < SHORTEST_WINDOW => Err("it must be at least 100ms".into()),
    parsed => told(parsed),
});
kind!(SIZE, "string", "64KiB", |text| told(parse_size(text)));
kind!(BUFFER, "string", "64KiB", |text| match parse_size(text) {
    Ok(size) if size > LARGEST_BUFFER => Err("it must be at most 16MiB".into()),
    parsed => told(parsed),
});
kind!(SHARE, "string", "20%", |text| told(text.parse::<Share>()));
kind!(TTL, "string", "30s", |text| told(text.parse::<Ttl>()));
kind!(COUNT, "integer", "1", |text| whole(text, 0, 1_000_000_000));
kind!(SMALL, "integer", "2", |text| whole(text, 0, 255));
kind!(NUMBER, "integer", "1", |text| whole(text, 0, 65_535));
kind!(THRESHOLD, "integer", "3", |text| whole(text, 1, 255));
kind!(RATE, "integer", "200", |text| whole(text, 1, 100_000));
kind!(PORT, "integer", "8443", |text| whole(text, 1, 65_535));
kind!(ANSWERS, "integer", "1", |text| whole(text, 1, 16));
kind!(KEY_ID, "integer", "1", |text| whole(text, 1, 255));
kind!(PREFIX, "string", "203.0.113.0/24", |text| told(
    text.parse::<Prefix>()
));
kind!(COUNTRY, "string", "JP", |text| {
    match text.parse::<Country>().map(is_country) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!(
            "`{text}` is no country's ISO 3166 code{}",
            match text {
                "UK" | "uk" => ": did you mean `GB`?",
                _ => "",
            }
        )),
        Err(error) => Err(error.to_string()),
    }
});
kind!(NAME, "string", "api.example.com", |text| parse_host(text)
    .and_then(|host| {
        if host.starts_with("*.") {
            Err(format!("`{text}` is a wildcard, and one name is expected"))
        } else {
            Ok(())
        }
    }));
kind!(ADDRESS, "string", "192.0.2.10", |text| text
    .parse::<IpAddr>()
    .map(drop)
    .map_err(|_| format!(
        "`{text}` is not an address: an IPv4 or IPv6 address such as 192.0.2.10 is expected"
    )));
kind!(
    LISTEN,
    "string",
    "0.0.0.0:53",
    |text| match text.parse::<SocketAddr>() {
        Ok(_) => Ok(()),
        Err(_) => Err(what_it_lacks(text)),
    }
);
kind!(
    LISTEN_ADMIN,
    "string",
    "127.0.0.1:9090",
    |text| match text.parse::<SocketAddr>() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!(
            "`{text}` is not an address with a port: 127.0.0.1:9090 is for this machine alone, 0.0.0.0:9090 for everybody who can reach it"
        )),
    }
);
kind!(ORIGIN, "string", "https://10.1.0.10:8443", |text| told(
    parse_origin(text)
));
kind!(HTTP_PATH, "string", "/health", |text| {
    let valid = text.starts_with('/') && text.parse::<http::uri::PathAndQuery>().is_ok();
    if valid {
        Ok(())
    } else {
        Err(format!("`{text}` is not a path: it begins with a slash"))
    }
});
kind!(
    METHOD,
    "string",
    "GET",
    |text| match text.parse::<http::Method>() {
        Ok(_) if text == text.to_uppercase() => Ok(()),
        _ => Err(format!(
            "`{text}` is not an HTTP method in capitals, such as GET"
        )),
    }
);
kind!(HEADER, "string", "X-Tenant", |text| text
    .parse::<http::HeaderName>()
    .map(drop)
    .map_err(|_| format!("`{text}` is not the name of a header")));
kind!(STATUSES, "string", "200-399", |text| parse_statuses(text)
    .map(drop)
    .ok_or_else(|| format!(
        "`{text}` is not a status or a range of them from 100 to 599, such as 200 or 200-399"
    )));
kind!(FAILURES, "string", "502", |text| parse_statuses(text)
    .filter(|range| *range.start() >= 400)
    .map(drop)
    .ok_or_else(|| format!(
        "`{text}` is not a status or a range of them from 400 to 599, such as 503 or 502-504"
    )));
kind!(
    PUBLISHED,
    "string",
    "192.0.2.10",
    |text| match text.parse::<IpAddr>() {
        Ok(_) => Ok(()),
        Err(_) => parse_alias(text).map(drop),
    }
);
kind!(HOST, "string", "api.example.com", |text| parse_host(text)
    .map(drop));

pub(super) static SECRET: Kind = Kind {
    check: |text| {
        if text.len() >= SHORTEST_SECRET {
            Ok(())
        } else {
            Err(format!(
                "a secret of at least {SHORTEST_SECRET} bytes is expected, such as `openssl rand -hex 32` prints"
            ))
        }
    },
    json: "string",
    example: "${MERIDIAN_KEY}",
    secret: true,
};

pub(super) static TOKEN: Kind = Kind {
    check: |text| {
        if text.is_empty() {
            Err("it is empty".into())
        } else {
            Ok(())
        }
    },
    json: "string",
    example: "${MERIDIAN_ADMIN_TOKEN}",
    secret: true,
};

/// `200`, `200-399`.
pub(super) fn parse_statuses(text: &str) -> Option<std::ops::RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (100 <= first && first <= last && last <= 599).then_some(first..=last)
}

/// A host name of letters, digits, hyphens and underscores, lower-cased; `*.` may stand before it.
pub(super) fn parse_host(text: &str) -> Result<String, String> {
    let refuse = |why: &str| Err(format!("`{text}` is not a host name: {why}"));
    let host = text.trim_end_matches('.').to_ascii_lowercase();
    let name = host.strip_prefix("*.").unwrap_or(&host);
    if name.is_empty() || host.len() > 253 {
        return refuse("it has from 1 to 253 characters");
    }
    if name.contains('*') {
        return refuse("a `*` may only be the whole first label, as in *.example.com");
    }
    if !name.is_ascii() {
        return refuse("write names of other scripts in their ASCII form (xn--…)");
    }
    let label_is_good = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if name.split('.').all(label_is_good) {
        Ok(host)
    } else {
        refuse("labels are 1 to 63 letters, digits and hyphens, and no hyphen at either end")
    }
}

/// The name of a load balancer that stands for a region's addresses: lower case and absolute.
pub(super) fn parse_alias(text: &str) -> Result<Name, String> {
    let refuse =
        || format!("`{text}` is neither an IP address nor a host name such as lb.example.net");
    let host = parse_host(text).map_err(|_| refuse())?;
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    match host.rsplit_once('.') {
        // RFC 3696 §2: what ends in a number is an address with a slip in it.
        Some((_, last)) if !is_number(last) && !host.starts_with('*') => {
            Name::from_ascii(format!("{host}.")).map_err(|_| refuse())
        }
        Some(_) | None => Err(refuse()),
    }
}

/// `http://`, `https://` or `h2c://` with a host and perhaps a port.
pub(super) fn parse_origin(text: &str) -> Result<OriginUrl, String> {
    let refuse = |why: &str| Err(format!("`{text}` is not an origin: {why}"));
    let Some((scheme, rest)) = text.split_once("://") else {
        return refuse("a URL such as https://10.1.0.10:8443 is expected");
    };
    let (scheme, default_port) = match scheme {
        "http" => (OriginScheme::Http, 80),
        "https" => (OriginScheme::Https, 443),
        "h2c" => (OriginScheme::H2c, 80),
        _ => return refuse("its scheme is not http, https or h2c"),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '?', '#']) {
        return refuse("it has a path; requests keep their own");
    }
    if rest.contains('@') {
        return refuse("it has a user");
    }
    let Ok(authority) = rest.parse::<http::uri::Authority>() else {
        return refuse("its host or port is not one");
    };
    let port = match (
        authority.port_u16(),
        authority.port().is_some() || rest.ends_with(':'),
    ) {
        (Some(0), _) | (None, true) => return refuse("its port is not from 1 to 65535"),
        (Some(port), _) => port,
        (None, false) => default_port,
    };
    let host = authority.host().trim_matches(['[', ']']);
    if host.is_empty() {
        return refuse("it has no host");
    }
    Ok(OriginUrl {
        scheme,
        host: host.into(),
        port,
    })
}
