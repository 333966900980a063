//! Both sides of a proxy in raw bytes: a client, an origin that records, and one that recites.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::case::{Case, Method};

/// No answer takes this long.
const PATIENCE: Duration = Duration::from_secs(10);

/// What comes back on a connection of its own, to its end; an error if it does not end.
pub fn say(address: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>, std::io::Error> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // Whoever refuses the beginning need not read the end.
    let _ = stream.write_all(bytes);
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        done => drop(done?),
    }
    Ok(said)
}

/// An answer as a client sees it.
#[derive(Debug, Default)]
pub struct Answer {
    pub status: u16,
    /// By lower-case name.
    pub fields: HashMap<String, Vec<u8>>,
    pub body: Vec<u8>,
    /// Whether the body has come to its end.
    pub whole: bool,
}

/// Asks on a connection of its own; an answer of status 0 is none.
pub fn ask(address: SocketAddr, method: Method, target: &str) -> Answer {
    let verb = match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
    };
    let request =
        format!("{verb} {target} HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n");
    let said = say(address, request.as_bytes()).unwrap();
    let mut rest = &said[..];
    loop {
        let Some((start, fields)) = read_head(&mut rest) else {
            return Answer::default();
        };
        // A judge may pass on what is no status line: 1 stands for it.
        let status = start.get(9..12).and_then(|status| status.parse().ok());
        let status: u16 = status.unwrap_or(1);
        if (100..200).contains(&status) && status != 101 {
            continue;
        }
        let is_bodiless = method == Method::Head || matches!(status, 204 | 304);
        let (body, whole) = if is_bodiless {
            (rest.to_vec(), rest.is_empty())
        } else if !fields.contains_key("content-length")
            && !fields.contains_key("transfer-encoding")
        {
            (rest.to_vec(), true)
        } else {
            read_body(&mut rest, &fields)
        };
        return Answer {
            status,
            fields,
            body,
            whole,
        };
    }
}

type Fields = HashMap<String, Vec<u8>>;

/// The first line and the fields of a head; none if it does not end.
fn read_head(stream: &mut impl BufRead) -> Option<(String, Fields)> {
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        stream.read_until(b'\n', &mut line).ok()?;
        match line.strip_suffix(b"\r\n")? {
            [] => break,
            text => lines.push(text.to_vec()),
        }
    }
    let start = String::from_utf8_lossy(lines.first()?).into_owned();
    let mut fields = Fields::new();
    for line in lines.iter().skip(1) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
        let value = line[colon + 1..].trim_ascii();
        let before = fields.remove(&name);
        let joined = before.map(|before| [&before[..], b", ", value].concat());
        fields.insert(name, joined.unwrap_or_else(|| value.to_vec()));
    }
    Some((start, fields))
}

/// What a head says of its body.
enum Announced {
    Nothing,
    Chunks,
    Length(u64),
    /// A judge passed on what is no length.
    Nonsense,
}

fn announced(fields: &Fields) -> Announced {
    let number = |text: &Vec<u8>| std::str::from_utf8(text).ok()?.parse().ok();
    match fields.get("content-length") {
        Some(length) => number(length).map_or(Announced::Nonsense, Announced::Length),
        None if fields.contains_key("transfer-encoding") => Announced::Chunks,
        None => Announced::Nothing,
    }
}

/// A body, and whether it has come to its end.
fn read_body(stream: &mut impl BufRead, fields: &Fields) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    match announced(fields) {
        Announced::Nothing | Announced::Nonsense => (body, true),
        Announced::Chunks => {
            let whole = read_chunks(stream, &mut body).is_some();
            (body, whole)
        }
        Announced::Length(length) => {
            let read = stream.take(length).read_to_end(&mut body);
            let whole = read.is_ok() && u64::try_from(body.len()) == Ok(length);
            (body, whole)
        }
    }
}

/// Reads chunks and trailers to their end; none if that does not come.
fn read_chunks(stream: &mut impl BufRead, body: &mut Vec<u8>) -> Option<()> {
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let digits = line.strip_suffix("\r\n")?.split(';').next()?;
        let size = u64::from_str_radix(digits, 16).ok()?;
        let mut chunk = Vec::new();
        stream.take(size).read_to_end(&mut chunk).ok()?;
        if chunk.len() < usize::try_from(size).ok()? {
            body.extend(chunk);
            return None;
        }
        body.extend(chunk);
        loop {
            let mut end = String::new();
            stream.read_line(&mut end).ok()?;
            match end.strip_suffix("\r\n")? {
                "" if size == 0 => return Some(()),
                "" => break,
                _ if size == 0 => {}
                _ => return None,
            }
        }
    }
}

/// Gives every connection to a closure, on a thread of its own.
fn listen(serve: impl Fn(BufReader<TcpStream>) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            std::thread::spawn(move || serve(BufReader::new(stream)));
        }
    });
    address
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A whole request that an origin saw.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Method and target.
    pub line: String,
    /// By lower-case name; what came twice is joined with a comma.
    pub fields: HashMap<String, Vec<u8>>,
    pub body: Vec<u8>,
}

/// An origin that records every whole request but those of health checks.
pub struct Recorder {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Recorder {
    pub fn start() -> Self {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let recorded = seen.clone();
        let address = listen(move |mut stream| {
            while let Some((start, fields)) = read_head(&mut stream) {
                let (body, whole) = read_body(&mut stream, &fields);
                if !whole {
                    return;
                }
                let is_nonsense = matches!(announced(&fields), Announced::Nonsense);
                let line = start.rsplit_once(' ').unwrap().0.to_owned();
                if line != "GET /health" {
                    recorded.lock().unwrap().push(Seen { line, fields, body });
                }
                if stream.get_mut().write_all(OK).is_err() || is_nonsense {
                    return;
                }
            }
        });
        Self { address, seen }
    }

    /// Every request since it was last asked.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

/// An origin that answers `/case/N` with the bytes of the corpus's case N, and `/own/N` with `own N`.
pub struct Reciter {
    pub address: SocketAddr,
    reused: Arc<Mutex<Vec<String>>>,
}

impl Reciter {
    pub fn start(cases: Vec<Case>) -> Self {
        let reused: Arc<Mutex<Vec<String>>> = Arc::default();
        let told = reused.clone();
        let address = listen(move |mut stream| {
            let mut recited: Option<String> = None;
            while let Some((start, _)) = read_head(&mut stream) {
                if let Some(name) = &recited {
                    told.lock().unwrap().push(name.clone());
                }
                let target = start.split(' ').nth(1).unwrap();
                let (kind, number) = target.rsplit_once('/').unwrap();
                if kind != "/case" {
                    let own = format!("own {number}");
                    let own = format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{own}",
                        own.len()
                    );
                    let bytes = if kind == "/own" { own.as_bytes() } else { OK };
                    let _ = stream.get_mut().write_all(bytes);
                    continue;
                }
                let case = &cases[number.parse::<usize>().unwrap()];
                let _ = stream.get_mut().write_all(&case.back.as_ref().unwrap().0);
                if case.closes {
                    return;
                }
                recited = Some(case.name.clone());
            }
        });
        Self { address, reused }
    }

    /// The cases behind which something more was asked on the same connection, since this was last asked.
    pub fn reused(&self) -> Vec<String> {
        std::mem::take(&mut *self.reused.lock().unwrap())
    }
}
