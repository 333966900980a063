//! `meridian lab COMMAND`, from the other terminal's call to its effect.

use tokio::net::TcpListener;

use super::*;
use crate::lab::berth::Berth;
use crate::lab::conditions::Skew;
use crate::lab::control::{Command, send, state};
use crate::lab::replica::Rewind;

async fn controlled() -> (Bench, SocketAddr) {
    let bench = bench().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let control = listener.local_addr().unwrap();
    bench.lab.serve_control(listener);
    (bench, control)
}

fn kill(region: &str) -> Command {
    Command::Kill(region.to_owned())
}

fn restore(region: &str) -> Command {
    Command::Restore(region.to_owned())
}

fn partition(one: &str, other: &str) -> Command {
    Command::Partition(one.to_owned(), other.to_owned())
}

fn lag(region: &str, lag: Duration) -> Command {
    Command::Lag(region.to_owned(), lag)
}

#[tokio::test]
async fn says_what_was_done() {
    let (_bench, control) = controlled().await;
    let check = async |command: Command, sentence: &str| {
        assert_eq!(send(control, command).await.unwrap(), sentence);
    };
    check(
        kill("eu"),
        "eu is down; `meridian lab restore eu` brings it back",
    )
    .await;
    check(kill("eu"), "eu was down already").await;
    check(
        restore("eu"),
        "eu is up again, with the data it had, and catches up",
    )
    .await;
    check(restore("eu"), "eu was up already").await;
    let lagging = "eu applies the other regions' writes 500 ms after their commit";
    check(lag("eu", Duration::from_millis(500)), lagging).await;
    check(
        partition("us", "eu"),
        "nothing passes between us and eu until `meridian lab heal`",
    )
    .await;
    check(partition("eu", "us"), "eu and us were parted already").await;
    check(
        Command::Heal,
        "every partition is healed; what was held up flows",
    )
    .await;
    check(Command::Heal, "there was no partition").await;
}

#[tokio::test]
async fn says_what_was_done_to_clocks_links_and_stores() {
    let (_bench, control) = controlled().await;
    let check = async |command: Command, sentence: &str| {
        assert_eq!(send(control, command).await.unwrap(), sentence);
    };
    let eu = || "eu".to_owned();
    check(
        Command::LagOf("us".to_owned(), eu(), Duration::from_millis(500)),
        "eu applies the writes of us 500 ms after their commit",
    )
    .await;
    let slow = Skew::Behind(Duration::from_secs(2));
    let skewed = "the clock of eu is -2000 ms from the time of day";
    check(Command::Skew(eu(), slow), skewed).await;
    let right = Skew::Ahead(Duration::ZERO);
    check(Command::Skew(eu(), right), "the clock of eu is right").await;
    check(
        Command::Backup(eu()),
        "eu is backed up at eu=0; `meridian lab rewind eu` goes back to it",
    )
    .await;
    check(
        Command::Rewind(eu(), Rewind::NewEpoch),
        "eu is back at its backup in a new epoch: eu=1:0@0:0",
    )
    .await;
    check(
        Command::Rewind(eu(), Rewind::Silent),
        "eu is back at its backup and does not say so: eu=0",
    )
    .await;
    check(
        Command::Flush(eu(), Duration::from_secs(1)),
        "eu flushes to its disk every 1000 ms; a crash takes what it acknowledged since",
    )
    .await;
    check(
        Command::Crash(eu(), Rewind::Silent),
        "eu crashed, lost 0 acknowledged write(s) of its own, and is back at eu=0",
    )
    .await;
    check(
        Command::Flush(eu(), Duration::ZERO),
        "eu flushes each write to its disk before it acknowledges it",
    )
    .await;
}

