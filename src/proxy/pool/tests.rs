//! Requests that come at once, and the connections that are made for them.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::*;

use crate::config::plan;
use crate::proxy::body::Body;
use crate::proxy::origin_tls::Credentials;

/// An origin that takes so many requests at once on a connection, and speaks once so many connections have come to it.
async fn origin(scheme: OriginScheme, most: u32, gathered: usize) -> OriginUrl {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = url(scheme, listener.local_addr().unwrap());
    let gathered = Arc::new(Barrier::new(gathered));
    let tls = (scheme == OriginScheme::Https).then(acceptor);
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let (gathered, tls) = (gathered.clone(), tls.clone());
            tokio::spawn(async move {
                gathered.wait().await;
                match tls {
                    None => speak(tcp, most).await,
                    Some(tls) => {
                        // One that is given up meanwhile says nothing.
                        if let Ok(stream) = tls.accept(tcp).await {
                            speak(stream, most).await;
                        }
                    }
                }
            });
        }
    });
    url
}

fn url(scheme: OriginScheme, address: SocketAddr) -> OriginUrl {
    OriginUrl {
        scheme,
        host: address.ip().to_string().into(),
        port: address.port(),
    }
}

fn acceptor() -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(vec!["www.example.com".into()]).unwrap();
    let key = made.signing_key.serialize_der().try_into().unwrap();
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin, most: u32) {
    let mut builder = h2::server::Builder::new();
    let shaking_hands = builder.max_concurrent_streams(most);
    let Ok(mut connection) = shaking_hands.handshake::<_, Bytes>(stream).await else {
        return;
    };
    while connection.accept().await.is_some() {}
}

struct Edge {
    pool: Pool,
    url: OriginUrl,
    tls: OriginTls,
}

impl Edge {
    fn of(url: &OriginUrl) -> Arc<Self> {
        let trust = plan::OriginTls {
            ca: None,
            verify: false,
            server_name: None,
            identity: None,
        };
        Arc::new(Self {
            pool: Pool::of_one_of(1),
            url: url.clone(),
            tls: OriginTls::new(&trust, &Credentials::default()),
        })
    }

    async fn lease(&self) -> Result<(Sender, Lease), Problem> {
        let endpoint = Endpoint {
            url: &self.url,
            host: "www.example.com",
            hosts: &[],
            tls: &self.tls,
            connect_timeout: Duration::from_secs(20),
            proxy_header: None,
            tried: None,
        };
        self.pool.lease(&endpoint, Wanted::Any).await
    }

    /// So many at once.
    async fn leases(self: &Arc<Self>, count: usize) -> Vec<Result<(Sender, Lease), Problem>> {
        let mut asking = JoinSet::new();
        for _ in 0..count {
            let edge = self.clone();
            asking.spawn(async move { edge.lease().await });
        }
        asking.join_all().await
    }
}

/// How many connections were made for these, each of which has room on one of HTTP/2.
fn made_for(leases: &[Result<(Sender, Lease), Problem>]) -> usize {
    let made = leases.iter().filter(|lease| match lease {
        Ok((Sender::Http2(_), lease)) => !lease.reused,
        Ok((Sender::Http1(_), _)) => panic!("one is of HTTP/1.1"),
        Err(problem) => panic!("{problem}"),
    });
    made.count()
}

#[tokio::test]
async fn requests_that_come_while_a_connection_of_http2_is_made_wait_for_it() {
    let edge = Edge::of(&origin(OriginScheme::H2c, 100, 1).await);
    assert_eq!(made_for(&edge.leases(90).await), 1);
}

#[tokio::test]
async fn for_those_beyond_what_one_connection_takes_others_are_made() {
    let edge = Edge::of(&origin(OriginScheme::H2c, 100, 1).await);
    let full = edge.leases(100).await;
    assert_eq!(made_for(&full), 1);
    assert_eq!(made_for(&edge.leases(200).await), 2);
}

#[tokio::test]
async fn no_second_request_goes_on_a_connection_whose_origin_has_not_said_how_many_it_takes() {
    let edge = Edge::of(&origin(OriginScheme::H2c, 1, 1).await);
    assert_eq!(made_for(&edge.leases(5).await), 5);
}

#[tokio::test]
async fn the_first_connection_that_turns_out_to_be_of_http2_is_everybody_s() {
    // All eight connect: none hears of the version before.
    let edge = Edge::of(&origin(OriginScheme::Https, 100, 8).await);
    assert!(made_for(&edge.leases(8).await) < 8);
}

/// Lets it begin, or go on once.
async fn goes_on(lease: &mut Pin<Box<impl Future<Output = Result<(Sender, Lease), Problem>>>>) {
    tokio::select! {
        biased;
        _ = lease => panic!("nothing is made at once"),
        () = std::future::ready(()) => {}
    }
}

#[tokio::test]
async fn who_waits_for_a_connection_whose_maker_leaves_gets_another() {
    let edge = Edge::of(&origin(OriginScheme::H2c, 100, 1).await);
    let (mut maker, mut waiting) = (Box::pin(edge.lease()), Box::pin(edge.lease()));
    goes_on(&mut maker).await;
    goes_on(&mut waiting).await;
    drop(maker);
    assert_eq!(made_for(&[waiting.await]), 1);
}

#[tokio::test]
async fn who_has_waited_for_two_connections_in_vain_makes_its_own() {
    let edge = Edge::of(&origin(OriginScheme::H2c, 100, 1).await);
    let (mut maker, mut waiting) = (Box::pin(edge.lease()), Box::pin(edge.lease()));
    for _ in 0..2 {
        goes_on(&mut maker).await;
        goes_on(&mut waiting).await;
        maker = Box::pin(edge.lease());
    }
    // This one stays and never goes on: whoever waited for it would wait for ever.
    goes_on(&mut maker).await;
    let made = tokio::time::timeout(Duration::from_secs(10), waiting).await;
    assert_eq!(made_for(&[made.expect("it makes its own")]), 1);
}

#[tokio::test]
async fn who_waits_for_a_connection_that_fails_hears_why() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let leases = Edge::of(&url(OriginScheme::H2c, nobody)).leases(9).await;
    assert!(
        leases
            .iter()
            .all(|lease| matches!(lease, Err(Problem::Unreachable(_))))
    );
}

#[tokio::test]
async fn an_origin_that_takes_nothing_gets_no_more_than_two_connections() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let edge = Edge::of(&url(OriginScheme::H2c, listener.local_addr().unwrap()));
    tokio::spawn(async move {
        let mut unread = Vec::new();
        loop {
            unread.push(listener.accept().await.unwrap());
        }
    });
    let large = || {
        let request = http::Request::builder().uri("http://www.example.com/");
        let request = request.header("x", "a".repeat(200 << 10));
        request.body(Body::Empty).unwrap()
    };
    let (mut asking, mut made) = (JoinSet::new(), 0);
    let refused = loop {
        match edge.lease().await {
            Ok((Sender::Http2(place), lease)) => {
                made += usize::from(!lease.reused);
                asking.spawn(async move { place.ask(large(), |_| {}).await.is_ok() });
                // Whoever writes has its turn.
                for _ in 0..8 {
                    tokio::task::yield_now().await;
                }
            }
            Ok((Sender::Http1(_), _)) => panic!("one is of HTTP/1.1"),
            Err(problem) => break problem.to_string(),
        }
    };
    assert_eq!(made, 2);
    assert!(refused.contains("takes nothing"), "{refused}");
}
