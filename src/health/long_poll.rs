//! Long polls of one origin: it is asked to answer as soon as it has applied more.
//!
//! The shape is that of Consul's blocking queries: `GET PATH?after=VECTOR&wait=30s`. The connection
//! is kept from one poll to the next.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tokio::time::timeout;

use super::line::Line;
use super::probe::{BODY_BYTES, Failure, Phases, Prober, beginning_of, said_applied};
use super::target::Target;

/// How long an origin may hold a poll.
const WAIT: Duration = Duration::from_secs(30);

/// The long polls of one origin.
pub struct LongPoll {
    prober: Prober,
    target: Target,
    path: Arc<str>,
    line: Option<Line>,
}

impl LongPoll {
    /// Polls of a path of an origin. Connections are made as the prober makes them.
    pub fn new(prober: Prober, target: Target, path: Arc<str>) -> Self {
        Self {
            prober,
            target,
            path,
            line: None,
        }
    }

    /// Asks once; what the answer says of positions. Over in 30 s and twice `health.timeout`.
    pub async fn ask(&mut self, after: &str) -> Result<Option<String>, Failure> {
        let target = with_query(&self.path, after);
        if self.line.is_some() {
            match self.ask_over_line(&target).await {
                // The origin has closed the kept connection meanwhile.
                Err(Failure::Http(_)) => {}
                done => return done,
            }
        }
        let most = self.prober.check.timeout;
        let mut phases = Phases::default();
        let dialing = self.prober.dial(&self.target, &mut phases);
        self.line = timeout(most, dialing)
            .await
            .map_err(|_| Failure::Timeout(most))??;
        self.ask_over_line(&target).await
    }

    async fn ask_over_line(&mut self, target: &str) -> Result<Option<String>, Failure> {
        // Dropped with whatever goes wrong from here on.
        let Some(line) = self.line.take() else {
            return Err(Failure::Http("it speaks no HTTP".to_owned()));
        };
        let most = WAIT + self.prober.check.timeout;
        let exchange = exchange(line, &self.prober.check.host, target);
        let (line, said) = timeout(most, exchange)
            .await
            .map_err(|_| Failure::Timeout(most))??;
        self.line = line;
        Ok(said)
    }
}

/// One poll over a connection, which comes back if it can be used again.
async fn exchange(
    mut line: Line,
    host: &str,
    target: &str,
) -> Result<(Option<Line>, Option<String>), Failure> {
    let request = line.request(&Method::GET, host, target, "follow")?;
    let response = line.send(request).await?;
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        return Err(Failure::Status(status.as_u16()));
    }
    let said = said_applied(&response);
    let body = beginning_of(response.into_body(), |_| false).await?;
    let line = (body.len() < BODY_BYTES).then_some(line);
    Ok((line, said))
}

/// `/path?after=VECTOR&wait=30s`. Where epochs began is left out, since `after` is about how far. What no
/// region is called like is left out too: it would need escapes, and an origin that says it is asked again a
/// little sooner.
fn with_query(path: &str, after: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.=:/".contains(&byte);
    let entries = after.split(',').filter_map(|entry| entry.split('@').next());
    let entries = entries.filter(|entry| entry.bytes().all(is_plain));
    let after: Vec<&str> = entries.collect();
    let mut target = path.to_owned();
    let joint = if path.contains('?') { '&' } else { '?' };
    // Writing to a string cannot fail.
    let _ = write!(
        target,
        "{joint}after={}&wait={}s",
        after.join(","),
        WAIT.as_secs()
    );
    target
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, after: &str, expected: &str) {
        let target = with_query(path, after);
        assert_eq!(target, expected);
        assert!(target.parse::<http::Uri>().is_ok());
    }

    #[test]
    fn a_poll_says_what_is_known_and_how_long_it_waits() {
        check("/applied", "", "/applied?after=&wait=30s");
        check(
            "/applied",
            "eu=3:977,us-east-1=1042",
            "/applied?after=eu=3:977,us-east-1=1042&wait=30s",
        );
        check(
            "/applied?of=orders",
            "eu=16/B374D848",
            "/applied?of=orders&after=eu=16/B374D848&wait=30s",
        );
        check(
            "/applied",
            "eu=4:12@3:977,us=2",
            "/applied?after=eu=4:12,us=2&wait=30s",
        );
        check("/applied", "a b&c=1,us=2", "/applied?after=us=2&wait=30s");
    }
}
