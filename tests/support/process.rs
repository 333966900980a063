//! A process under test: what it says, what it holds, and how it ends.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{meridian, wait_until};

/// How long a process's threads have waited for a processor, all together (the kernel's sched-stats.rst).
pub fn kept_waiting(process: &str) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let waited = threads.filter_map(|thread| {
        // A thread may end meanwhile.
        let stat = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        stat.split_whitespace().nth(1)?.parse::<u64>().ok()
    });
    Duration::from_nanos(waited.sum())
}

/// A process that ends with the test, and what it says.
pub struct Process {
    child: Child,
    said: Arc<Mutex<String>>,
    readers: Vec<std::thread::JoinHandle<()>>,
}

impl Process {
    /// Starts and collects stdout and stderr.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env("NO_COLOR", "1")
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let streams: [Box<dyn std::io::Read + Send>; 2] = [
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        let read = |stream: Box<dyn std::io::Read + Send>| {
            let said = said.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let mut said = said.lock().unwrap();
                    said.push_str(&line);
                    said.push('\n');
                }
            })
        };
        let readers = streams.into_iter().map(read).collect();
        Self {
            child,
            said,
            readers,
        }
    }

    /// An edge of a folder's configuration, with these words after `serve`.
    pub fn serving(folder: &Path, words: &[&str]) -> Self {
        Self::start(
            meridian()
                .arg("serve")
                .args(words)
                .arg("--config")
                .arg(folder),
        )
    }

    /// All that it has said so far.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it has said this.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        let said = self.said.clone();
        let child = &mut self.child;
        let mut ended = false;
        wait_until(|| {
            ended = child.try_wait().unwrap().is_some();
            ended || said.lock().unwrap().contains(text)
        });
        if ended {
            self.read_to_the_end();
        }
        assert!(
            self.said().contains(text),
            "`{text}` was never said:\n{}",
            self.said()
        );
    }

    fn read_to_the_end(&mut self) {
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
    }

    /// What the system calls it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// KiB of memory that it holds at present (VmRSS of proc(5)).
    pub fn resident_kib(&self) -> u64 {
        let file = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(file).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.unwrap().split_whitespace().next().unwrap();
        number.parse().unwrap()
    }

    /// How long its threads have waited for a processor, all together.
    pub fn kept_waiting(&self) -> Duration {
        kept_waiting(&self.child.id().to_string())
    }

    /// How many descriptors it has open at present.
    pub fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(folder).unwrap().count()
    }

    /// Where it takes connections, as the kernel has it (proc(5), `net/tcp` and `net/tcp6`).
    pub fn takes_connections_at(&self) -> Vec<SocketAddr> {
        let process = format!("/proc/{}", self.child.id());
        let descriptors = std::fs::read_dir(format!("{process}/fd")).unwrap();
        let links = descriptors.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        let own: Vec<String> = links
            .map(|link| link.to_string_lossy().into_owned())
            .collect();
        let sockets = ["tcp", "tcp6"]
            .map(|table| std::fs::read_to_string(format!("{process}/net/{table}")).unwrap());
        let rows = sockets.iter().flat_map(|table| table.lines().skip(1));
        let listening = rows.filter_map(|row| {
            let fields: Vec<&str> = row.split_whitespace().collect();
            let is_own = own.contains(&format!("socket:[{}]", fields[9]));
            (fields[3] == "0A" && is_own).then(|| kernel_address(fields[1]))
        });
        let mut addresses: Vec<SocketAddr> = listening.collect();
        // Each core may have a socket of its own.
        addresses.sort();
        addresses.dedup();
        addresses
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for its end; its exit status.
    #[track_caller]
    pub fn wait(&mut self) -> i32 {
        let child = &mut self.child;
        assert!(
            wait_until(|| child.try_wait().unwrap().is_some()),
            "it never ended:\n{}",
            self.said()
        );
        self.read_to_the_end();
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address as `net/tcp` writes it: words of 32 bits in this machine's order, and the port.
fn kernel_address(text: &str) -> SocketAddr {
    let (address, port) = text.split_once(':').unwrap();
    let words: Vec<[u8; 4]> = (0..address.len())
        .step_by(8)
        .map(|at| u32::from_str_radix(&address[at..at + 8], 16).unwrap())
        .map(u32::to_ne_bytes)
        .collect();
    let port = u16::from_str_radix(port, 16).unwrap();
    match <[u8; 16]>::try_from(words.concat()) {
        Ok(octets) => (octets, port).into(),
        Err(_) => (words[0], port).into(),
    }
}
