//! What the commands say when the edge refuses or does not answer, and what would help.

use std::error::Error;

use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::Value;

use super::Failed;

/// The JSON of an answer; a refusal in the edge's own words.
pub(super) async fn read(response: Response) -> Result<Value, Failed> {
    json(of(response).await?).await
}

/// Sends and reads text; an error of the edge is told in its own words.
pub(super) async fn text(request: RequestBuilder) -> Result<String, Failed> {
    let response = request.send().await.map_err(|error| unreachable(&error))?;
    let text = of(response).await?.text().await;
    text.map_err(|error| broken_off(&error))
}

/// An answer that is none is told in the edge's own words.
pub(super) async fn of(response: Response) -> Result<Response, Failed> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let value = json(response).await?;
    Err(refused(status, &value))
}

async fn json(response: Response) -> Result<Value, Failed> {
    let status = response.status();
    let text = response.text().await;
    let text = text.map_err(|error| broken_off(&error))?;
    serde_json::from_str(&text).map_err(|_| {
        Failed(format!(
            "error: the answer ({status}) is no JSON: is this a Meridian admin address?"
        ))
    })
}

fn refused(status: StatusCode, answer: &Value) -> Failed {
    let why = answer["error"]
        .as_str()
        .map_or_else(|| answer.to_string(), str::to_owned);
    let mut message = format!("error: {why}{}", hint(status, &why, answer));
    for problem in answer["problems"].as_array().into_iter().flatten() {
        message.push_str(&format!("\n{}", place_of(problem)));
    }
    Failed(message)
}

/// A problem of the configuration, after its place if that is known.
pub(super) fn place_of(problem: &Value) -> String {
    let text = |key: &str| problem[key].as_str().unwrap_or_default();
    let place = match text("file") {
        "" => String::new(),
        file => format!("{file}:{}:{}: ", problem["line"], problem["column"]),
    };
    let line = match text("source") {
        "" => String::new(),
        line => format!("\n    {line}"),
    };
    format!("{place}{}{line}", text("message"))
}

fn hint(status: StatusCode, why: &str, answer: &Value) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => " (--admin-token or MERIDIAN_ADMIN_TOKEN gives one)",
        StatusCode::CONFLICT if answer["min_regions"].is_u64() => " (--force does it anyway)",
        StatusCode::NOT_FOUND if why.starts_with("there is no ") => {
            " (`meridian status` shows what there is)"
        }
        _ => "",
    }
}

/// No answer at all.
pub(super) fn unreachable(error: &reqwest::Error) -> Failed {
    let at = error.url().map_or_else(String::new, |url| {
        format!(" at {}://{}", url.scheme(), url.authority())
    });
    if error.is_timeout() {
        return silent(&at);
    }
    let cause = cause(error);
    let speaks = |what: &str, right: &str, wrong: &str| {
        Failed(format!(
            "error: whoever answers{at} speaks {what}: {right}:// instead of {wrong}:// may be right (--admin or MERIDIAN_ADMIN)"
        ))
    };
    if cause.contains("InvalidContentType") {
        return speaks("no TLS", "http", "https");
    }
    if cause.contains("invalid HTTP version parsed") {
        return speaks("no HTTP in clear", "https", "http");
    }
    let help = if cause.contains("UnknownIssuer") {
        "give its roots with --admin-ca"
    } else if cause.contains("CaUsedAsEndEntity") {
        "it is the certificate of a CA, which no server's may be: make one with basicConstraints=CA:FALSE"
    } else if cause.contains("invalid peer certificate") {
        "it must be valid, be of the name in --admin, and lead to a root of --admin-ca"
    } else {
        return Failed(format!(
            "error: no edge answers{at}: {cause} (say where it is with --admin or MERIDIAN_ADMIN)"
        ));
    };
    Failed(format!(
        "error: the edge{at} is not trusted: {cause} ({help})"
    ))
}

/// An answer that has begun and does not come to its end.
pub(super) fn broken_off(error: &reqwest::Error) -> Failed {
    if error.is_timeout() {
        return silent("");
    }
    Failed(format!(
        "error: the edge's answer broke off: {}",
        cause(error)
    ))
}

fn silent(at: &str) -> Failed {
    Failed(format!(
        "error: the edge{at} does not answer: it hangs, or the way to it does"
    ))
}

/// The last cause says more than the client's own words.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(status: u16, answer: &Value, expected: &str) {
        let Failed(said) = refused(StatusCode::from_u16(status).unwrap(), answer);
        assert_eq!(said, expected);
    }

    #[test]
    fn a_refusal_says_what_would_help() {
        check(
            401,
            &json!({ "error": "a token is needed" }),
            "error: a token is needed (--admin-token or MERIDIAN_ADMIN_TOKEN gives one)",
        );
        check(
            404,
            &json!({ "error": "there is no region `mars`" }),
            "error: there is no region `mars` (`meridian status` shows what there is)",
        );
        check(
            404,
            &json!({ "error": "region `a` is not drained" }),
            "error: region `a` is not drained",
        );
        check(
            409,
            &json!({ "error": "too few", "min_regions": 1, "left": [] }),
            "error: too few (--force does it anyway)",
        );
    }

    #[test]
    fn problems_stand_at_their_places() {
        let problem = json!({ "file": "a.yaml", "line": 3, "column": 1, "message": "unknown key" });
        let nowhere =
            json!({ "file": null, "line": null, "column": null, "message": "no regions" });
        check(
            422,
            &json!({ "error": "not loaded", "problems": [problem, nowhere] }),
            "error: not loaded\na.yaml:3:1: unknown key\nno regions",
        );
    }
}
