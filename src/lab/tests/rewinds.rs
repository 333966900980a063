//! Regions that come back from backups, over real sockets.

use serde_json::{Value, json};

use super::*;
use crate::lab::replica::Rewind;

/// So many values of 64 KiB: more than one part of a state.
const LARGE: usize = 40;

async fn post(bench: &Bench, region: &str, path: &str, body: &Value) -> Response {
    let request = bench.request(Method::POST, region, path);
    request.json(body).send().await.unwrap()
}

#[tokio::test]
async fn a_region_gets_everything_back_that_no_log_has_any_more() {
    let bench = bench().await;
    bench.lab.back_up("eu").unwrap();
    let value = "x".repeat(64 * 1024);
    for number in 0..LARGE {
        bench.put("us", &number.to_string(), &value).await;
    }
    for region in ["us", "ap"] {
        let request = bench.request(Method::POST, region, "/counters/visits");
        request.send().await.unwrap();
    }
    for region in ["us", "eu", "ap"] {
        bench.applied(region, "us=41,ap=1").await;
    }
    assert_eq!(
        bench.lab.rewind("eu", Rewind::NewEpoch).await.unwrap(),
        "eu=1:0@0:0"
    );
    bench.applied("eu", "us=41,ap=1").await;
    for number in 0..LARGE {
        let read = bench.value("eu", &number.to_string()).await;
        assert_eq!(read.as_deref(), Some(&*value), "{number}");
    }
    let counter: Value = bench
        .get("eu", "/counters/visits")
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(counter["value"], 2);
}

#[tokio::test]
async fn a_region_that_was_down_stays_down_when_it_is_rewound() {
    let bench = bench().await;
    bench.lab.back_up("eu").unwrap();
    bench.lab.kill("eu").await.unwrap();
    bench.lab.rewind("eu", Rewind::Silent).await.unwrap();
    assert!(!bench.lab.state().regions[1].up);
    bench.put("us", "key", "value").await;
    bench.lab.restore("eu").await.unwrap();
    bench.applied("eu", "us=1").await;
}

#[tokio::test]
async fn a_state_is_merged_whole_and_by_the_incarnation_that_it_was_meant_for_alone() {
    let bench = bench().await;
    bench.lab.back_up("eu").unwrap();
    bench.lab.rewind("eu", Rewind::Silent).await.unwrap();
    let set = json!({ "present": [[["us", 0, 1], "member"]], "seen": { "upto": [["us", 0, 1]], "beyond": [] } });
    let applied = json!({ "us": { "held": [[0, 7]], "forks": [] } });
    let part = |from: &str, incarnation: u64| {
        json!({
            "from": from, "incarnation": incarnation, "number": 0, "applied": applied,
            "states": [{ "key": "tags", "set": set }],
        })
    };
    let late = post(&bench, "eu", "/replicate/state", &part("us", 0)).await;
    let receipt: Value = late.json().await.unwrap();
    assert_eq!(receipt["incarnation"], 1);
    assert_eq!(bench.applied_now("eu"), "eu=0");
    let stranger = post(&bench, "eu", "/replicate/state", &part("mars", 1)).await;
    assert_eq!(stranger.status(), 403);
    let nonsense = post(&bench, "eu", "/replicate/state", &json!({ "from": "us" })).await;
    assert_eq!(nonsense.status(), 422);
    let mut first = part("us", 1);
    first["applied"] = json!(null);
    post(&bench, "eu", "/replicate/state", &first).await;
    assert_eq!(bench.get("eu", "/sets/tags").await.status(), 404);
    post(&bench, "eu", "/replicate/state", &part("us", 1)).await;
    assert_eq!(bench.applied_now("eu"), "eu=0,us=7");
    let read: Value = bench.get("eu", "/sets/tags").await.json().await.unwrap();
    assert_eq!(read["members"], json!(["member"]));
}

#[tokio::test]
async fn no_region_stays_behind_however_often_they_are_put_back() {
    const REGIONS: [&str; 3] = ["us", "eu", "ap"];
    for seed in 1..=3 {
        let bench = bench().await;
        let mut draw = fastrand::Rng::with_seed(seed);
        REGIONS
            .iter()
            .for_each(|region| drop(bench.lab.back_up(region).unwrap()));
        for _ in 0..60 {
            let region = REGIONS[draw.usize(..3)];
            match draw.u32(..10) {
                0 => drop(bench.lab.back_up(region).unwrap()),
                1 => drop(bench.lab.rewind(region, Rewind::NewEpoch).await.unwrap()),
                2 => drop(bench.lab.partition(region, REGIONS[draw.usize(..3)])),
                3 => drop(bench.lab.heal()),
                4 => bench.lab.flush(region, NEVER).unwrap(),
                5 => drop(bench.lab.crash(region, Rewind::NewEpoch).await.unwrap()),
                6.. => drop(bench.put(region, &draw.u32(..4).to_string(), "value").await),
            }
        }
        bench.lab.heal();
        let now = |region: &str| {
            let region = bench.lab.region(region).unwrap();
            region.read(|replica| {
                (
                    replica.store().clone(),
                    REGIONS.map(|name| replica.applied().lineage(name)),
                )
            })
        };
        let alike = async {
            while now("us") != now("eu") || now("us") != now("ap") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, alike)
            .await
            .unwrap_or_else(|_| {
                panic!(
                    "seed {seed}: {:?}",
                    REGIONS.map(|region| bench.applied_now(region))
                )
            });
    }
}
