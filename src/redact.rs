//! What must not stand in a log in clear: which names bear secrets, and a URI without their values.

use std::borrow::Cow;

/// What stands in the place of a secret.
pub const REDACTED: &str = "REDACTED";

/// Parts of names that bear secrets, wherever they stand in a header's or a parameter's name.
const PARTS: &[&str] = &[
    "apikey",
    "auth",
    "cookie",
    "credential",
    "jwt",
    "oidc",
    "passphrase",
    "passwd",
    "password",
    "secret",
    "session",
    "signature",
    "token",
];

/// Whole names that bear secrets: OAuth's and OpenID's code, state and assertion, signed URLs, and the
/// subprotocol in which browsers send tokens with a WebSocket.
const WHOLE: &[&str] = &[
    "assertion",
    "code",
    "key",
    "pass",
    "pin",
    "pwd",
    "secwebsocketprotocol",
    "sid",
    "sig",
    "state",
];

/// How often what is percent-encoded is decoded: a URI in a parameter of a URI in a parameter.
const DECODED: usize = 3;

/// Whether what bears this name (of a header, a cookie or a query parameter) is to be kept out of logs.
pub fn is_secret(name: &str) -> bool {
    let plain: String = percent_decoded(name)
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    WHOLE.contains(&&*plain) || PARTS.iter().any(|part| plain.contains(part))
}

/// A URI or a reference that shows no secrets: neither a user and password, nor what parameters of its query and fragment
/// say. The parameters' names stay.
pub fn uri(text: &str) -> Cow<'_, str> {
    let start = text.find(['?', '#']).unwrap_or(text.len());
    let (path, mut rest) = text.split_at(start);
    let user = userinfo(path);
    if rest.is_empty() && user.is_none() {
        return Cow::Borrowed(text);
    }
    let mut shown = match user {
        Some((before, after)) => [before, REDACTED, after].concat(),
        None => path.to_owned(),
    };
    while let Some(separator) = rest.chars().next() {
        shown.push(separator);
        rest = rest.get(separator.len_utf8()..).unwrap_or_default();
        // `;` separates parameters too (HTML 4.01 §B.2.2); OAuth's implicit grant answers in the fragment.
        let end = rest.find(['&', ';', '?', '#']).unwrap_or(rest.len());
        let (parameter, after) = rest.split_at(end);
        match parameter.split_once('=') {
            Some((name, value))
                if !value.is_empty() && (is_secret(name) || bears_secret(value)) =>
            {
                shown.extend([name, "=", REDACTED]);
            }
            None if bears_secret(parameter) => shown.push_str(REDACTED),
            Some(_) | None => shown.push_str(parameter),
        }
        rest = after;
    }
    Cow::Owned(shown)
}

/// A text in which URIs may stand, as in Link and Refresh, between blanks, quotes and angle brackets: none shows secrets.
pub fn uris(text: &str) -> String {
    let is_edge = |c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"');
    let mut shown = String::with_capacity(text.len());
    for piece in text.split_inclusive(is_edge) {
        let inner = piece.trim_end_matches(is_edge);
        shown.push_str(&uri(inner));
        shown.push_str(piece.get(inner.len()..).unwrap_or_default());
    }
    shown
}

/// What stands before and behind the user of an authority (RFC 3986 §3.2.1), which may have a password.
fn userinfo(path: &str) -> Option<(&str, &str)> {
    let slashes = match path.find("://") {
        Some(colon) => colon + 1,
        None => path.starts_with("//").then_some(0)?,
    };
    let (before, rest) = path.split_at_checked(slashes + 2)?;
    let authority = rest.split('/').next()?;
    let at = authority.rfind('@')?;
    Some((before, rest.get(at..)?))
}

/// Whether the value of a parameter, once decoded, has parameters or a URI with secrets in it.
fn bears_secret(value: &str) -> bool {
    let value = percent_decoded(value);
    let is_pair = |(name, value): (&str, &str)| !value.is_empty() && is_secret(name);
    let mut parts = value.split(['&', ';', '?', '#']);
    parts.any(|part| {
        let names = part.split('=');
        names.clone().zip(names.skip(1)).any(is_pair) || userinfo(part).is_some()
    })
}

