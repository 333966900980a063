//! What `run.py` needs and no packaged load generator has: an origin for WebSockets and uploads, and a client
//! for WebSockets, new connections, fixed rates and idle connections.
//!
//! ```text
//! https_load origin ADDRESS
//! https_load requests ADDRESS CONNECTIONS SECONDS RATE [HEADER]...   (rate 0: as fast as it goes)
//! https_load connections ADDRESS CONNECTIONS SECONDS [HEADER]...
//! https_load websocket ADDRESS CONNECTIONS SECONDS [HEADER]...
//! https_load idle ADDRESS CONNECTIONS [HEADER]...
//! ```
//!
//! One thread, TLS 1.3 with AES-128-GCM and X25519, never resumed. Certificates are not verified: it would
//! cost the client more than the handshake costs the server. Anything unexpected ends it with an error.
#![allow(
    clippy::as_conversions,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "a bench that cannot go on should stop loudly"
)]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::version::TLS13;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The key and its acceptance of RFC 6455 §1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const PAYLOAD: usize = 100;
/// RFC 6455 §5.2: a client's frame has 4 bytes of mask more than a server's. This mask is 0.
const ASKED: usize = 2 + 4 + PAYLOAD;
const ECHOED: usize = 2 + PAYLOAD;
const MASKED: u8 = 0x80;
const BINARY: u8 = 0x82;
/// How many connections of `idle` are being made at a time.
const OPENING: usize = 32;

type Client = TlsStream<TcpStream>;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let address = words
        .get(1)
        .map(|word| word.parse().expect("ADDRESS is IP:PORT"));
    let address: SocketAddr = address.expect("usage: https_load WHAT ADDRESS ...");
    let number = |at: usize| {
        words
            .get(at)
            .map_or(0.0, |word| word.parse().expect("a number"))
    };
    let connections = number(2) as usize;
    let seconds = || Duration::from_secs_f64(number(3));
    match words[0].as_str() {
        "origin" => origin(address).await,
        "requests" => {
            let target = Target::new(address, &words[5..]);
            let interval = (number(4) > 0.0).then(|| connections as f64 / number(4));
            let interval = interval.map(Duration::from_secs_f64);
            run(connections, seconds(), move |turn, end| {
                target.clone().requests(turn, interval, end)
            })
            .await;
        }
        "connections" => {
            let target = Target::new(address, &words[4..]);
            run(connections, seconds(), move |_, end| {
                target.clone().connections(end)
            })
            .await;
        }
        "websocket" => {
            let target = Target::new(address, &words[4..]);
            run(connections, seconds(), move |_, end| {
                target.clone().messages(end)
            })
            .await;
        }
        "idle" => Target::new(address, &words[3..]).idle(connections).await,
        other => panic!("{other} is no load"),
    }
}

/// Runs so many clients until the end, and prints how many exchanges they made and how long each took.
/// A client is given its place among all, between 0 and 1.
async fn run<F, C>(clients: usize, time: Duration, client: C)
where
    F: Future<Output = Vec<Duration>> + Send + 'static,
    C: Fn(f64, Instant) -> F,
{
    let began = Instant::now();
    let mut running = JoinSet::new();
    for place in 0..clients {
        running.spawn(client(place as f64 / clients as f64, began + time));
    }
    let mut took = running.join_all().await.concat();
    let seconds = began.elapsed().as_secs_f64();
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    println!(
        r#"{{"done": {}, "seconds": {seconds}, "p50": {}, "p99": {}}}"#,
        took.len(),
        at(0.5),
        at(0.99)
    );
}

/// A proxy, and the headers that it is sent.
#[derive(Clone)]
struct Target {
    address: SocketAddr,
    headers: Arc<str>,
    tls: TlsConnector,
}

impl Target {
    fn new(address: SocketAddr, headers: &[String]) -> Self {
        let headers: String = headers
            .iter()
            .map(|header| format!("{header}\r\n"))
            .collect();
        let tls = TlsConnector::from(Arc::new(client_config()));
        Self {
            address,
            headers: headers.into(),
            tls,
        }
    }

    fn head(&self, path: &str, more: &str) -> Vec<u8> {
        let headers = &self.headers;
        format!("GET {path} HTTP/1.1\r\nHost: www.example.com\r\n{headers}{more}\r\n").into_bytes()
    }

