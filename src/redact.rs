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

/// Whether what bears this name (of a header, a cookie or a query parameter) is to be kept out of logs.
pub fn is_secret(name: &str) -> bool {
    let plain: String = percent_decoded(name)
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    WHOLE.contains(&&*plain) || PARTS.iter().any(|part| plain.contains(part))
}

/// A URI or a reference whose query and fragment show no secrets: the parameters' names stay.
pub fn uri(text: &str) -> Cow<'_, str> {
    let Some(start) = text.find(['?', '#']) else {
        return Cow::Borrowed(text);
    };
    let (path, rest) = text.split_at(start);
    let mut shown = path.to_owned();
    let mut rest = rest;
    while let Some(separator) = rest.chars().next() {
        shown.push(separator);
        rest = rest.get(separator.len_utf8()..).unwrap_or_default();
        // `;` separates parameters too (HTML 4.01 §B.2.2); OAuth's implicit grant answers in the fragment.
        let end = rest.find(['&', ';', '?', '#']).unwrap_or(rest.len());
        let (parameter, after) = rest.split_at(end);
        match parameter.split_once('=') {
            Some((name, value)) if !value.is_empty() && is_secret(name) => {
                shown.extend([name, "=", REDACTED]);
            }
            Some(_) | None => shown.push_str(parameter),
        }
        rest = after;
    }
    Cow::Owned(shown)
}

/// Names may be percent-encoded, so that `%74oken` is `token` too (RFC 3986 §2.1).
fn percent_decoded(name: &str) -> Cow<'_, str> {
    if !name.contains('%') {
        return Cow::Borrowed(name);
    }
    let mut bytes = name.as_bytes().iter();
    let mut decoded = Vec::with_capacity(name.len());
    while let Some(&byte) = bytes.next() {
        let rest = bytes.as_slice();
        let hex = rest.get(..2).filter(|_| byte == b'%');
        let value = hex.and_then(|hex| u8::from_str_radix(str::from_utf8(hex).ok()?, 16).ok());
        decoded.push(value.unwrap_or(byte));
        if value.is_some() {
            bytes.nth(1);
        }
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
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
    }

    proptest! {
        #[test]
        fn no_secret_is_left_whatever_stands_around_it(before in "[^?#]{0,9}", around in "[a-z=&;?#%]{0,9}") {
            let shown = uri(&format!("{before}?{around}&token=HUNTER2&{around}")).into_owned();
            prop_assert!(!shown.contains("HUNTER2"), "{}", shown);
        }
    }
}
