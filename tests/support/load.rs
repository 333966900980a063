//! Clients that go on asking, and what they lost.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use super::{read_head, wait_until};

/// A connection on which nothing takes long.
pub fn connect(address: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    BufReader::new(stream)
}

/// Says these bytes.
pub fn say(stream: &mut BufReader<TcpStream>, text: &str) {
    stream.get_mut().write_all(text.as_bytes()).unwrap();
}

/// What [`get`] says.
pub const GET: &str = "GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n";

/// One GET; whether the connection is kept after it.
pub fn get(stream: &mut BufReader<TcpStream>) -> Result<bool, String> {
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