    /// A TLS connection from an address of its turn, because one address runs out of ports.
    async fn connect(&self) -> Client {
        static TURN: AtomicU32 = AtomicU32::new(0);
        let turn = TURN.fetch_add(1, Ordering::Relaxed) % 250;
        let from = Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + turn);
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((from, 0).into()).expect("a free port");
        let stream = socket.connect(self.address).await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        let name = ServerName::try_from("www.example.com").expect("a name");
        self.tls.connect(name, stream).await.expect("a handshake")
    }

    /// One request after the other; with an interval, when it is due or, if the answer before came too late for
    /// that, at once: that wait is part of what it took.
    async fn requests(self, place: f64, interval: Option<Duration>, end: Instant) -> Vec<Duration> {
        let mut stream = self.connect().await;
        let head = self.head("/1k", "");
        let mut due = Instant::now() + interval.unwrap_or_default().mul_f64(place);
        let mut took = Vec::new();
        while Instant::now() < end {
            let is_early = Instant::now() < due;
            if is_early && interval.is_some() {
                tokio::time::sleep_until(due.into()).await;
            }
            let is_late = interval.is_some() && !is_early;
            let began = if is_late { due } else { Instant::now() };
            exchange(&mut stream, &head).await;
            took.push(began.elapsed());
            due += interval.unwrap_or_default();
        }
        took
    }

    async fn connections(self, end: Instant) -> Vec<Duration> {
        let head = self.head("/1k", "Connection: close\r\n");
        let mut took = Vec::new();
        while Instant::now() < end {
            let began = Instant::now();
            let mut stream = self.connect().await;
            exchange(&mut stream, &head).await;
            took.push(began.elapsed());
        }
        took
    }

    async fn messages(self, end: Instant) -> Vec<Duration> {
        let mut stream = self.connect().await;
        let upgrade = format!(
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
        );
        write(&mut stream, &self.head("/socket", &upgrade)).await;
        let (answer, _) = read_head(&mut stream).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 101"), "no upgrade: {answer}");
        let mut message = [b'x'; ASKED];
        message[..6].copy_from_slice(&[BINARY, MASKED | PAYLOAD as u8, 0, 0, 0, 0]);
        let mut echo = [0; ECHOED];
        let mut took = Vec::new();
        while Instant::now() < end {
            let began = Instant::now();
            write(&mut stream, &message).await;
            stream.read_exact(&mut echo).await.expect("an echo");
            took.push(began.elapsed());
        }
        assert_eq!(echo[2..], message[6..], "the echo");
        took
    }

    /// Opens connections with one request on each, says `open`, keeps them until the input ends, and says on how
    /// many there still is nothing to read: neither bytes nor an end.
    async fn idle(self, connections: usize) {
        let head = self.head("/1k", "");
        let mut open = Vec::new();
        while open.len() < connections {
            let mut opening = JoinSet::new();
            for _ in 0..OPENING.min(connections - open.len()) {
                let (target, head) = (self.clone(), head.clone());
                opening.spawn(async move {
                    let mut stream = target.connect().await;
                    exchange(&mut stream, &head).await;
                    stream
                });
            }
            open.extend(opening.join_all().await);
        }
        println!("open");
        io::stdout().flush().expect("the output takes it");
        tokio::task::spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new()))
            .await
            .expect("the reader ends")
            .expect("the input ends");
        let is_open = |stream: &&Client| {
            let read = stream.get_ref().0.try_read(&mut [0]);
            read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        };
        println!("{}", open.iter().filter(is_open).count());
    }
}

fn client_config() -> ClientConfig {
    let provider = CryptoProvider {
        cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![kx_group::X25519],
        ..default_provider()
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    config
}

async fn write(stream: &mut Client, bytes: &[u8]) {
    stream.write_all(bytes).await.expect("the proxy takes it");
    stream.flush().await.expect("the proxy takes it");
}

/// A request, and its answer to the end of the body.
async fn exchange(stream: &mut Client, head: &[u8]) {
    write(stream, head).await;
    let (answer, rest) = read_head(stream).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "no answer: {answer}");
    let mut body = vec![0; content_length(&answer) - rest.len()];
    stream.read_exact(&mut body).await.expect("the body");
}

/// The head of a message, and what came with it; none at the end of the connection.
async fn read_head(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<(String, Vec<u8>)> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 8192]);
    loop {
        let read = stream.read(&mut buffer).await.unwrap_or(0);
        if read == 0 {
            return None;
        }
        bytes.extend_from_slice(&buffer[..read]);
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Some((String::from_utf8(bytes).expect("a head is text"), rest));
        }
    }
}

fn content_length(head: &str) -> usize {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    length.map_or(0, |(_, value)| value.trim().parse().expect("a length"))
}

async fn origin(address: SocketAddr) {
    let listener = TcpListener::bind(address)
        .await
        .expect("the address is free");
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        tokio::spawn(serve(stream));
    }
}

/// Reads every body to its end and says how long it was; turns to echoing when that is asked for.
async fn serve(mut stream: TcpStream) {
    while let Some((head, rest)) = read_head(&mut stream).await {
        let lower = head.to_ascii_lowercase();
        if lower.contains("\r\nupgrade: websocket\r\n") {
            return echo(stream).await;
        }
        let Some(length) = read_body(&mut stream, content_length(&head), rest.len()).await else {
            return;
        };
        let committed = if head.starts_with("POST ") {
            "Meridian-Committed: 1\r\n"
        } else {
            ""
        };
        let body = length.to_string();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nMeridian-Applied: us-east-1=1\r\n{committed}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read_body(stream: &mut TcpStream, length: usize, mut have: usize) -> Option<usize> {
    let mut buffer = vec![0; 65_536];
    while have < length {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => have += read,
        }
    }
    Some(have)
}

async fn echo(mut stream: TcpStream) {
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
    );
    let mut frame = [0; ASKED];
    if stream.write_all(answer.as_bytes()).await.is_err() {
        return;
    }
    while stream.read_exact(&mut frame).await.is_ok() {
        let mut message = [0; ECHOED];
        message[..2].copy_from_slice(&[BINARY, PAYLOAD as u8]);
        message[2..].copy_from_slice(&frame[6..]);
        if stream.write_all(&message).await.is_err() {
            return;
        }
    }
}

/// Takes any certificate.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
