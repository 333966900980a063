//! What stands in the URL of a call: the name in its path, and what is behind the `?`.

use axum::body::Bytes;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::Uri;
use axum::http::request::Parts;

use super::writes::{Refused, bad};

/// The parameters of a call. One that it does not know is refused, and one that is given twice: who asks for less than
/// what would be done or told must not get that.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn of(uri: &Uri, known: &[&str]) -> Result<Self, Refused> {
        Self::with_repeated(uri, known, None)
    }

    /// As [`Self::of`], where one of them may be given more than once.
    pub(super) fn with_repeated(
        uri: &Uri,
        known: &[&str],
        repeated: Option<&str>,
    ) -> Result<Self, Refused> {
        let query = Query::<Vec<(String, String)>>::try_from_uri(uri);
        let Query(query) = query.map_err(|error| bad(error.to_string()))?;
        for (at, (key, _)) in query.iter().enumerate() {
            if !known.contains(&key.as_str()) {
                let known = if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                };
                return Err(bad(format!("unknown parameter `{key}`: expected {known}")));
            }
            let may_repeat = repeated == Some(key);
            if !may_repeat && query.iter().take(at).any(|(before, _)| before == key) {
                return Err(bad(format!("`{key}` is given twice")));
            }
        }
        Ok(Self(query))
    }

    fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        let given = self.0.iter().filter(move |(given, _)| given == key);
        given.map(|(_, value)| value.as_str())
    }

    /// The values of one, but for empty ones.
    pub(super) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.values(key).filter(|value| !value.is_empty())
    }

    /// The value of one, unless it is empty.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        self.all(key).next().map(str::to_owned)
    }

    /// Whether nothing is to be changed.
    pub(super) fn asks_for_dry_run(self) -> Result<bool, Refused> {
        match self.values("dry_run").next() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(bad("`dry_run` must be true or false")),
        }
    }

    /// The service of what is undone; those calls have no body that could name another.
    pub(super) fn service_undone(uri: &Uri, body: &Bytes) -> Result<Option<String>, Refused> {
        refuse_body(body, "one service is named by `?service=NAME`")?;
        let given = Self::of(uri, &["service"])?;
        Ok(given.values("service").next().map(str::to_owned))
    }
}

/// Refuses what a call that takes no body was given, and tells what to do instead.
pub(super) fn refuse_body(body: &Bytes, instead: &str) -> Result<(), Refused> {
    if matches!(body.trim_ascii(), b"" | b"{}") {
        return Ok(());
    }
    Err(bad(format!("this call takes no body: {instead}")))
}

/// The name at the end of a path.
pub(super) struct InPath(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for InPath {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let name = Path::from_request_parts(parts, state).await;
        let refused = |_| bad("the name in the path is not UTF-8 as RFC 3986 §2.5 encodes it");
        name.map(|Path(name)| Self(name)).map_err(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(query: &str) -> Uri {
        format!("/api/v1/drains/eu?{query}").parse().unwrap()
    }

    fn why(refused: Refused) -> String {
        refused.1.0["error"].as_str().unwrap().to_owned()
    }

    #[test]
    fn who_asks_for_a_look_ahead_or_for_one_service_gets_no_more_than_that() {
        for (query, expected) in [
            ("", Ok(false)),
            ("dry_run=true", Ok(true)),
            ("dry_run=false", Ok(false)),
            ("dry_run=yes", Err("`dry_run` must be true or false")),
            (
                "dry_run=true&dry_run=false",
                Err("`dry_run` is given twice"),
            ),
            (
                "dryrun=true",
                Err("unknown parameter `dryrun`: expected dry_run"),
            ),
        ] {
            let read =
                Parameters::of(&uri(query), &["dry_run"]).and_then(Parameters::asks_for_dry_run);
            assert_eq!(
                read.map_err(why),
                expected.map_err(str::to_owned),
                "{query}"
            );
        }
        for (query, body, expected) in [
            ("", "", Ok(None)),
            ("", " {}", Ok(None)),
            ("service=www", "", Ok(Some("www".to_owned()))),
            (
                "servce=www",
                "",
                Err("unknown parameter `servce`: expected service"),
            ),
            (
                "dry_run=true",
                "",
                Err("unknown parameter `dry_run`: expected service"),
            ),
            (
                "",
                "{\"service\": \"www\"}",
                Err("this call takes no body: one service is named by `?service=NAME`"),
            ),
        ] {
            let read =
                Parameters::service_undone(&uri(query), &Bytes::from_static(body.as_bytes()));
            assert_eq!(
                read.map_err(why),
                expected.map_err(str::to_owned),
                "{query} {body}"
            );
        }
        let forced = Parameters::of(&uri("dry_run=true"), &[]);
        assert_eq!(
            forced.err().map(why).unwrap(),
            "unknown parameter `dry_run`: expected none"
        );
    }
}
