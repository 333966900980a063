//! Queries that no thread has seen: the kernel drops what comes to a socket whose queue is full, and counts it in
//! `/proc/self/net/udp` and `udp6` (proc_pid_net(5)), where every socket has its line. It counts datagrams whose checksum
//! is wrong along with them.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Once;
use std::time::Duration;

use metrics::{Counter, counter};
use tokio_util::sync::CancellationToken;

use super::respond::Transport;

/// How often the kernel is asked. It goes through all sockets of the system for it.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// By family: a socket is in one of them.
const TABLES: [&str; 2] = ["/proc/self/net/udp", TABLE_OF_IPV6];

/// A system without IPv6 has none, and no socket for it.
const TABLE_OF_IPV6: &str = "/proc/self/net/udp6";

/// Where a line has its socket's inode, and how many datagrams were dropped.
const INODE: usize = 9;
const DROPS: usize = 12;

/// The queues of some sockets.
#[derive(Debug)]
pub struct Queues {
    /// What each socket, by its inode, had dropped when it was last looked at.
    dropped: HashMap<u64, u64>,
    /// Told once, that a table cannot be read.
    told: Once,
}

impl Queues {
    /// Those of these sockets, from now on.
    pub fn of(sockets: &[UdpSocket]) -> io::Result<Self> {
        let inodes = sockets.iter().map(inode);
        let inodes = inodes.map(|inode| Ok((inode?, 0)));
        let mut queues = Self {
            dropped: inodes.collect::<io::Result<_>>()?,
            told: Once::new(),
        };
        // A socket that another process has served before comes with what it had dropped then.
        queues.look();
        Ok(queues)
    }

    /// Counts what they have dropped, until `stop`, and looks once more then.
    pub async fn watch(mut self, stop: CancellationToken) {
        let label = Transport::Udp.as_str();
        let counter: Counter =
            counter!("meridian_dns_dropped_total", "transport" => label, "reason" => "queue");
        let pause = || tokio::time::sleep(LOOK_EVERY);
        let mut is_over = false;
        while !is_over {
            is_over = stop.run_until_cancelled(pause()).await.is_none();
            let looking = tokio::task::spawn_blocking(move || (self.look(), self));
            let Ok((dropped, looked)) = looking.await else {
                return;
            };
            counter.increment(dropped);
            self = looked;
        }
    }

    /// How many have been dropped since the last look.
    fn look(&mut self) -> u64 {
        let tables = TABLES.map(|path| self.table(path));
        let tables = tables.iter().flatten();
        tables.map(|table| self.compare(table)).sum()
    }

    fn table(&self, path: &str) -> Option<String> {
        match std::fs::read_to_string(path) {
            Ok(table) => Some(table),
            Err(error) if path == TABLE_OF_IPV6 && error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                self.told.call_once(|| tracing::warn!(path, %error, "the kernel does not say what queues of DNS sockets drop, so that it is not counted"));
                None
            }
        }
    }

    fn compare(&mut self, table: &str) -> u64 {
        let mut more = 0;
        for (inode, dropped) in table.lines().filter_map(read) {
            if let Some(before) = self.dropped.get_mut(&inode) {
                more += dropped.saturating_sub(*before);
                *before = dropped;
            }
        }
        more
    }
}

fn inode(socket: &UdpSocket) -> io::Result<u64> {
    let descriptor = OwnedFd::from(socket.try_clone()?);
    Ok(File::from(descriptor).metadata()?.ino())
}

fn read(line: &str) -> Option<(u64, u64)> {
    let mut fields = line.split_ascii_whitespace().skip(INODE);
    let inode = fields.next()?.parse().ok()?;
    let dropped = fields.nth(DROPS - INODE - 1)?.parse().ok()?;
    Some((inode, dropped))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_full_queue_drops_is_counted_once() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let socket = UdpSocket::bind(address).unwrap();
            let other = UdpSocket::bind(address).unwrap();
            let client = UdpSocket::bind(address).unwrap();
            client.connect(socket.local_addr().unwrap()).unwrap();
            let mut queues = Queues::of(std::slice::from_ref(&socket)).unwrap();
            assert_eq!(queues.look(), 0);
            // More than the kernel queues for a socket that nobody reads.
            let sent = 20_000;
            for _ in 0..sent {
                client.send(&[0; 1_000]).unwrap();
            }
            let dropped = queues.look();
            socket.set_nonblocking(true).unwrap();
            let received = std::iter::from_fn(|| socket.recv(&mut [0; 1]).ok());
            let received = u64::try_from(received.count()).unwrap();
            assert!(
                dropped > 0 && dropped + received <= sent,
                "{dropped}, {received}"
            );
            assert_eq!(queues.look(), 0, "it was told already");
            // Neither the past nor other sockets count.
            let mut again = Queues::of(&[socket, other]).unwrap();
            assert_eq!(again.look(), 0);
        }
    }

    /// A socket whose queue has dropped some of what came.
    fn overflowing() -> (UdpSocket, Queues) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(socket.local_addr().unwrap()).unwrap();
        let queues = Queues::of(std::slice::from_ref(&socket)).unwrap();
        for _ in 0..20_000 {
            client.send(&[0; 1_000]).unwrap();
        }
        (socket, queues)
    }

    #[test]
    fn what_was_dropped_before_the_end_is_counted_at_the_end() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        let (_socket, queues) = overflowing();
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().build().unwrap();
        let stop = CancellationToken::new();
        stop.cancel();
        metrics::with_local_recorder(&recorder, || runtime.block_on(queues.watch(stop)));
        let told = handle.render();
        let mut lines = told.lines();
        let line = lines.find(|line| line.starts_with("meridian_dns_dropped_total"));
        let dropped = line.unwrap().rsplit(' ').next().unwrap();
        assert!(dropped.parse::<u64>().unwrap() > 0, "{told}");
    }

    #[test]
    fn a_table_that_cannot_be_read_is_told() {
        let queues = Queues::of(&[]).unwrap();
        assert_eq!(queues.table("/proc/self/net/no-such-table"), None);
        assert!(queues.told.is_completed(), "it is told");
        let queues = Queues::of(&[]).unwrap();
        assert!(queues.table(TABLES[0]).is_some());
        assert!(!queues.told.is_completed());
    }

    #[test]
    fn a_line_has_its_socket_and_its_drops_and_the_heading_has_none() {
        let line = "  517: 0100007F:14B4 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 48213 2 0000000000000000 911";
        assert_eq!(read(line), Some((48_213, 911)));
        let heading = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops";
        assert_eq!(read(heading), None);
        assert_eq!(read(""), None);
    }
}