/// What is percent-encoded, so that `%74oken` is `token` too (RFC 3986 §2.1).
fn percent_decoded(text: &str) -> Cow<'_, str> {
    let mut decoded = Cow::Borrowed(text);
    for _ in 0..DECODED {
        if !decoded.contains('%') {
            break;
        }
        decoded = Cow::Owned(decoded_once(&decoded));
    }
    decoded
}

fn decoded_once(text: &str) -> String {
    let mut bytes = text.as_bytes().iter();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(&byte) = bytes.next() {
        let rest = bytes.as_slice();
        let hex = rest.get(..2).filter(|_| byte == b'%');
        let value = hex.and_then(|hex| u8::from_str_radix(str::from_utf8(hex).ok()?, 16).ok());
        decoded.push(value.unwrap_or(byte));
        if value.is_some() {
            bytes.nth(1);
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn credentials_and_tokens_are_secret_by_their_names() {
        for name in [
            "Cookie",
            "Set-Cookie",
            "Authorization",
            "Proxy-Authorization",
            "Meridian-Token",
            "X-Api-Key",
            "api_key",
            "X-Amz-Signature",
            "access_token",
            "%61ccess_%74oken",
            "sig",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["User-Agent", "Referer", "page", "keyboard", "%", "%zz", ""] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(uri(text), expected);
    }

    #[test]
    fn a_uri_keeps_its_parameters_names_and_loses_their_secrets() {
        check("/a", "/a");
        check("/a?page=2&token=abc&x", "/a?page=2&token=REDACTED&x");
        check("/a?%74oken=abc", "/a?%74oken=REDACTED");
        check("/a?b=1;sig=2", "/a?b=1;sig=REDACTED");
        check("/cb#access_token=abc&x=1", "/cb#access_token=REDACTED&x=1");
        check("/a?token=a=b", "/a?token=REDACTED");
        check("/a?token=", "/a?token=");
        check("/token=abc", "/token=abc");
        check("/a?%2574oken=abc", "/a?%2574oken=REDACTED");
    }

    #[test]
    fn a_uri_loses_its_user_and_password() {
        check("https://u:HUNTER2@x/a@b", "https://REDACTED@x/a@b");
        check("//u:HUNTER2@x?a=b", "//REDACTED@x?a=b");
        check("https://x/a@b", "https://x/a@b");
        check("mailto:a@b", "mailto:a@b");
    }

    #[test]
    fn what_a_parameter_has_encoded_in_it_is_looked_at_too() {
        check(
            "/a?next=%2Fin%3Ftoken%3DHUNTER2&b=c",
            "/a?next=REDACTED&b=c",
        );
        check("/a?next=/in?b=c", "/a?next=/in?b=c");
        check("/a?token%3DHUNTER2", "/a?REDACTED");
        check("/a?u=https%3A%2F%2Fme%3AHUNTER2%40x%2F", "/a?u=REDACTED");
        check(
            "/a?u=%2Fin%3Fn%3D%252F%253Ftoken%253DHUNTER2",
            "/a?u=REDACTED",
        );
        check(
            "/a?u=https%3A%2F%2Fx%2F%3Fb%3Dc",
            "/a?u=https%3A%2F%2Fx%2F%3Fb%3Dc",
        );
    }

    #[test]
    fn every_uri_in_a_text_loses_its_secrets() {
        for (text, expected) in [
            (
                "</a?token=HUNTER2>; rel=next, <https://u:p@x/>; title=\"a\"",
                "</a?token=REDACTED>; rel=next, <https://REDACTED@x/>; title=\"a\"",
            ),
            ("5; url=/a?sig=HUNTER2", "5; url=/a?sig=REDACTED"),
            (
                "5;URL='https://x/?code=1'",
                "5;URL='https://x/?code=REDACTED",
            ),
            ("text/html;q=0.8, */*", "text/html;q=0.8, */*"),
        ] {
            assert_eq!(uris(text), expected);
        }
    }

    proptest! {
        #[test]
        fn no_secret_is_left_whatever_stands_around_it(before in "[^?#]{0,9}", around in "[a-z=&;?#%]{0,9}") {
            let shown = uri(&format!("{before}?{around}&token=HUNTER2&{around}")).into_owned();
            prop_assert!(!shown.contains("HUNTER2"), "{}", shown);
        }
    }
}