#[tokio::test]
async fn says_why_nothing_was_done() {
    let (_bench, control) = controlled().await;
    let check = async |command: Command, sentence: &str| {
        assert_eq!(
            send(control, command).await.unwrap_err().to_string(),
            sentence
        );
    };
    let unknown = "no region `mars` in this lab; it has us, eu, ap";
    check(kill("mars"), unknown).await;
    check(restore("mars"), unknown).await;
    check(lag("mars", Duration::ZERO), unknown).await;
    check(partition("us", "mars"), unknown).await;
    check(
        kill("a/b?c"),
        "no region `a/b?c` in this lab; it has us, eu, ap",
    )
    .await;
    check(
        partition("us", "us"),
        "`us` cannot be parted from itself; give two regions",
    )
    .await;
    check(
        Command::Rewind("us".to_owned(), Rewind::NewEpoch),
        "there is no backup of `us`; make one with `meridian lab backup us`",
    )
    .await;
    let long = "7200s is too long a delay; the longest is 3600s";
    check(lag("us", NEVER * 2), long).await;
}

#[tokio::test]
async fn refusals_have_the_status_of_whose_fault_it_is() {
    let (bench, control) = controlled().await;
    let check = async |path: &str, status: u16| {
        let answer = bench
            .client
            .post(format!("http://{control}{path}"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status, "{path}");
        let body: serde_json::Value = answer.json().await.unwrap();
        assert!(body["error"].is_string(), "{path}: {body}");
    };
    check("/kill/mars", 404).await;
    check("/dance", 404).await;
    check("/lag/us", 400).await;
    check("/lag/us?ms=-1", 400).await;
    check("/lag/us?ms=3600001", 400).await;
    check("/partition/us/us", 400).await;
    check("/lag/us/us?ms=1", 400).await;
    check("/lag/us/mars?ms=1", 404).await;
    check("/skew/us", 400).await;
    check("/skew/us?ms=3600001", 400).await;
    check("/rewind/us", 400).await;
    check("/rewind/us?silently=perhaps", 400).await;
    check("/rewind/us?silently=true", 409).await;
    check("/backup/mars", 404).await;
    check("/flush/us", 400).await;
    check("/flush/us?ms=3600001", 400).await;
    check("/flush/mars?ms=1", 404).await;
    check("/crash/us", 400).await;
    check("/crash/us?silently=perhaps", 400).await;
    check("/crash/mars?silently=true", 404).await;
}

#[tokio::test]
async fn tells_how_things_are() {
    let (bench, control) = controlled().await;
    bench.put("us", "key", "value").await;
    bench.applied("ap", "us=1").await;
    bench.applied("eu", "us=1").await;
    send(control, kill("eu")).await.unwrap();
    send(control, partition("us", "ap")).await.unwrap();
    send(control, lag("ap", Duration::from_millis(500)))
        .await
        .unwrap();

    let told = state(control).await.unwrap();
    assert_eq!(told, bench.lab.state());
    let [us, eu, ap] = told.regions.try_into().unwrap();
    assert_eq!((us.up, eu.up, ap.up), (true, false, true));
    assert_eq!((us.log, ap.log, ap.lag_ms), (1, 0, 500));
    assert_eq!(us.address, bench.address("us"));
    assert_eq!(ap.applied["us"], 1);
    assert_eq!(
        (us.parted_from, eu.parted_from),
        (vec!["ap".to_owned()], vec![])
    );
    let table = send(control, Command::State).await.unwrap();
    assert_eq!(table.lines().count(), 4, "{table}");
}

#[tokio::test]
async fn says_how_to_start_a_lab_where_there_is_none() {
    let held = Berth::take("127.0.0.1:0".parse().unwrap()).unwrap();
    let control = held.address();
    let refused = send(control, Command::State).await.unwrap_err().to_string();
    assert_eq!(
        refused,
        format!("no lab is running at {control}; start one with `meridian lab`")
    );
}

#[tokio::test]
async fn notices_that_somebody_else_answers() {
    let bench = bench().await;
    let region = bench.address("us");
    let refused = send(region, Command::Heal).await.unwrap_err().to_string();
    assert!(
        refused.contains("did not answer as a lab does"),
        "{refused}"
    );
}
