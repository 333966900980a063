//! Plays the corpus of HTTP/1.1 messages to the edge from both sides, and to nginx and HAProxy as judges.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod corpus;
mod support;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use corpus::{Back, Case, Front, Judge, Method, Reciter, Recorder, Seen};
use support::Edge;

fn edge(origin: SocketAddr) -> Edge {
    Edge::start(&format!(
        "node: {{ name: fra-1 }}
listen: {{ http: ['127.0.0.1:0'], http_mode: serve, admin: '127.0.0.1:0' }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions: {{ here: {{ origins: ['http://{origin}'] }} }}
services: {{ www: {{ hosts: [www.example.com] }} }}
"
    ))
}

/// The request behind every one of the corpus: what it smuggles, or what still has to work.
const AFTER: &[u8] = b"GET /after HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n";

/// What is wrong, all of it at once.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn check(&mut self, holds: bool, case: &Case, what: impl std::fmt::Display) {
        if !holds {
            self.0.push(format!("{} ({}): {what}", case.name, case.rfc));
        }
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        if !self.0.is_empty() && !std::thread::panicking() {
            panic!("{} faults:\n{}", self.0.len(), self.0.join("\n"));
        }
    }
}

#[test]
fn every_request_of_the_corpus_is_refused_for_good_or_reaches_the_origin_as_it_is() {
    let recorder = Recorder::start();
    let edge = edge(recorder.address);
    let mut faults = Faults::default();
    for case in corpus::cases() {
        let Some((request, expected)) = &case.front else {
            continue;
        };
        let said = corpus::say(edge.address("http"), &[&request[..], AFTER].concat());
        let said = match said {
            Ok(said) => String::from_utf8_lossy(&said).into_owned(),
            Err(error) => {
                faults.check(false, &case, error);
                continue;
            }
        };
        let seen = recorder.take();
        let is_status = |rest: &&str| rest.starts_with(|first: char| first.is_ascii_digit());
        let answers = said.split("HTTP/1.1 ").skip(1).filter(is_status).count();
        match expected {
            Front::Refused(status) => {
                let is_refused = said.starts_with(&format!("HTTP/1.1 {status} "));
                faults.check(
                    is_refused && answers == 1,
                    &case,
                    format_args!("not {status}: {said}"),
                );
                faults.check(
                    said.contains("proxy-status: "),
                    &case,
                    format_args!("no reason: {said}"),
                );
                faults.check(seen.is_empty(), &case, format_args!("seen: {seen:?}"));
            }
            Front::Passes => {
                let is_passed = said.starts_with("HTTP/1.1 200 ") && answers == 2;
                faults.check(is_passed, &case, format_args!("not passed: {said}"));
                check_seen(&case, &seen, &mut faults);
            }
        }
    }
    // Nothing came late.
    let late = recorder.take();
    assert!(late.is_empty(), "{late:?}");
}

fn check_seen(case: &Case, seen: &[Seen], faults: &mut Faults) {
    let [first, after] = seen else {
        return faults.check(false, case, format_args!("seen: {seen:?}"));
    };
    let is_same = first.line == case.line && first.body == case.body && after.line == "GET /after";
    faults.check(is_same, case, format_args!("seen: {seen:?}"));
    for (name, value) in &case.fields {
        let is_seen = first.fields.get(name) == Some(value);
        faults.check(is_seen, case, format_args!("{name} in {first:?}"));
    }
    for name in &case.absent {
        faults.check(
            !first.fields.contains_key(name),
            case,
            format_args!("{name} in {first:?}"),
        );
    }
    let has_both = ["content-length", "transfer-encoding"]
        .iter()
        .all(|name| first.fields.contains_key(*name));
    faults.check(!has_both, case, format_args!("framed twice: {first:?}"));
}

