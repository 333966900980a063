//! How TCP connections to clients and origins are set up.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// The most bytes that wait in the kernel, not yet sent. A connection is written to again when half of that has gone, which is how a
/// peer is seen to take something: by the kernel's own measure a third of its buffer has to go first, which is of up to 4 MiB, and
/// a slow reader would be taken for one that has stopped.
const MOST_UNSENT: u32 = 128 << 10;

/// After so long a silence the kernel of an origin is asked whether the connection is there, and again every so often.
const SILENT_FOR: Duration = Duration::from_secs(20);
const PROBED_EVERY: Duration = Duration::from_secs(10);

/// After so many questions without an answer it is not.
const MOST_PROBES: u32 = 3;

/// Prepares a connection that has just been opened. Failing to costs only time.
pub(super) fn prepare(stream: &TcpStream) {
    // Small writes must not wait for acknowledgements.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(MOST_UNSENT);
}

/// Has the kernel find out whether a silent origin is there still: it asks nobody in the program there.
pub(super) fn watch_over(stream: &TcpStream) {
    let keep_alive = TcpKeepalive::new()
        .with_time(SILENT_FOR)
        .with_interval(PROBED_EVERY)
        .with_retries(MOST_PROBES);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keep_alive);
}

#[cfg(test)]
mod tests {
    use std::io;

    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Writes until there is no room for more.
    async fn fill(stream: &TcpStream) {
        let more = Duration::from_millis(200);
        while tokio::time::timeout(more, stream.writable()).await.is_ok() {
            match stream.try_write(&[7; 65_536]) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[tokio::test]
    async fn an_origin_s_connection_is_asked_for_by_the_kernel() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = TcpStream::connect(listener.local_addr().unwrap());
        let origin = origin.await.unwrap();
        watch_over(&origin);
        let socket = SockRef::from(&origin);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), SILENT_FOR);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), PROBED_EVERY);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), MOST_PROBES);
    }

    #[tokio::test]
    async fn whoever_reads_a_little_is_seen_to_take_something() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(at).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        prepare(&server);
        fill(&server).await;
        let mut some = vec![0; 128 << 10];
        let seen = async {
            client.read_exact(&mut some).await.unwrap();
            server.writable().await.unwrap();
        };
        let seen = tokio::time::timeout(Duration::from_secs(20), seen).await;
        assert!(seen.is_ok(), "there is no room yet");
    }
}
