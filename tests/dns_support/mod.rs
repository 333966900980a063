//! An edge's DNS on loopback, and the tools that ask it.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "shared by several tests; a test that cannot go on should stop loudly"
)]

pub use meridian as lib;

pub mod plan;

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use meridian::config::plan::Plan;
use meridian::dns::{Live, RateLimiter, Signing, bind, serve_tcp, serve_udp};
use meridian::steering::MemberState;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A server that ends with the test.
pub struct Server {
    pub address: SocketAddr,
    pub live: Arc<ArcSwap<Live>>,
    stop: CancellationToken,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Every region is healthy.
    pub fn start(address: &str) -> Self {
        let sockets = bind(address.parse().unwrap(), 2).unwrap();
        let live = Arc::new(ArcSwap::from_pointee(live(|_| {})));
        let stop = CancellationToken::new();
        let limiter = Arc::new(RateLimiter::new());
        let mut threads: Vec<_> = sockets
            .udp
            .into_iter()
            .map(|socket| {
                let (live, limiter) = (Arc::clone(&live), Arc::clone(&limiter));
                serve_udp(socket, 0, live, limiter, &TaskTracker::new(), stop.clone()).unwrap()
            })
            .collect();
        let tcp = serve_tcp(sockets.tcp, Arc::clone(&live), stop.clone());
        threads.push(std::thread::spawn(|| runtime().block_on(tcp).unwrap()));
        Self {
            address: sockets.address,
            live,
            stop,
            threads,
        }
    }

    /// Begins its end.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Asks with a tool; its words behind the server and the port.
    pub fn ask(&self, tool: &str, words: &str) -> String {
        let output = Command::new(tool)
            .arg(format!("@{}", self.address.ip()))
            .args(["-p", &self.address.port().to_string()])
            .args(words.split_whitespace())
            .output()
            .unwrap_or_else(|error| {
                panic!("{tool}: {error}; install knot-dnsutils (kdig) and bind9-dnsutils (dig)")
            });
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

pub fn live(change: impl Fn(&mut MemberState)) -> Live {
    live_of(plan::plan(), change)
}

pub fn live_of(plan: Plan, change: impl Fn(&mut MemberState)) -> Live {
    let snapshot = plan::snapshot(Arc::new(plan), |_, member| change(member));
    Live::compile(Arc::new(snapshot), &Signing::default(), None)
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// A query over TCP: length, header with RD, one question of class IN.
pub fn framed(id: u16, name: &str, qtype: u16) -> Vec<u8> {
    let message = message(id, name, qtype);
    let mut framed = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
    framed.extend(message);
    framed
}

pub fn message(id: u16, name: &str, qtype: u16) -> Vec<u8> {
    let mut wire = id.to_be_bytes().to_vec();
    wire.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        wire.push(u8::try_from(label.len()).unwrap());
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    wire.extend(qtype.to_be_bytes());
    wire.extend([0, 1]);
    wire
}
