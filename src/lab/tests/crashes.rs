//! Regions that crash, over real sockets.

use super::*;
use crate::lab::replica::Rewind;

async fn crash(bench: &Bench, how: Rewind) -> (u64, String) {
    bench.lab.crash("us", how).await.unwrap()
}

#[tokio::test]
async fn a_region_that_flushes_before_it_acknowledges_loses_nothing_in_a_crash() {
    let bench = bench().await;
    bench.lab.partition("us", "eu").unwrap();
    bench.lab.partition("us", "ap").unwrap();
    bench.put("us", "key", "value").await;
    assert_eq!(
        crash(&bench, Rewind::NewEpoch).await,
        (0, "us=1".to_owned())
    );
    assert_eq!(bench.value("us", "key").await.as_deref(), Some("value"));
}

#[tokio::test]
async fn a_region_that_flushes_late_loses_what_it_acknowledged_since_and_says_so() {
    let bench = bench().await;
    bench.put("us", "kept", "value").await;
    bench.applied("eu", "us=1").await;
    bench.lab.partition("us", "eu").unwrap();
    bench.lab.partition("us", "ap").unwrap();
    bench.lab.flush("us", NEVER).unwrap();
    for number in 0..3 {
        bench.put("us", &format!("lost-{number}"), "value").await;
    }
    let crashed = crash(&bench, Rewind::NewEpoch).await;
    assert_eq!(crashed, (3, "us=1:0@0:1".to_owned()));
    assert_eq!(bench.value("us", "kept").await.as_deref(), Some("value"));
    assert_eq!(bench.value("us", "lost-0").await, None);
    let state = bench.lab.state();
    assert_eq!((state.regions[0].crashes, state.regions[0].lost), (1, 3));
    assert!(state.regions[0].up);
    assert!(state.to_string().contains("(crashes 1, lost 3)"), "{state}");
}

#[tokio::test]
async fn a_crash_that_nobody_is_told_of_gives_positions_out_twice() {
    let bench = bench().await;
    bench.lab.flush("us", NEVER).unwrap();
    let first = bench.put("us", "key", "value").await;
    assert_eq!(header(&first, "meridian-committed"), "1");
    assert_eq!(crash(&bench, Rewind::Silent).await, (1, "us=0".to_owned()));
    let again = bench.put("us", "other", "value").await;
    assert_eq!(header(&again, "meridian-committed"), "1");
}

#[tokio::test]
async fn what_others_have_comes_back_after_a_crash_their_own_writes_included() {
    let bench = bench().await;
    bench.lab.flush("us", NEVER).unwrap();
    bench.put("us", "own", "value").await;
    bench.put("eu", "other", "value").await;
    for region in ["us", "eu", "ap"] {
        bench.applied(region, "us=1,eu=1").await;
    }
    let crashed = crash(&bench, Rewind::NewEpoch).await;
    assert_eq!(crashed, (1, "us=1:0@0:0".to_owned()));
    bench.applied("us", "eu=1").await;
    let both = async {
        while bench.value("us", "own").await.is_none() || bench.value("us", "other").await.is_none()
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(both).await;
}

#[tokio::test]
async fn a_region_that_was_down_stays_down_when_it_crashes_and_what_is_there_then_is_durable() {
    let bench = bench().await;
    bench.lab.flush("us", NEVER).unwrap();
    bench.put("us", "lost", "value").await;
    bench.lab.kill("us").await.unwrap();
    assert_eq!(crash(&bench, Rewind::Silent).await.0, 1);
    assert!(!bench.lab.state().regions[0].up);
    assert_eq!(crash(&bench, Rewind::Silent).await.0, 0);
    bench.lab.restore("us").await.unwrap();
    assert_eq!(bench.value("us", "lost").await, None);
}
