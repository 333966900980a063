//! The least that an HTTPS proxy can cost: takes TLS off, passes the bytes on to an origin, and puts TLS on what comes back.
//!
//! `bare_relay ADDRESS ORIGIN CERT KEY`. One thread and epoll, a connection to the origin for each client's, two reads and two
//! writes for a request and its answer. It knows nothing of HTTP: what a proxy costs beyond this is its own; `run.py` prints the ratio.
#![allow(
    clippy::expect_used,
    missing_docs,
    reason = "a bench that cannot go on should stop loudly"
)]

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::version::TLS13;
use rustls::{ServerConfig, ServerConnection};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A client and its origin, in this order.
struct Relay {
    client: TcpStream,
    tls: ServerConnection,
    origin: TcpStream,
}

impl Relay {
    fn open(client: TcpStream, origin: &str, config: &Arc<ServerConfig>) -> io::Result<Self> {
        let origin = TcpStream::connect(origin)?;
        for stream in [&client, &origin] {
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
        }
        let tls = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
        Ok(Self {
            client,
            tls,
            origin,
        })
    }

    /// From the client to the origin; an error if there is no more.
    fn ask(&mut self, room: &mut [u8]) -> io::Result<()> {
        if self.tls.read_tls(&mut self.client)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let state = self.tls.process_new_packets();
        let length = state.map_err(io::Error::other)?.plaintext_bytes_to_read();
        let asked = room.get_mut(..length).ok_or(io::ErrorKind::OutOfMemory)?;
        if !asked.is_empty() {
            self.tls.reader().read_exact(asked)?;
            self.origin.write_all(asked)?;
        }
        self.say()
    }

    /// From the origin to the client; an error if there is no more.
    fn answer(&mut self, room: &mut [u8]) -> io::Result<()> {
        let length = self.origin.read(room)?;
        let said = room.get(..length).unwrap_or_default();
        if said.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.tls.writer().write_all(said)?;
        self.say()
    }

    fn say(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.client)?;
        }
        Ok(())
    }
}

fn config(cert: &str, key: &str) -> ServerConfig {
    let chain = CertificateDer::pem_file_iter(cert).expect("the certificate is readable");
    let chain = chain.collect::<Result<_, _>>().expect("it is PEM");
    let key = PrivateKeyDer::from_pem_file(key).expect("the key is PEM");
    let builder = ServerConfig::builder_with_provider(default_provider().into());
    let builder = builder
        .with_protocol_versions(&[&TLS13])
        .expect("there is TLS 1.3");
    let mut config = builder
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("they fit");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [address, origin, cert, key] = words.try_into().expect("ADDRESS ORIGIN CERT KEY");
    let config = Arc::new(config(&cert, &key));
    let listener = TcpListener::bind(address).expect("the address is free");
    let epoll = Epoll::new(EpollCreateFlags::empty()).expect("there is epoll");
    let watch = |of: &dyn AsFd, number| {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, number);
        epoll.add(of.as_fd(), event).expect("epoll takes it");
    };
    // Even numbers are clients, and the odd ones behind them their origins.
    const LISTENER: u64 = u64::MAX;
    watch(&listener, LISTENER);
    let mut relays: HashMap<u64, Relay> = HashMap::new();
    let mut room = vec![0; 1 << 17];
    let mut events = vec![EpollEvent::empty(); 256];
    loop {
        let came = epoll
            .wait(&mut events, EpollTimeout::NONE)
            .expect("epoll waits");
        for event in events.iter().take(came) {
            let number = event.data();
            if number == LISTENER {
                let (client, _) = listener.accept().expect("a client comes");
                let number = u64::try_from(client.as_raw_fd()).expect("it is one") * 2;
                let relay = Relay::open(client, &origin, &config).expect("the origin is there");
                watch(&relay.client, number);
                watch(&relay.origin, number + 1);
                relays.insert(number, relay);
                continue;
            }
            let Some(relay) = relays.get_mut(&(number & !1)) else {
                continue; // It has ended in this turn.
            };
            let passed = match number & 1 {
                0 => relay.ask(&mut room),
                _ => relay.answer(&mut room),
            };
            if passed.is_err() {
                relays.remove(&(number & !1));
            }
        }
    }
}
