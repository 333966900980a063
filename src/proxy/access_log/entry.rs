//! What one request's line says, and how it is written. Pure.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Version};

use super::json::{Object, line};
use crate::clock;
use crate::config::plan::Access;
use crate::proxy::connection::{Connection, Tls};
use crate::proxy::interim::Interim;

/// The most tries that a line lists; a read that waits for a region may ask it many times.
pub(super) const MOST_TRIES: usize = 16;

/// All that a line says. Times count from when the head of the request had arrived.
#[derive(Clone, Default)]
pub(super) struct Entry {
    /// Milliseconds since 1970.
    pub(super) began_ms: u64,
    pub(super) node: Arc<str>,
    pub(super) connection: Option<Arc<Connection>>,
    /// Who knows why the stream of the request was reset, if it was.
    pub(super) interim: Option<Interim>,
    pub(super) client: Option<IpAddr>,
    pub(super) head: Option<Head>,
    pub(super) request_id: String,
    pub(super) trace_id: Option<String>,
    pub(super) span_id: Option<String>,
    pub(super) service: Option<Arc<str>>,
    pub(super) access: Option<Access>,
    pub(super) decision: Option<Decided>,
    pub(super) affinity: Option<&'static str>,
    pub(super) consistency: Option<&'static str>,
    /// The region that answered.
    pub(super) region: Option<Arc<str>>,
    pub(super) status: Option<u16>,
    pub(super) response_headers: Logged,
    pub(super) tries: Vec<Try>,
    /// Those that are not in the list, too.
    pub(super) tries_made: u64,
    pub(super) times: Times,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    pub(super) end: End,
}

/// Headers that the configuration wants logged, by name.
pub(super) type Logged = Vec<(HeaderName, Option<String>)>;

/// What the head of a request says.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) version: Version,
    pub(super) method: http::Method,
    pub(super) host: Option<String>,
    /// With as much of the query as is to be logged.
    pub(super) path: String,
    pub(super) headers: Logged,
}

/// What steering decided for the region that answered, or would have been asked first.
#[derive(Clone, Debug)]
pub(super) struct Decided {
    pub(super) verdict: &'static str,
    pub(super) rule: Option<&'static str>,
    pub(super) reason: String,
}

/// One try of one origin.
#[derive(Clone, Debug)]
pub(super) struct Try {
    /// Which of all tries.
    pub(super) number: u64,
    pub(super) region: Arc<str>,
    pub(super) origin: Option<Arc<str>>,
    /// `answered`, the name of the problem, or `given-up`.
    pub(super) result: &'static str,
    pub(super) detail: Option<String>,
    pub(super) status: Option<u16>,
    pub(super) began: Duration,
    pub(super) took: Option<Duration>,
    /// Whether the connection was kept from an earlier request; none: there was none.
    pub(super) was_kept: Option<bool>,
    pub(super) connect: Duration,
    pub(super) tls: Duration,
}

/// When what was done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    /// From the first byte of the head to its last; none: HTTP/2.
    pub(super) head: Option<Duration>,
    pub(super) decided: Option<Duration>,
    /// When the body was there that may have to be sent twice.
    pub(super) ready: Option<Duration>,
    pub(super) answered: Option<Duration>,
    pub(super) ended: Duration,
}

/// How a request ended, and who ended it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) how: &'static str,
    pub(super) by: &'static str,
    pub(super) detail: Option<String>,
}

impl Default for End {
    /// What nobody ended has lost its client.
    fn default() -> Self {
        Self::of("client-closed", "client")
    }
}

impl End {
    pub(super) const fn of(how: &'static str, by: &'static str) -> Self {
        Self {
            how,
            by,
            detail: None,
        }
    }

    fn is_completed(&self) -> bool {
        self.how == "completed"
    }
}

impl Entry {
    /// Whether it is of the ordinary, so that a sample of its kind is enough.
    pub(super) fn went_well(&self) -> bool {
        self.end.is_completed() && self.status.is_some_and(|status| status < 500)
    }

