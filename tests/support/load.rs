//! Clients that go on asking, and what they lost.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::client::SendRequest;
use http::{Request, StatusCode};
use rustls::{ClientConnection, StreamOwned};
use tokio::runtime::Runtime;

use super::{read_head, trusting_anybody, wait_until};

/// A connection on which nothing takes long.
pub fn connect(address: SocketAddr) -> BufReader<TcpStream> {
    BufReader::new(open(address))
}

/// The same over TLS.
pub fn connect_tls(address: SocketAddr) -> BufReader<StreamOwned<ClientConnection, TcpStream>> {
    let config = trusting_anybody(&[b"http/1.1"]).config().clone();
    let session = ClientConnection::new(config, HOST.try_into().unwrap()).unwrap();
    BufReader::new(StreamOwned::new(session, open(address)))
}

fn open(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    stream
}

/// Says these bytes.
pub fn say(stream: &mut BufReader<TcpStream>, text: &str) {
    stream.get_mut().write_all(text.as_bytes()).unwrap();
}

const HOST: &str = "www.example.com";

/// What [`get`] says.
pub const GET: &str = "GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n";

/// One GET; whether the connection is kept after it.
pub fn get(stream: &mut BufReader<impl Read + Write>) -> Result<bool, String> {
    let asked = stream.get_mut().write_all(GET.as_bytes());
    asked.map_err(|error| error.to_string())?;
    let head = read_head(stream).to_ascii_lowercase();
    if !head.starts_with("http/1.1 200 ") {
        return Err(format!("`{head}`"));
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    let read = stream.read_exact(&mut body);
    read.map_err(|error| error.to_string())?;
    Ok(!head.contains("\r\nconnection: close"))
}

/// A client of HTTP/2 over TLS. It has one connection, and another once the edge is done with that.
pub struct Http2Client {
    address: SocketAddr,
    runtime: Runtime,
    sender: Option<SendRequest<Bytes>>,
}

impl Http2Client {
    pub fn of(address: SocketAddr) -> Self {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        Self {
            address,
            runtime: runtime.enable_all().build().unwrap(),
            sender: None,
        }
    }

    /// One GET, which is asked again where the edge says that it did not look at it (RFC 9113 §8.7).
    pub fn get(&mut self) -> Result<(), String> {
        self.runtime.block_on(async {
            loop {
                let sender = match self.sender.take() {
                    Some(sender) => sender,
                    None => connect_http2(self.address).await,
                };
                // Whoever is not ready has ended while nothing was asked.
                let Ok(mut sender) = sender.ready().await else {
                    continue;
                };
                match ask_http2(&mut sender).await {
                    Err(error) if was_not_looked_at(&error) => {}
                    Err(error) => return Err(error.to_string()),
                    Ok(StatusCode::OK) => {
                        self.sender = Some(sender);
                        return Ok(());
                    }
                    Ok(status) => return Err(status.to_string()),
                }
            }
        })
    }
}

async fn connect_http2(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let connector = trusting_anybody(&[b"h2"]);
    let stream = connector.connect(HOST.try_into().unwrap(), stream);
    let (sender, connection) = h2::client::handshake(stream.await.unwrap()).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn ask_http2(sender: &mut SendRequest<Bytes>) -> Result<StatusCode, h2::Error> {
    let request = Request::get(format!("https://{HOST}/")).body(()).unwrap();
    let (response, _) = sender.send_request(request, true)?;
    let (head, mut body) = response.await?.into_parts();
    while let Some(data) = body.data().await {
        let length = data?.len();
        body.flow_control().release_capacity(length)?;
    }
    Ok(head.status)
}

fn was_not_looked_at(error: &h2::Error) -> bool {
    let is_end = error.is_go_away() && error.reason() == Some(Reason::NO_ERROR);
    error.is_remote() && (is_end || error.reason() == Some(Reason::REFUSED_STREAM))
}

/// What a load asks for, and how it went.
pub struct Load {
    name: &'static str,
    done: AtomicU32,
    failures: Mutex<Vec<String>>,
}

impl Load {
    pub fn of(name: &'static str) -> Self {
        Self {
            name,
            done: AtomicU32::new(0),
            failures: Mutex::default(),
        }
    }

    /// Asks until it is over.
    pub fn run(&self, over: &AtomicBool, mut ask: impl FnMut() -> Result<(), String>) {
        while !over.load(Ordering::SeqCst) {
            if let Err(failure) = ask() {
                self.failures.lock().unwrap().push(failure);
            }
            self.done.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Waits until this many more have been asked.
    #[track_caller]
    pub fn goes_on(&self, more: u32) {
        let before = self.done.load(Ordering::SeqCst);
        let goes_on = wait_until(|| self.done.load(Ordering::SeqCst) >= before + more);
        assert!(goes_on, "{} stands still", self.name);
    }

    #[track_caller]
    pub fn lost_nothing(&self) {
        let failures = self.failures.lock().unwrap();
        let done = self.done.load(Ordering::SeqCst);
        assert!(failures.is_empty(), "{} of {done}: {failures:?}", self.name);
    }
}
