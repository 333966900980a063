//! What becomes of every message and every connection, in virtual time.

use std::net::Ipv4Addr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::io::DuplexStream;

use super::*;
use crate::dns::Signing;
use crate::dns::testing::{plan, snapshot};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What a connection can hold that its other end has not read.
const ROOM: usize = 4_096;

/// A listener's state without a listener, and what it counts.
fn shared() -> (Arc<Shared>, PrometheusHandle) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let snapshot = Arc::new(snapshot(Arc::new(plan()), |_, _| {}));
    let live = Live::compile(snapshot, &Signing::default(), None);
    let live = Arc::new(ArcSwap::from_pointee(live));
    let stop = CancellationToken::new();
    let shared =
        metrics::with_local_recorder(&recorder, || Shared::new(Transport::Tcp, live, stop));
    (Arc::new(shared), handle)
}

/// What stands in the metrics as `name{...,reason="reason"}`.
fn counted(handle: &PrometheusHandle, name: &str, reason: &str) -> u64 {
    let told = handle.render();
    let reason = format!("reason=\"{reason}\"");
    let is_it = |line: &&str| line.starts_with(name) && line.contains(&reason);
    let line = told.lines().find(is_it).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn dropped(handle: &PrometheusHandle, reason: &str) -> u64 {
    counted(handle, "meridian_dns_dropped_total", reason)
}

/// That of all ends of connections there was this one.
#[track_caller]
fn check_ended(handle: &PrometheusHandle, expected: &str) {
    for reason in [
        "client",
        "idle",
        "incomplete",
        "unread",
        "displaced",
        "message",
        "stopping",
    ] {
        let ended = counted(handle, "meridian_dns_ended_connections_total", reason);
        assert_eq!(ended, u64::from(reason == expected), "{reason}");
    }
}

/// A query for eight long TXT records, behind its length.
fn query() -> Vec<u8> {
    let question = b"\x04many\x07example\x03com\0\0\x10\0\x01";
    let message = [b"\0\x07\0\0\0\x01\0\0\0\0\0\0", &question[..]].concat();
    let length = u16::try_from(message.len()).unwrap();
    [&length.to_be_bytes(), &message[..]].concat()
}

fn conversation(shared: &Arc<Shared>) -> (DuplexStream, tokio::task::JoinHandle<()>) {
    let (client, server) = tokio::io::duplex(ROOM);
    let shared = Arc::clone(shared);
    let seat = shared.clients.admit(CLIENT).unwrap();
    let serving = tokio::spawn(async move { shared.converse(server, CLIENT, seat).await });
    (client, serving)
}

#[tokio::test(start_paused = true)]
async fn every_query_of_a_client_that_does_not_read_is_answered_unsent_or_behind() {
    let (shared, handle) = shared();
    let (mut client, serving) = conversation(&shared);
    client.write_all(&query().repeat(80)).await.unwrap();
    let began = Instant::now();
    serving.await.unwrap();
    assert_eq!(began.elapsed(), WRITE);
    let mut took = Vec::new();
    client.read_to_end(&mut took).await.unwrap();
    let mut taken = 0;
    while let Some(length) = whole_message(&took) {
        took.drain(..LENGTH_BYTES + length);
        taken += 1;
    }
    let (unsent, behind) = (dropped(&handle, "unsent"), dropped(&handle, "behind"));
    assert!(
        taken > 0 && unsent > 20 && behind > 20,
        "{taken}, {unsent}, {behind}"
    );
    assert_eq!(taken + unsent + behind, 80);
    check_ended(&handle, "unread");
}

#[tokio::test(start_paused = true)]
async fn what_comes_behind_a_message_that_ends_the_connection_is_counted() {
    let (shared, handle) = shared();
    let (mut client, serving) = conversation(&shared);
    let mut response = query();
    response[LENGTH_BYTES + 2] |= 0x80;
    let [first, two] = [query(), query().repeat(2)];
    let all = [&first[..], &response, &two, &query()[..9]].concat();
    client.write_all(&all).await.unwrap();
    serving.await.unwrap();
    let mut took = Vec::new();
    client.read_to_end(&mut took).await.unwrap();
    assert_eq!(whole_message(&took), Some(took.len() - LENGTH_BYTES));
    assert_eq!(
        (dropped(&handle, "response"), dropped(&handle, "behind")),
        (1, 3)
    );
    assert_eq!(dropped(&handle, "unsent"), 0);
    check_ended(&handle, "message");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_between_messages_loses_none() {
    for (is_closed, is_stopped, expected) in [
        (false, false, "idle"),
        (true, false, "client"),
        (false, true, "stopping"),
    ] {
        let (shared, handle) = shared();
        let (mut client, serving) = conversation(&shared);
        client.write_all(&query()).await.unwrap();
        let mut length = [0; LENGTH_BYTES];
        client.read_exact(&mut length).await.unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        client.read_exact(&mut answer).await.unwrap();
        if is_closed {
            client.shutdown().await.unwrap();
        }
        if is_stopped {
            shared.ending.cancel();
        }
        serving.await.unwrap();
        check_ended(&handle, expected);
        for reason in ["unsent", "behind", "incomplete"] {
            assert_eq!(dropped(&handle, reason), 0, "{reason}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_nothing_makes_room_for_others_and_who_asks_does_not() {
    let (shared, handle) = shared();
    let (mut silent, silence) = conversation(&shared);
    let (mut asking, asks) = conversation(&shared);
    asking.write_all(&query()[..9]).await.unwrap();
    tokio::task::yield_now().await;
    let others = (1..=1_023_u32).map(|i| IpAddr::V4(Ipv4Addr::from_bits(i)));
    let seats: Vec<Seat> = others
        .map(|other| shared.clients.admit(other).unwrap())
        .collect();
    silence.await.unwrap();
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
    check_ended(&handle, "displaced");
    asking.write_all(&query()[9..]).await.unwrap();
    let mut length = [0; LENGTH_BYTES];
    asking.read_exact(&mut length).await.unwrap();
    assert!(!asks.is_finished());
    drop(seats);
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_rest_does_not_come_is_counted() {
    let (shared, handle) = shared();
    let (mut client, serving) = conversation(&shared);
    client.write_all(&query()[..9]).await.unwrap();
    serving.await.unwrap();
    assert_eq!(dropped(&handle, "incomplete"), 1);
    check_ended(&handle, "incomplete");
}

/// Takes what is written to itself, as TLS does, and passes it on when it is flushed.
struct Hoarding {
    inner: DuplexStream,
    kept: Vec<u8>,
}

impl AsyncWrite for Hoarding {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().kept.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { inner, kept } = self.get_mut();
        while !kept.is_empty() {
            let count = ready!(Pin::new(&mut *inner).poll_write(context, kept))?;
            kept.drain(..count);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

#[tokio::test(start_paused = true)]
async fn what_tls_keeps_to_itself_is_flushed_and_counts_as_unsent_until_then() {
    let (mut client, inner) = tokio::io::duplex(ROOM);
    let kept = Vec::new();
    let mut stream = Hoarding { inner, kept };
    let mut written = 0;
    write(&mut stream, &[1; 1_000], &mut written).await.unwrap();
    assert_eq!(written, 1_000);
    let mut took = [0; 1_000];
    let reading = timeout(WRITE, client.read_exact(&mut took));
    reading.await.unwrap().unwrap();
    let more = [1; 2 * ROOM];
    let writing = write(&mut stream, &more, &mut written);
    assert!(timeout(WRITE, writing).await.is_err());
    assert_eq!(written, 1_000);
}