#[test]
fn every_answer_of_the_corpus_is_a_502_or_cut_off_or_reaches_the_client_as_it_is() {
    let cases = corpus::cases();
    let reciter = Reciter::start(cases.clone());
    let edge = edge(reciter.address);
    let mut faults = Faults::default();
    for (number, case) in cases.iter().enumerate() {
        let Some((_, expected)) = &case.back else {
            continue;
        };
        let answer = corpus::ask(edge.address("http"), case.asked, &format!("/case/{number}"));
        let is_as_expected = match expected {
            Back::BadGateway => {
                answer.status == 502 && answer.whole && answer.fields.contains_key("proxy-status")
            }
            // It depends on how much has come at once whether its head was passed on before.
            Back::Cut => {
                let is_cut = [0, case.status].contains(&answer.status) && !answer.whole;
                is_cut || (answer.status == 502 && answer.whole)
            }
            Back::Passes => {
                let fields = &answer.fields;
                answer.status == case.status
                    && answer.whole
                    && answer.body == case.body
                    && case
                        .fields
                        .iter()
                        .all(|(name, value)| fields.get(name) == Some(value))
            }
        };
        faults.check(is_as_expected, case, format_args!("{answer:?}"));
        // Whatever it was, the next request has its own answer, and not on this connection.
        let next = corpus::ask(edge.address("http"), Method::Get, &format!("/own/{number}"));
        let own = format!("own {number}");
        faults.check(
            next.body == own.as_bytes(),
            case,
            format_args!("next: {next:?}"),
        );
        let is_spent = *expected != Back::Passes || case.once;
        let reused = reciter.reused();
        faults.check(
            !is_spent || !reused.contains(&case.name),
            case,
            "the connection was used again",
        );
    }
}

#[test]
fn what_an_origin_sends_unasked_is_not_the_next_answer() {
    let answer = |body: &str| {
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
    };
    let (go, due) = mpsc::channel::<()>();
    let (ended, end) = mpsc::channel();
    let due = Arc::new(Mutex::new(due));
    let origin = support::raw_origin(move |mut stream, head| {
        let target = head.split(' ').nth(1).unwrap();
        let _ = stream.get_mut().write_all(&answer(target));
        if target == "/first" {
            due.lock().unwrap().recv().unwrap();
            let _ = stream.get_mut().write_all(&answer("poison"));
            let mut more = Vec::new();
            let _ = stream.read_to_end(&mut more);
            ended.send(more).unwrap();
        }
    });
    let edge = edge(origin);
    let ask = |target| corpus::ask(edge.address("http"), Method::Get, target).body;
    assert_eq!(ask("/first"), b"/first");
    go.send(()).unwrap();
    let more = end.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(more.is_empty(), "the connection was used again");
    assert_eq!(ask("/second"), b"/second");
}

/// Checks a judge's word on a case against ours and the corpus. A reason that is no longer needed is no fault:
/// judges get stricter from version to version.
fn compare(
    case: &Case,
    side: &str,
    judge: &Judge,
    refuses: bool,
    we_refuse: bool,
    faults: &mut Faults,
) {
    let verb = |refuses: bool| if refuses { "refuses" } else { "takes" };
    let reason = case.difference(side, judge.name);
    let they = verb(refuses);
    let we = verb(we_refuse);
    faults.check(
        refuses == we_refuse || reason.is_some(),
        case,
        format_args!(
            "{side}-{} {they} what the edge {we}; the corpus: {reason:?}",
            judge.name
        ),
    );
}

/// Whether each judge refuses each case, in the order of the corpus; none where it has no such side.
fn front_verdicts(judge: &Judge, recorder: &Recorder, cases: &[Case]) -> Vec<Option<bool>> {
    let verdict = |case: &Case| {
        let (request, _) = case.front.as_ref()?;
        let _ = corpus::say(judge.address, &[&request[..], AFTER].concat());
        Some(recorder.take().is_empty())
    };
    cases.iter().map(verdict).collect()
}

