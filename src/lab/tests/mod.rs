//! The lab over real sockets: what a client, an edge and an operator meet.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{Client, Method, Response};
use tokio_util::sync::CancellationToken;

use super::emulation::{Lab, RegionConfig};
use super::vector::Required;

mod commands;
mod crashes;
mod faults;
mod pages;
mod rewinds;
mod storm;

/// Longer than any test lives: what waits for it never happens by itself.
const NEVER: Duration = Duration::from_secs(3600);
/// A condition that is not met by then will not be.
const PATIENCE: Duration = Duration::from_secs(20);

/// A lab and a client of its regions.
struct Bench {
    lab: Lab,
    client: Client,
}

/// `us`, `eu` and `ap` on free ports, without lag or distance.
async fn bench() -> Bench {
    bench_with(|_| {}).await
}

async fn bench_with(adjust: impl Fn(&mut RegionConfig)) -> Bench {
    let mut regions = ["us", "eu", "ap"].map(RegionConfig::new);
    regions.iter_mut().for_each(adjust);
    let lab = Lab::start(regions.into(), CancellationToken::new())
        .await
        .unwrap();
    let client = Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .unwrap();
    Bench { lab, client }
}

impl Bench {
    fn address(&self, region: &str) -> SocketAddr {
        self.lab.address(region).unwrap()
    }

    fn request(&self, method: Method, region: &str, path: &str) -> reqwest::RequestBuilder {
        let address = self.address(region);
        self.client
            .request(method, format!("http://{address}{path}"))
    }

    async fn get(&self, region: &str, path: &str) -> Response {
        self.request(Method::GET, region, path)
            .send()
            .await
            .unwrap()
    }

    async fn get_requiring(&self, region: &str, path: &str, required: &str) -> Response {
        let request = self.request(Method::GET, region, path);
        request
            .header("meridian-require", required)
            .send()
            .await
            .unwrap()
    }

    async fn put(&self, region: &str, key: &str, value: &str) -> Response {
        let request = self.request(Method::PUT, region, &format!("/kv/{key}"));
        request.body(value.to_owned()).send().await.unwrap()
    }

    async fn value(&self, region: &str, key: &str) -> Option<String> {
        let answer = self.get(region, &format!("/kv/{key}")).await;
        if answer.status() == 404 {
            return None;
        }
        let body: serde_json::Value = answer.json().await.unwrap();
        Some(body["value"].as_str().unwrap().to_owned())
    }

    /// Waits until the region has applied all of this vector.
    async fn applied(&self, region: &str, vector: &str) {
        let required: Required = vector.parse().unwrap();
        let mut replica = self.lab.region(region).unwrap().watch_replica();
        soon(replica.wait_for(|replica| replica.applied().satisfies(&required)))
            .await
            .unwrap();
    }

    fn applied_now(&self, region: &str) -> String {
        self.lab
            .region(region)
            .unwrap()
            .read(|replica| replica.applied().to_string())
    }
}

#[track_caller]
fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

async fn soon<T>(condition: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, condition)
        .await
        .expect("what was waited for never came")
}
