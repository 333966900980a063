//! An origin whose connections are as a test wants them: a PROXY header first, TLS with or without a certificate of
//! the client, HTTP/1.1 or HTTP/2.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

pub type Answered = Response<BoxBody<Bytes, Infallible>>;

/// What comes before HTTP on a connection.
#[derive(Clone, Default)]
pub struct Wire {
    /// A PROXY header of this many bytes.
    pub header: usize,
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Without TLS: HTTP/2 by prior knowledge.
    pub http2: bool,
}

/// A request as it came over the wire.
pub struct Wired {
    pub request: Request<Incoming>,
    /// The connection's PROXY header.
    pub header: Arc<Vec<u8>>,
    /// How many certificates the client showed.
    pub shown: usize,
}

/// A server that ends with the test.
pub struct WiredOrigin {
    pub address: SocketAddr,
    /// How each connection that began HTTP speaks it.
    pub versions: Arc<Mutex<Vec<Version>>>,
    runtime: Option<Runtime>,
}

impl WiredOrigin {
    pub fn start<S, F>(wire: Wire, serve: S) -> Self
    where
        S: Fn(Wired) -> F + Send + Sync + Clone + 'static,
        F: Future<Output = Answered> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let versions: Arc<Mutex<Vec<Version>>> = Arc::default();
        let begun = versions.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(begin(stream, wire.clone(), serve.clone(), begun.clone()));
            }
        });
        Self {
            address,
            versions,
            runtime: Some(runtime),
        }
    }
}

impl Drop for WiredOrigin {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn begin<S, F>(mut tcp: TcpStream, wire: Wire, serve: S, begun: Arc<Mutex<Vec<Version>>>)
where
    S: Fn(Wired) -> F + Send + Sync + Clone + 'static,
    F: Future<Output = Answered> + Send + 'static,
{
    tcp.set_nodelay(true).unwrap();
    let mut header = vec![0; wire.header];
    if tcp.read_exact(&mut header).await.is_err() {
        return;
    }
    let header = Arc::new(header);
    let Some(tls) = wire.tls else {
        return speak(tcp, wire.http2, begun, (header, 0), serve).await;
    };
    // A handshake that fails is a client that does not trust us, or one that we do not.
    let Ok(stream) = TlsAcceptor::from(tls).accept(tcp).await else {
        return;
    };
    let session = stream.get_ref().1;
    let http2 = session.alpn_protocol() == Some(b"h2");
    let shown = session.peer_certificates().map_or(0, <[_]>::len);
    speak(stream, http2, begun, (header, shown), serve).await;
}

async fn speak<S, F>(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    http2: bool,
    begun: Arc<Mutex<Vec<Version>>>,
    (header, shown): (Arc<Vec<u8>>, usize),
    serve: S,
) where
    S: Fn(Wired) -> F + Send + Sync + Clone + 'static,
    F: Future<Output = Answered> + Send + 'static,
{
    let service = service_fn(move |request| {
        let answered = serve(Wired {
            request,
            header: header.clone(),
            shown,
        });
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let io = TokioIo::new(io);
    let version = [Version::HTTP_11, Version::HTTP_2][usize::from(http2)];
    begun.lock().unwrap().push(version);
    // How connections end is the clients' affair.
    if http2 {
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = builder.serve_connection(io, service).await;
    } else {
        let builder = hyper::server::conn::http1::Builder::new();
        let _ = builder.serve_connection(io, service).await;
    }
}