    /// The line, with its line feed. Every line has every key.
    pub(super) fn to_line(&self) -> Vec<u8> {
        line(|line| {
            self.write_request(line);
            self.write_outcome(line);
            self.write_phases(line);
            line.list("attempts", &self.tries, write_try);
            line.number("attempts_made", self.tries_made);
            let tls = self.connection.as_ref().and_then(|c| c.tls.as_ref());
            line.maybe("tls", tls, write_tls);
            let head = self.head.as_ref();
            line.object("request_headers", |headers| {
                write_headers(headers, head.map_or(&[], |head| &head.headers));
            });
            line.object("response_headers", |headers| {
                write_headers(headers, &self.response_headers);
            });
        })
    }

    fn write_request(&self, line: &mut Object<'_>) {
        let (head, connection) = (self.head.as_ref(), self.connection.as_ref());
        line.text("time", &*clock::rfc3339(self.began_ms));
        line.text("node", &*self.node);
        let client = self.client.map(|client| client.to_string());
        line.text("client", client.as_deref());
        let peer = connection.map(|connection| connection.peer.to_string());
        line.text("peer", peer.as_deref());
        line.text("protocol", head.map(|head| protocol(head.version)));
        line.text(
            "scheme",
            connection.map(|connection| connection.face.scheme()),
        );
        line.text("method", head.map(|head| head.method.as_str()));
        line.text("host", head.and_then(|head| head.host.as_deref()));
        line.text("path", head.map(|head| &*head.path));
        line.text("request_id", &*self.request_id);
        line.text("trace_id", self.trace_id.as_deref());
        line.text("span_id", self.span_id.as_deref());
    }

    fn write_outcome(&self, line: &mut Object<'_>) {
        line.number("status", self.status.map(u64::from));
        line.text("termination", self.end.how);
        line.text("ended_by", self.end.by);
        line.text("detail", self.end.detail.as_deref());
        line.text("service", self.service.as_deref());
        line.text("region", self.region.as_deref());
        let answering = self.tries.last().filter(|_| self.region.is_some());
        let origin = answering.and_then(|tried| tried.origin.as_deref());
        line.text("origin", origin);
        let access = self.access.map(|access| match access {
            Access::Read => "read",
            Access::Write => "write",
        });
        line.text("access", access);
        line.maybe("decision", self.decision.as_ref(), |object, decided| {
            object.text("verdict", decided.verdict);
            object.text("rule", decided.rule);
            object.text("reason", &*decided.reason);
        });
        line.text("affinity", self.affinity);
        line.text("consistency", self.consistency);
        line.number("request_bytes", self.request_bytes);
        line.number("response_bytes", self.response_bytes);
    }

    /// Phases follow each other, so that all after the head add up to the whole. Those that were not
    /// reached are null.
    fn write_phases(&self, line: &mut Object<'_>) {
        let times = &self.times;
        line.ms("duration_ms", times.ended);
        let last = self.tries.last();
        let ready = times.ready;
        line.object("phases", |phases| {
            let since = |later: Option<Duration>, earlier: Option<Duration>| {
                Some(later?.saturating_sub(earlier?))
            };
            phases.ms("head_ms", times.head);
            phases.ms("decide_ms", times.decided);
            phases.ms("request_body_ms", since(ready, times.decided));
            let before = since(last.map(|last| last.began), ready);
            let behind = self.waited_behind_last_try();
            phases.ms("wait_ms", before.map(|before| before + behind));
            phases.ms("connect_ms", last.map(|last| last.connect));
            phases.ms("tls_ms", last.map(|last| last.tls));
            let sent = last.map(|last| last.began + last.connect + last.tls);
            let first_byte = since(times.answered, sent);
            phases.ms(
                "first_byte_ms",
                first_byte.map(|all| all.saturating_sub(behind)),
            );
            phases.ms("response_body_ms", since(Some(times.ended), times.answered));
        });
    }

