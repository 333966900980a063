//! Lag, kill and partition, and that nothing is lost over them.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::*;
use crate::lab::error::{Change, LabError};

#[tokio::test]
async fn a_write_is_invisible_elsewhere_before_its_lag_and_visible_after() {
    let bench = bench().await;
    bench.lab.lag("eu", NEVER).unwrap();
    bench.put("us", "key", "value").await;
    bench.applied("ap", "us=1").await;
    assert_eq!(bench.value("ap", "key").await.as_deref(), Some("value"));
    assert_eq!(bench.value("eu", "key").await, None);
    bench.lab.lag("eu", Duration::ZERO).unwrap();
    bench.applied("eu", "us=1").await;
    assert_eq!(bench.value("eu", "key").await.as_deref(), Some("value"));
}

#[tokio::test]
async fn no_write_arrives_earlier_than_its_lag() {
    let lag = Duration::from_millis(150);
    let bench = bench_with(|region| region.lag = lag).await;
    let before = Instant::now();
    bench.put("us", "key", "value").await;
    bench.applied("eu", "us=1").await;
    assert!(before.elapsed() >= lag);
}

#[tokio::test]
async fn conflicting_writes_end_alike_everywhere() {
    let bench = bench().await;
    for region in ["us", "eu", "ap"] {
        for other in ["us", "eu", "ap"] {
            bench.lab.lag(other, NEVER).unwrap();
        }
        bench.put(region, "key", region).await;
    }
    for region in ["us", "eu", "ap"] {
        assert_eq!(bench.value(region, "key").await.as_deref(), Some(region));
        bench.lab.lag(region, Duration::ZERO).unwrap();
    }
    let mut ends = Vec::new();
    for region in ["us", "eu", "ap"] {
        bench.applied(region, "us=1,eu=1,ap=1").await;
        ends.push(bench.value(region, "key").await.unwrap());
    }
    assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
}

#[tokio::test]
async fn a_killed_region_refuses_connections_and_comes_back_with_its_data() {
    let bench = bench().await;
    bench.lab.lag("ap", NEVER).unwrap();
    bench.put("eu", "before", "kept").await;
    let address = bench.address("eu");

    assert_eq!(bench.lab.kill("eu").await.unwrap(), Change::Made);
    assert_eq!(bench.lab.kill("eu").await.unwrap(), Change::AlreadySo);
    let refused = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    bench.put("us", "meanwhile", "caught up").await;
    bench.lab.lag("ap", Duration::ZERO).unwrap();
    bench.applied("ap", "us=1").await;
    assert_eq!(
        bench.value("ap", "before").await,
        None,
        "nothing leaves a killed region"
    );
    assert_eq!(bench.applied_now("eu"), "eu=1", "nothing reaches it either");

    assert_eq!(bench.lab.restore("eu").await.unwrap(), Change::Made);
    assert_eq!(bench.lab.restore("eu").await.unwrap(), Change::AlreadySo);
    assert_eq!(bench.address("eu"), address);
    bench.applied("eu", "us=1,eu=1").await;
    assert_eq!(bench.value("eu", "before").await.as_deref(), Some("kept"));
    assert_eq!(
        bench.value("eu", "meanwhile").await.as_deref(),
        Some("caught up")
    );
    bench.applied("ap", "eu=1").await;
    assert_eq!(bench.value("ap", "before").await.as_deref(), Some("kept"));
}

#[tokio::test]
async fn a_kill_cuts_what_is_under_way() {
    let bench = bench().await;
    let mut streaming = bench.get("eu", "/slow?ms=10000&chunks=100").await;
    assert!(streaming.chunk().await.unwrap().is_some());
    bench.lab.kill("eu").await.unwrap();
    assert!(soon(streaming.chunk()).await.is_err());
}

