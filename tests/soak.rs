//! Everything at once, for a while: load, regions that die and come back, reloads, and an upgrade.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};

use support::{
    Edge, Http2Client, Load, Origin, Process, connect, connect_tls, get, meridian, wait_until,
};

/// Rounds of a region's death and return with a reload in each.
const ROUNDS: usize = 4;

/// Requests of each client between two disturbances.
const REQUESTS: u32 = 100;

fn yaml(near: &Origin, far: &Origin, ttl: usize) -> String {
    format!(
        "node: {{ state_dir: state }}
listen: {{ https: ['127.0.0.1:0'], http: ['127.0.0.1:0'], http_mode: serve, dns: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
regions:
  near: {{ addresses: [192.0.2.1], origins: ['{}'] }}
  far: {{ addresses: [192.0.2.2], origins: ['{}'] }}
services:
  www:
    hosts: [www.example.com]
    steering: {{ policy: priority }}
    health: {{ interval: 1s, recheck_interval: 200ms, failure_threshold: 1, success_threshold: 1 }}
    dns: {{ ttl: {ttl}s }}
zones: {{ example.com: {{ nameservers: {{ ns1: [127.0.0.1] }} }} }}
",
        near.url(),
        far.url()
    )
}

/// Lets a region die under load, reloads, and brings it back.
fn disturb(edge: &Edge, near: &mut Origin, far: &Origin, loads: &[&Load], ttl: usize) {
    let nearest = || edge.kdig("www.example.com A +short").trim().to_owned();
    near.stop();
    loads.iter().for_each(|load| load.goes_on(REQUESTS));
    assert!(wait_until(|| nearest() == "192.0.2.2"));
    edge.write(&yaml(near, far, ttl));
    let shown = || edge.kdig("www.example.com A +noall +answer");
    let has_ttl = |answer: String| answer.split_whitespace().nth(1) == Some(&ttl.to_string());
    assert!(wait_until(|| has_ttl(shown())), "{}", shown());
    *near = Origin::start_on("near", near.address);
    assert!(wait_until(|| nearest() == "192.0.2.1"));
    loads.iter().for_each(|load| load.goes_on(REQUESTS));
}

#[test]
fn load_with_dying_regions_reloads_and_an_upgrade_fails_no_get_and_leaks_nothing() {
    let (mut near, far) = (Origin::start("near"), Origin::start("far"));
    let mut edge = Edge::start(&yaml(&near, &far, 30));
    let (http, https, over) = (
        edge.address("http"),
        edge.address("https"),
        AtomicBool::new(false),
    );
    let [new, kept, tls, http2] = ["new", "kept", "TLS", "HTTP/2"].map(Load::of);
    let idle = edge.process.descriptors();
    std::thread::scope(|scope| {
        scope.spawn(|| new.run(&over, || get(&mut connect(http)).map(|_| ())));
        scope.spawn(|| {
            let mut connection = connect(http);
            kept.run(&over, || {
                if !get(&mut connection)? {
                    connection = connect(http);
                }
                Ok(())
            });
        });
        scope.spawn(|| tls.run(&over, || get(&mut connect_tls(https)).map(|_| ())));
        scope.spawn(|| {
            let mut client = Http2Client::of(https);
            http2.run(&over, || client.get());
        });
        let loads = [&new, &kept, &tls, &http2];
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            disturb(&edge, &mut near, &far, &loads, 29);
            let mut successor = Process::start(
                meridian()
                    .args(["serve", "--upgrade", "--config"])
                    .arg(edge.folder.path()),
            );
            successor.wait_for(" ready");
            let mut old = std::mem::replace(&mut edge.process, successor);
            assert_eq!(old.wait(), 0);
            disturb(&edge, &mut near, &far, &loads, 28);
            let warm = edge.process.resident_kib();
            for round in 0..ROUNDS {
                disturb(&edge, &mut near, &far, &loads, 20 + round);
            }
            warm
        }));
        over.store(true, Ordering::SeqCst);
        loads.iter().for_each(|load| load.lost_nothing());
        let warm = ended.unwrap();
        let now = edge.process.resident_kib();
        assert!(now < warm + warm / 4, "{warm} KiB grew to {now}");
    });
    // One connection to each origin may be kept by each worker, and one by the check of each.
    let settled = || edge.process.descriptors() <= idle + 16;
    assert!(
        wait_until(settled),
        "{idle} descriptors grew to {}",
        edge.process.descriptors()
    );
}
