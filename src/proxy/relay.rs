//! Two sides that have left HTTP, joined byte by byte.
//!
//! One task polls both ways, so that neither stream is shared behind a lock.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

/// Bytes that are read from one side before they are written to the other.
const CHUNK: usize = 16 << 10;

/// Why a joined pair came apart before both sides had ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("the client's side broke off: {0}")]
    Client(io::Error),
    #[error("the origin's side broke off: {0}")]
    Origin(io::Error),
}

/// Passes bytes on between both until both have ended. Each end is told to the other side; bytes are counted by their way.
/// When one way breaks, what the other still carries has some time to arrive: who takes no more may have said something last.
pub(super) async fn relay(
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    origin: &mut (impl AsyncRead + AsyncWrite + Unpin),
    count_up: impl Fn(usize),
    count_down: impl Fn(usize),
    parting: Duration,
) -> Result<(), Broken> {
    let mut up = Way::new(Broken::Client, Broken::Origin);
    let mut down = Way::new(Broken::Origin, Broken::Client);
    let mut is_up_first = false;
    let ended = poll_fn(|cx| {
        // In turns: one way alone may use up what a task may do at a time.
        is_up_first = !is_up_first;
        for is_up in [is_up_first, !is_up_first] {
            let polled = if is_up {
                up.poll(client, origin, &count_up, cx)
            } else {
                down.poll(origin, client, &count_down, cx)
            };
            if let Poll::Ready(Err(broken)) = polled {
                return Poll::Ready(Err((broken, is_up)));
            }
        }
        if up.is_over() && down.is_over() {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    });
    let Err((broken, was_up)) = ended.await else {
        return Ok(());
    };
    if was_reset(&broken, was_up) {
        return Err(broken);
    }
    let rest = poll_fn(|cx| {
        if was_up {
            down.poll(origin, client, &count_down, cx)
        } else {
            up.poll(client, origin, &count_up, cx)
        }
    });
    // What comes of it changes nothing any more.
    let _ = timeout(parting, rest).await;
    Err(broken)
}

/// Whether the side that this way comes from was reset: all that it said was read, and it takes no more.
fn was_reset(broken: &Broken, was_up: bool) -> bool {
    let (is_source, error) = match broken {
        Broken::Client(error) => (was_up, error),
        Broken::Origin(error) => (!was_up, error),
    };
    is_source && error.kind() == io::ErrorKind::ConnectionReset
}

/// What goes one way.
struct Way {
    chunk: Box<[u8]>,
    /// How much of the chunk was read, and how much of that written.
    read: usize,
    written: usize,
    is_flushed: bool,
    stage: Stage,
    reading: fn(io::Error) -> Broken,
    writing: fn(io::Error) -> Broken,
}

enum Stage {
    /// Bytes may come.
    Passing,
    /// No more will, and the other side is being told.
    Ending,
    Over,
}

impl Way {
    fn new(reading: fn(io::Error) -> Broken, writing: fn(io::Error) -> Broken) -> Self {
        Self {
            chunk: vec![0; CHUNK].into_boxed_slice(),
            read: 0,
            written: 0,
            is_flushed: true,
            stage: Stage::Passing,
            reading,
            writing,
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// Passes on what there is; ready when that was all.
    fn poll(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        count: &impl Fn(usize),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        loop {
            match self.stage {
                Stage::Passing => {
                    ready!(self.poll_write(to, cx)).map_err(self.writing)?;
                    let Poll::Ready(read) = self.poll_read(from, cx).map_err(self.reading)? else {
                        // TLS holds back what its socket did not take.
                        ready!(self.poll_flush(to, cx)).map_err(self.writing)?;
                        return Poll::Pending;
                    };
                    count(read);
                    if read == 0 {
                        self.stage = Stage::Ending;
                    }
                }
                Stage::Ending => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(self.writing)?;
                    self.stage = Stage::Over;
                }
                Stage::Over => return Poll::Ready(Ok(())),
            }
        }
    }

    fn poll_read(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut chunk = ReadBuf::new(&mut self.chunk);
        ready!(Pin::new(from).poll_read(cx, &mut chunk))?;
        (self.read, self.written) = (chunk.filled().len(), 0);
        Poll::Ready(Ok(self.read))
    }

    fn poll_write(
        &mut self,
        to: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while let Some(rest @ [_, ..]) = self.chunk.get(self.written..self.read) {
            match ready!(Pin::new(&mut *to).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                length => self.written += length,
            }
            self.is_flushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(
        &mut self,
        to: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_flushed {
            ready!(Pin::new(to).poll_flush(cx))?;
            self.is_flushed = true;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::Waker;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, BufStream, DuplexStream, duplex};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    const PARTING: Duration = Duration::from_secs(1);

    /// A side, and its end within the edge, which holds back what is not flushed.
    fn side() -> (DuplexStream, BufStream<DuplexStream>) {
        let (outer, inner) = duplex(1000);
        (outer, BufStream::new(inner))
    }

    #[tokio::test]
    async fn what_is_passed_on_does_not_wait_for_more() {
        let ((mut client, mut edge), (mut origin, mut back)) = (side(), side());
        let relaying = relay(&mut edge, &mut back, |_| {}, |_| {}, PARTING);
        let talking = async {
            for word in [b"one", b"two"] {
                let mut heard = [0; 3];
                client.write_all(word).await.unwrap();
                origin.read_exact(&mut heard).await.unwrap();
                assert_eq!(&heard, word);
                origin.write_all(word).await.unwrap();
                client.read_exact(&mut heard).await.unwrap();
                assert_eq!(&heard, word);
            }
        };
        tokio::select! {
            _ = relaying => panic!("neither side has ended"),
            () = talking => {}
        }
    }

    /// A client over TLS, and its end within the edge; their sockets take few bytes at a time.
    async fn over_tls() -> (impl AsyncRead + Unpin, impl AsyncRead + AsyncWrite + Unpin) {
        let made = rcgen::generate_simple_self_signed(vec!["www.example.com".into()]).unwrap();
        let (cert, key) = (made.cert.der().clone(), made.signing_key.serialize_der());
        let server = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![cert.clone()], key.try_into().unwrap());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(cert).unwrap();
        let client = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (outer, inner) = duplex(1000);
        let name = "www.example.com".try_into().unwrap();
        let connecting = TlsConnector::from(Arc::new(client)).connect(name, outer);
        let accepting = TlsAcceptor::from(Arc::new(server.unwrap())).accept(inner);
        let (client, edge) = tokio::join!(connecting, accepting);
        (client.unwrap(), edge.unwrap())
    }

    #[tokio::test]
    async fn a_client_over_tls_that_reads_slowly_gets_the_end_of_what_was_said_though_no_more_is() {
        let ((mut client, mut edge), (mut origin, mut back)) = (over_tls().await, duplex(1 << 20));
        origin.write_all(&[7; 20_000]).await.unwrap();
        let relaying = relay(&mut edge, &mut back, |_| {}, |_| {}, PARTING);
        let mut heard = vec![0; 20_000];
        let reading = tokio::time::timeout(Duration::from_secs(5), client.read_exact(&mut heard));
        tokio::select! {
            _ = relaying => panic!("neither side has ended"),
            read = reading => assert_eq!(read.unwrap().unwrap(), 20_000),
        }
    }

    #[tokio::test]
    async fn all_arrives_both_ways_and_is_counted_and_then_both_ends() {
        let ((mut client, mut edge), (mut origin, mut back)) = (side(), side());
        let asked: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let (up, down) = (Cell::new(0), Cell::new(0));
        let relaying = relay(
            &mut edge,
            &mut back,
            |bytes| up.set(up.get() + bytes),
            |bytes| down.set(down.get() + bytes),
            PARTING,
        );
        let asking = async {
            client.write_all(&asked).await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            answer
        };
        let answering = async {
            let mut heard = Vec::new();
            origin.read_to_end(&mut heard).await.unwrap();
            origin.write_all(&heard[1..]).await.unwrap();
            origin.shutdown().await.unwrap();
        };
        let (relayed, answer, ()) = tokio::join!(relaying, asking, answering);
        relayed.unwrap();
        assert!(answer == asked[1..]);
        assert_eq!((up.get(), down.get()), (100_000, 99_999));
    }

    #[tokio::test]
    async fn for_a_side_that_does_not_read_16_kib_are_held_and_no_more() {
        let ((mut client, mut edge), (mut back, _origin)) = (duplex(1 << 20), duplex(1));
        client.write_all(&[7; 100_000]).await.unwrap();
        let up = Cell::new(0);
        let mut relaying = pin!(relay(
            &mut edge,
            &mut back,
            |bytes| up.set(up.get() + bytes),
            |_| {},
            PARTING,
        ));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(relaying.as_mut().poll(&mut cx).is_pending());
        assert_eq!(up.get(), 16 << 10);
    }

    #[tokio::test]
    async fn whose_side_broke_off_is_told() {
        let ((mut client, mut edge), (origin, mut back)) = (side(), side());
        drop(origin);
        client.write_all(b"hello").await.unwrap();
        let broken = relay(&mut edge, &mut back, |_| {}, |_| {}, PARTING).await;
        assert!(matches!(broken, Err(Broken::Origin(_))), "{broken:?}");
    }

    #[tokio::test]
    async fn what_a_side_said_last_arrives_though_it_takes_no_more() {
        let ((mut client, mut edge), (mut origin, mut back)) = (side(), side());
        origin.write_all(&[7; 900]).await.unwrap();
        drop(origin);
        client.write_all(b"hello").await.unwrap();
        let broken = relay(&mut edge, &mut back, |_| {}, |_| {}, PARTING).await;
        assert!(matches!(broken, Err(Broken::Origin(_))), "{broken:?}");
        let mut heard = [0; 900];
        client.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, [7; 900]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_side_that_reads_nothing_is_given_up_when_the_other_has_left() {
        let ((mut client, mut edge), (mut origin, mut back)) = (duplex(1), duplex(1000));
        origin.write_all(&[7; 900]).await.unwrap();
        drop(origin);
        client.write_all(b"x").await.unwrap();
        let began = tokio::time::Instant::now();
        let broken = relay(&mut edge, &mut back, |_| {}, |_| {}, PARTING).await;
        assert!(matches!(broken, Err(Broken::Origin(_))), "{broken:?}");
        assert_eq!(began.elapsed(), PARTING);
    }

    /// A connection that its other end resets.
    async fn reset() -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (side, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        accepted.unwrap().0.set_zero_linger().unwrap();
        side.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_side_that_was_reset() {
        let (_client, mut edge) = duplex(1000);
        let began = tokio::time::Instant::now();
        let broken = relay(&mut edge, &mut reset().await, |_| {}, |_| {}, PARTING).await;
        assert!(matches!(broken, Err(Broken::Origin(_))), "{broken:?}");
        let broken = relay(&mut reset().await, &mut edge, |_| {}, |_| {}, PARTING).await;
        assert!(matches!(broken, Err(Broken::Client(_))), "{broken:?}");
        assert!(began.elapsed() < PARTING);
    }

    #[tokio::test]
    async fn a_way_that_is_always_busy_does_not_keep_the_other_waiting() {
        let ((mut client, mut edge), mut back) = (side(), tokio::io::repeat(7));
        let heard = Cell::new(0);
        let mut back = tokio::io::join(&mut back, tokio::io::sink());
        let relaying = relay(&mut edge, &mut back, |up| heard.set(up), |_| {}, PARTING);
        let asking = async {
            client.write_all(b"hello").await.unwrap();
            let mut said = vec![0; 1 << 10];
            while heard.get() == 0 {
                client.read_exact(&mut said).await.unwrap();
            }
        };
        tokio::select! {
            _ = relaying => panic!("neither side has ended"),
            () = asking => {}
        }
    }
}