/// Several at once: where a judge waits for more, it waits until its time-out.
fn back_verdicts(judge: &Judge, cases: &[Case]) -> Vec<Option<bool>> {
    let verdict = |number: usize, case: &Case| {
        case.back.as_ref()?;
        let answer = corpus::ask(judge.address, case.asked, &format!("/case/{number}"));
        Some(!answer.whole || answer.status == 502)
    };
    let share = cases.len().div_ceil(48);
    std::thread::scope(|scope| {
        let part = |(part, cases): (usize, &[Case])| {
            let numbered = (part * share..).zip(cases.to_vec());
            scope.spawn(move || {
                numbered
                    .map(|(number, case)| verdict(number, &case))
                    .collect()
            })
        };
        let parts: Vec<_> = cases.chunks(share).enumerate().map(part).collect();
        let done = parts.into_iter().map(|part| part.join().unwrap());
        done.collect::<Vec<Vec<_>>>().concat()
    })
}

/// Compares with both judges; what both refuse has no excuse.
fn compare_all(
    side: &str,
    cases: &[Case],
    we_refuse: impl Fn(&Case) -> Option<bool>,
    verdicts: &[(&Judge, Vec<Option<bool>>); 2],
) {
    let mut faults = Faults::default();
    for (number, case) in cases.iter().enumerate() {
        let Some(we_refuse) = we_refuse(case) else {
            continue;
        };
        for (judge, verdicts) in verdicts {
            let refuses = verdicts[number].unwrap();
            compare(case, side, judge, refuses, we_refuse, &mut faults);
        }
        let both = verdicts
            .iter()
            .all(|(_, verdicts)| verdicts[number] == Some(true));
        faults.check(
            we_refuse || !both,
            case,
            "both judges refuse what the edge takes",
        );
    }
}

#[test]
fn what_both_judges_refuse_in_requests_is_refused_and_every_difference_has_its_reason() {
    let cases = corpus::cases();
    let (recorder_1, recorder_2) = (Recorder::start(), Recorder::start());
    let (nginx, haproxy) = (
        corpus::nginx(recorder_1.address),
        corpus::haproxy(recorder_2.address),
    );
    let verdicts = std::thread::scope(|scope| {
        let of_nginx = scope.spawn(|| front_verdicts(&nginx, &recorder_1, &cases));
        let of_haproxy = front_verdicts(&haproxy, &recorder_2, &cases);
        [(&nginx, of_nginx.join().unwrap()), (&haproxy, of_haproxy)]
    });
    let we_refuse = |case: &Case| Some(case.front.as_ref()?.1 != Front::Passes);
    compare_all("front", &cases, we_refuse, &verdicts);
}

#[test]
fn what_both_judges_refuse_in_answers_is_refused_and_every_difference_has_its_reason() {
    let cases = corpus::cases();
    let reciter = Reciter::start(cases.clone());
    let (nginx, haproxy) = (
        corpus::nginx(reciter.address),
        corpus::haproxy(reciter.address),
    );
    let verdicts = std::thread::scope(|scope| {
        let of_nginx = scope.spawn(|| back_verdicts(&nginx, &cases));
        let of_haproxy = back_verdicts(&haproxy, &cases);
        [(&nginx, of_nginx.join().unwrap()), (&haproxy, of_haproxy)]
    });
    let we_refuse = |case: &Case| Some(case.back.as_ref()?.1 != Back::Passes);
    compare_all("back", &cases, we_refuse, &verdicts);
}

#[test]
fn the_corpus_is_large_and_its_cases_have_names_of_their_own() {
    let cases = corpus::cases();
    let fronts = cases.iter().filter(|case| case.front.is_some()).count();
    let backs = cases.iter().filter(|case| case.back.is_some()).count();
    assert!(fronts >= 150 && backs >= 150, "{fronts} and {backs}");
    let names: std::collections::BTreeSet<_> = cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), cases.len());
}
