//! Paths that mean the same, written alike (RFC 3986 §6.2.2): `/%6Cogout` and `/a/../logout` are `/logout`.

use std::borrow::Cow;

/// A path in its normal form: characters that need no percent-encoding are without it, digits of the others are upper case, and
/// there are no dot segments.
///
/// What RFC 3986 §6.2.2 leaves apart stays apart: upper and lower case, `//` and `/`, `%2F` and `/`.
pub fn normal(path: &str) -> Cow<'_, str> {
    let path = if path.contains('%') {
        Cow::Owned(without_needless_encoding(path))
    } else {
        Cow::Borrowed(path)
    };
    if path.contains("/.") {
        Cow::Owned(without_dot_segments(&path))
    } else {
        path
    }
}

/// RFC 3986 §6.2.2.1 and §6.2.2.2. A `%` without two digits behind it is encoded itself, so that it begins nothing with what is decoded.
fn without_needless_encoding(path: &str) -> String {
    let mut normal = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, behind)) = rest.split_once('%') {
        normal.push_str(before);
        let encoded = behind.split_at_checked(2).and_then(|(digits, behind)| {
            let is_encoded = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            let byte = u8::from_str_radix(digits, 16).ok()?;
            is_encoded.then_some((char::from(byte), digits, behind))
        });
        rest = match encoded {
            Some((plain, _, behind)) if is_unreserved(plain) => {
                normal.push(plain);
                behind
            }
            Some((_, digits, behind)) => {
                normal.push('%');
                normal.push_str(&digits.to_ascii_uppercase());
                behind
            }
            None => {
                normal.push_str("%25");
                behind
            }
        };
    }
    normal.push_str(rest);
    normal
}

/// RFC 3986 §2.3.
fn is_unreserved(plain: char) -> bool {
    plain.is_ascii_alphanumeric() || matches!(plain, '-' | '.' | '_' | '~')
}

/// RFC 3986 §5.2.4, of a path that begins with a slash.
fn without_dot_segments(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut is_open = false;
    for segment in path.split('/').skip(1) {
        is_open = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    if is_open {
        segments.push("");
    }
    let slashed = segments.iter().flat_map(|segment| ["/", segment]);
    slashed.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_means_the_same_is_written_alike() {
        for (path, expected) in [
            ("/logout", "/logout"),
            ("/%6Cogout", "/logout"),
            ("/%6cog%6Fut/x", "/logout/x"),
            ("/%7Euser/%2D%5f%2e.x", "/~user/-_..x"),
            ("/a/../logout", "/logout"),
            ("/a/%2e%2E/./logout", "/logout"),
            ("/../../logout", "/logout"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/.", "/"),
            ("/..well-known/.x", "/..well-known/.x"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/a%", "/a%25"),
            ("/a%6", "/a%256"),
            ("/a%zz%+1", "/a%25zz%25+1"),
            ("/%4%35", "/%2545"),
        ] {
            assert_eq!(normal(path), expected, "{path}");
        }
    }

    #[test]
    fn what_the_standard_leaves_apart_stays_apart() {
        for path in ["/a%2Fb", "/Logout", "//logout", "/a%25", "*", ""] {
            assert_eq!(normal(path), path);
        }
    }

    #[test]
    fn a_path_that_is_in_its_normal_form_is_not_copied() {
        assert!(matches!(normal("/kv/a.b"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn any_path_has_one_normal_form(path in "/([a-zA./%2-6é]|%2[eEfF]|%6[cC]){0,20}") {
            let once = normal(&path).into_owned();
            prop_assert_eq!(normal(&once), once.as_str());
        }

        #[test]
        fn encoding_what_needs_none_changes_nothing(path in "/[a-z./-]{0,12}") {
            let encode = |plain: char| match plain {
                '/' => "/".to_owned(),
                _ => format!("%{:02x}", u32::from(plain)),
            };
            let encoded: String = path.chars().map(encode).collect();
            prop_assert_eq!(normal(&encoded), normal(&path));
        }
    }
}