    /// How long after the end of the last try the edge answered for itself.
    fn waited_behind_last_try(&self) -> Duration {
        let last = self.tries.last().filter(|_| self.region.is_none());
        let ended = last.and_then(|last| Some(last.began + last.took?));
        let waited = self.times.answered.zip(ended);
        waited.map_or(Duration::ZERO, |(answered, ended)| {
            answered.saturating_sub(ended)
        })
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

fn write_try(object: &mut Object<'_>, tried: &Try) {
    object.text("region", &*tried.region);
    object.text("origin", tried.origin.as_deref());
    object.text("result", tried.result);
    object.number("status", tried.status.map(u64::from));
    object.text("detail", tried.detail.as_deref());
    object.ms("began_ms", tried.began);
    object.ms("duration_ms", tried.took);
    let connection = tried.was_kept.map(|kept| if kept { "kept" } else { "new" });
    object.text("connection", connection);
    object.ms("connect_ms", tried.connect);
    object.ms("tls_ms", tried.tls);
}

fn write_tls(object: &mut Object<'_>, tls: &Tls) {
    object.text("version", tls.version.as_deref());
    object.text("cipher", tls.cipher.as_deref());
    object.text("sni", tls.sni.as_deref());
    object.text("alpn", tls.alpn.as_deref());
    object.truth("resumed", tls.is_resumed);
    object.ms("handshake_ms", tls.handshake);
}

fn write_headers(object: &mut Object<'_>, headers: &[(HeaderName, Option<String>)]) {
    for (name, value) in headers {
        object.text(name.as_str(), value.as_deref());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    fn tried(began: u64, connect: u64, tls: u64) -> Try {
        Try {
            number: 1,
            region: "eu".into(),
            origin: Some("https://10.0.0.1".into()),
            result: "answered",
            detail: None,
            status: Some(200),
            began: ms(began),
            took: Some(ms(50)),
            was_kept: Some(false),
            connect: ms(connect),
            tls: ms(tls),
        }
    }

    fn written(entry: &Entry) -> Value {
        serde_json::from_slice(&entry.to_line()).unwrap()
    }

    #[test]
    fn the_phases_after_the_head_add_up_to_the_whole() {
        let entry = Entry {
            region: Some("eu".into()),
            tries: vec![tried(5, 90, 0), tried(100, 20, 30)],
            times: Times {
                head: Some(ms(7)),
                decided: Some(ms(1)),
                ready: Some(ms(3)),
                answered: Some(ms(200)),
                ended: ms(260),
            },
            ..Entry::default()
        };
        let line = written(&entry);
        let sum: f64 = [
            ("decide_ms", 1.0),
            ("request_body_ms", 2.0),
            ("wait_ms", 97.0),
            ("connect_ms", 20.0),
            ("tls_ms", 30.0),
            ("first_byte_ms", 50.0),
            ("response_body_ms", 60.0),
        ]
        .map(|(phase, expected)| {
            assert_eq!(line["phases"][phase], expected, "{phase}");
            expected
        })
        .iter()
        .sum();
        assert_eq!((line["duration_ms"].as_f64(), sum), (Some(260.0), 260.0));
        assert_eq!(line["phases"]["head_ms"], 7.0);
    }

    #[test]
    fn what_a_read_waited_for_in_vain_is_no_slow_origin() {
        let entry = Entry {
            tries: vec![tried(5, 0, 0)],
            times: Times {
                ready: Some(ms(3)),
                decided: Some(ms(1)),
                answered: Some(ms(555)),
                ended: ms(556),
                ..Times::default()
            },
            ..Entry::default()
        };
        let phases = &written(&entry)["phases"];
        assert_eq!(
            (&phases["wait_ms"], &phases["first_byte_ms"]),
            (&502.0.into(), &50.0.into())
        );
        let entry = Entry {
            region: Some("eu".into()),
            ..entry
        };
        assert_eq!(written(&entry)["phases"]["wait_ms"], 2.0, "its own answer");
    }

    #[test]
    fn every_line_has_every_key() {
        let keys = |entry: &Entry| -> Vec<String> {
            written(entry)
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect()
        };
        let full = Entry {
            region: Some("eu".into()),
            tries: vec![tried(0, 0, 0)],
            decision: Some(Decided {
                verdict: "steered",
                rule: None,
                reason: String::new(),
            }),
            ..Entry::default()
        };
        assert_eq!(keys(&Entry::default()), keys(&full));
        assert_eq!(written(&full)["origin"], "https://10.0.0.1");
    }

    #[test]
    fn only_what_was_answered_whole_and_without_a_5xx_went_well() {
        let of = |status, end| Entry {
            status,
            end,
            ..Entry::default()
        };
        let completed = || End::of("completed", "origin");
        assert!(of(Some(404), completed()).went_well());
        assert!(!of(Some(500), completed()).went_well());
        assert!(!of(Some(200), End::default()).went_well());
        assert!(!of(None, completed()).went_well());
    }
}