#[tokio::test]
async fn a_partition_holds_replication_up_both_ways_until_it_is_healed() {
    let bench = bench().await;
    assert_eq!(bench.lab.partition("us", "eu").unwrap(), Change::Made);
    bench.put("us", "west", "1").await;
    bench.put("eu", "east", "2").await;
    bench.applied("ap", "us=1,eu=1").await;
    assert_eq!(bench.applied_now("us"), "us=1");
    assert_eq!(bench.applied_now("eu"), "eu=1");
    assert_eq!(
        bench.value("us", "east").await,
        None,
        "clients still reach both"
    );
    assert_eq!(bench.lab.heal(), Change::Made);
    bench.applied("us", "eu=1").await;
    bench.applied("eu", "us=1").await;
    assert_eq!(bench.value("us", "east").await.as_deref(), Some("2"));
    assert_eq!(bench.value("eu", "west").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn more_than_one_batch_arrives_in_order() {
    let bench = bench().await;
    bench.lab.partition("us", "eu").unwrap();
    for number in 1..=150 {
        bench.put("us", "key", &number.to_string()).await;
    }
    bench.lab.heal();
    bench.applied("eu", "us=150").await;
    assert_eq!(bench.value("eu", "key").await.as_deref(), Some("150"));
}

#[tokio::test]
async fn a_delivery_that_comes_twice_or_from_a_stranger_changes_nothing() {
    let bench = bench().await;
    let deliver = async |from: &str, seq: u64| {
        let set = serde_json::json!({ "present": [], "seen": { "upto": [], "beyond": [] } });
        let entry = serde_json::json!({ "at": [0, seq], "change": { "key": "k", "set": set } });
        let batch = serde_json::json!({ "from": from, "forks": [], "entries": [entry] });
        let request = bench.request(Method::POST, "eu", "/replicate").json(&batch);
        request.send().await.unwrap()
    };
    for seq in [1, 1, 3] {
        let receipt: serde_json::Value = deliver("us", seq).await.json().await.unwrap();
        let held = &receipt["applied"]["us"]["held"];
        assert_eq!(held, &serde_json::json!([[0, 1]]), "{seq}: {receipt}");
    }
    assert_eq!(deliver("mars", 1).await.status(), 403);
    bench.lab.partition("us", "eu").unwrap();
    assert_eq!(deliver("us", 2).await.status(), 403);
    assert_eq!(bench.applied_now("eu"), "eu=0,us=1");
}

#[tokio::test]
async fn stopping_ends_every_task_and_closes_every_port() {
    let bench = bench().await;
    let control = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = [
        control.local_addr().unwrap(),
        bench.address("us"),
        bench.address("eu"),
    ];
    bench.lab.serve_control(control);
    soon(bench.lab.stop()).await;
    for address in addresses {
        assert!(TcpStream::connect(address).await.is_err());
    }
}

#[tokio::test]
async fn a_second_lab_does_not_get_the_ports_of_the_first() {
    let bench = bench().await;
    bench.lab.kill("us").await.unwrap();
    for region in ["us", "eu"] {
        let config = RegionConfig {
            address: bench.address(region),
            ..RegionConfig::new(region)
        };
        let second = Lab::start(vec![config], CancellationToken::new()).await;
        assert!(matches!(second, Err(LabError::Bind { .. })), "{region}");
    }
}

#[tokio::test]
async fn refuses_a_configuration_that_is_no_lab() {
    let check = async |regions: Vec<RegionConfig>, message: &str| {
        let refused = Lab::start(regions, CancellationToken::new())
            .await
            .unwrap_err();
        assert_eq!(refused.to_string(), message);
    };
    let slow = RegionConfig {
        lag: NEVER * 2,
        ..RegionConfig::new("us")
    };
    check(vec![], "a lab needs at least one region").await;
    check(
        vec![slow],
        "7200s is too long a delay; the longest is 3600s",
    )
    .await;
    check(
        ["us", "us"].map(RegionConfig::new).into(),
        "region `us` is given twice",
    )
    .await;
    let misnamed = "`a,b` is no region name: expected 1 to 63 letters, digits, `-` or `_`";
    check(vec![RegionConfig::new("a,b")], misnamed).await;
}
