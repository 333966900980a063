//! Faults and traffic at once: what must hold whatever comes when.

use super::*;

const REGIONS: [&str; 3] = ["us", "eu", "ap"];
const KEYS: u32 = 4;

/// One of everything that clients and operators do; returns a write that was acknowledged.
async fn act(bench: &Bench, draw: &mut fastrand::Rng) -> Option<(&'static str, u64)> {
    let region = REGIONS[draw.usize(..3)];
    match draw.u32(..10) {
        0 => drop(bench.lab.kill(region).await.unwrap()),
        1 => drop(bench.lab.restore(region).await.unwrap()),
        2 => drop(
            bench
                .lab
                .partition("us", if region == "us" { "eu" } else { region }),
        ),
        3 => drop(bench.lab.heal()),
        4 => bench
            .lab
            .lag(region, Duration::from_millis(draw.u64(..5)))
            .unwrap(),
        5.. => {
            let path = format!("/kv/{}", draw.u32(..KEYS));
            let request = bench.request(Method::PUT, region, &path);
            // A killed region refuses; then there is nothing to keep.
            let answer = request.body(draw.u64(..).to_string()).send().await.ok()?;
            return Some((
                region,
                header(&answer, "meridian-committed").parse().unwrap(),
            ));
        }
    }
    None
}

async fn survives(seed: u64) {
    let bench = bench().await;
    let mut draw = fastrand::Rng::with_seed(seed);
    let mut acknowledged = [("us", 0), ("eu", 0), ("ap", 0)];
    for _ in 0..120 {
        if let Some((region, seq)) = act(&bench, &mut draw).await {
            let known = acknowledged
                .iter_mut()
                .find(|(name, _)| *name == region)
                .unwrap();
            assert!(seq > known.1, "seed {seed}: {region} gave {seq} out twice");
            known.1 = seq;
        }
    }
    bench.lab.heal();
    let everything = acknowledged
        .map(|(region, seq)| format!("{region}={seq}"))
        .join(",");
    for region in REGIONS {
        bench.lab.restore(region).await.unwrap();
    }
    for region in REGIONS {
        bench.applied(region, &everything).await;
    }
    for key in 0..KEYS {
        let key = key.to_string();
        let value = bench.value("us", &key).await;
        assert_eq!(
            value,
            bench.value("eu", &key).await,
            "seed {seed}, key {key}"
        );
        assert_eq!(
            value,
            bench.value("ap", &key).await,
            "seed {seed}, key {key}"
        );
    }
}

#[tokio::test]
async fn no_acknowledged_write_is_lost_and_all_regions_end_alike() {
    for seed in 1..=5 {
        survives(seed).await;
    }
}

#[tokio::test]
async fn a_409_never_says_that_it_has_what_was_required() {
    let bench = bench().await;
    let last = 100;
    let writer = async {
        for number in 1..=last {
            bench.put("us", "key", &number.to_string()).await;
        }
    };
    let reader = async {
        let mut seq = 1;
        while seq <= last {
            let answer = bench
                .get_requiring("eu", "/kv/key", &format!("us={seq}"))
                .await;
            let (_, applied) = header(&answer, "meridian-applied")
                .split_once("us=")
                .unwrap_or(("", "0"));
            let has = applied.parse::<u64>().unwrap() >= seq;
            assert_eq!(answer.status(), if has { 200 } else { 409 });
            seq += u64::from(has);
        }
    };
    soon(async { tokio::join!(writer, reader) }).await;
}
