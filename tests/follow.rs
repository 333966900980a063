//! Long polls (`consistency.follow`) over every kind of connection that an origin may want.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, Version};
use http_body_util::{BodyExt, Full};
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use support::{Answered, Edge, Wire, Wired, WiredOrigin, wait_until};
use tokio::sync::watch;

const HOST: &str = "api.example.com";

/// A region that can be followed, and how its polls came.
struct Followed {
    origin: WiredOrigin,
    applied: watch::Sender<u64>,
    polls: Arc<Mutex<Vec<Poll>>>,
}

struct Poll {
    version: Version,
    host: String,
    header: Vec<u8>,
    shown: usize,
}

impl Followed {
    fn start(wire: Wire) -> Self {
        let (applied, polls) = (watch::Sender::new(0), Arc::<Mutex<Vec<Poll>>>::default());
        let (store, seen) = (applied.clone(), polls.clone());
        let serve = move |wired| answer(wired, store.clone(), seen.clone());
        Self {
            origin: WiredOrigin::start(wire, serve),
            applied,
            polls,
        }
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.origin.address)
    }
}

/// Health checks are told nothing of positions, so that long polls alone can tell.
async fn answer(wired: Wired, store: watch::Sender<u64>, polls: Arc<Mutex<Vec<Poll>>>) -> Answered {
    let request = &wired.request;
    let Some(query) = request.uri().query() else {
        return Response::new(Full::new(Bytes::from("ok")).boxed());
    };
    let after = query.strip_prefix("after=").unwrap();
    let after = after.strip_suffix("&wait=30s").unwrap().to_owned();
    let host = request
        .headers()
        .get("host")
        .map(|host| host.to_str().unwrap());
    let host = host.or(request.uri().host()).unwrap_or_default().to_owned();
    polls.lock().unwrap().push(Poll {
        version: request.version(),
        host,
        header: wired.header.to_vec(),
        shown: wired.shown,
    });
    let mut applied = store.subscribe();
    let is_news = |seq: &u64| after != format!("here={seq}");
    let news = tokio::time::timeout(Duration::from_secs(30), applied.wait_for(is_news));
    let seq = news.await.map_or(0, |news| *news.unwrap());
    let answer = Response::builder().header("Meridian-Applied", format!("here={seq}"));
    answer.body(Full::default().boxed()).unwrap()
}

fn edge(url: &str, tls: &str, region: &str) -> Edge {
    Edge::start(&format!(
        "listen: {{ https: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
tls: {{ {tls} }}
regions: {{ here: {{ origins: ['{url}'] {region} }} }}
services:
  api:
    hosts: [{HOST}]
    health: {{ interval: 1h, recheck_interval: 1h }}
    consistency: {{ read_your_writes: true, follow: /follow }}
"
    ))
}

/// What the edge knows by long polls, one after the other, moves with the store.
#[track_caller]
fn check_follows(followed: &Followed, edge: &Edge) {
    for seq in ["1", "2", "3"] {
        followed.applied.send_replace(seq.parse().unwrap());
        let knows = || {
            let (_, status) = edge.admin("GET", "/api/v1/status", "");
            status["regions"][0]["services"][0]["applied"]["here"] == *seq
        };
        assert!(wait_until(knows), "{seq}: {}", edge.process.said());
    }
}

/// Health checks take a connection each; polls share one.
#[track_caller]
fn check_polls(followed: &Followed, version: Version) {
    let polls = followed.polls.lock().unwrap();
    assert!(polls.len() >= 3, "{}", polls.len());
    for poll in polls.iter() {
        assert_eq!((poll.version, poll.host.as_str()), (version, HOST));
    }
    let connections = followed.origin.versions.lock().unwrap().len();
    assert!(connections < polls.len(), "{connections} connections");
}

/// What never works: failures are counted, and nothing is believed.
#[track_caller]
fn check_fails(edge: &Edge) {
    let counted = |result| edge.counted("meridian_follow_polls_total", &[result]);
    assert!(wait_until(|| counted("result=\"failed\"") >= 2));
    assert_eq!(counted("result=\"news\""), 0);
    let said = || edge.process.said().contains("cannot be followed");
    assert!(wait_until(said), "{}", edge.process.said());
}

#[test]
fn an_origin_that_speaks_http_2_by_prior_knowledge_is_followed() {
    let followed = Followed::start(Wire {
        http2: true,
        ..Wire::default()
    });
    let edge = edge(&followed.url("h2c"), "", "");
    check_follows(&followed, &edge);
    check_polls(&followed, Version::HTTP_2);
}

#[test]
fn polls_begin_with_the_proxy_header_of_the_edge_s_own_connections() {
    let of_versions: [(&str, &[u8]); 2] = [
        ("v1", b"PROXY UNKNOWN\r\n"),
        ("v2", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"),
    ];
    for (version, header) in of_versions {
        let followed = Followed::start(Wire {
            header: header.len(),
            ..Wire::default()
        });
        let region = format!(", proxy_protocol: {version}");
        let edge = edge(&followed.url("http"), "", &region);
        check_follows(&followed, &edge);
        check_polls(&followed, Version::HTTP_11);
        let polls = followed.polls.lock().unwrap();
        assert!(polls.iter().all(|poll| poll.header == header), "{version}");
    }
}

/// Somebody who signs certificates.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
    name: &'static str,
}

impl Authority {
    fn new(folder: &Path, name: &'static str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(folder.join(name), issuer.pem()).unwrap();
        Self {
            issuer,
            folder: folder.to_owned(),
            name,
        }
    }

    fn ca(&self) -> PathBuf {
        self.folder.join(self.name)
    }

    /// Files of a certificate that it signed, and of its key.
    fn signs(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let path = |end: &str| self.folder.join(format!("{}-{name}.{end}", self.name));
        fs::write(path("pem"), cert.pem()).unwrap();
        fs::write(path("key"), key.serialize_pem()).unwrap();
        (path("pem"), path("key"))
    }

    /// An origin's TLS. `clients`: takes only those with a certificate of this authority.
    fn tls(&self, clients: Option<&Self>, alpn: &[&[u8]]) -> Wire {
        let (cert, key) = self.signs(HOST);
        let cert = CertificateDer::from_pem_file(cert).unwrap();
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots
                    .add(CertificateDer::from_pem_file(clients.ca()).unwrap())
                    .unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                config.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let mut config = config.with_single_cert(vec![cert], key).unwrap();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Wire {
            tls: Some(Arc::new(config)),
            ..Wire::default()
        }
    }
}

#[test]
fn an_origin_over_https_is_followed_with_the_origins_ca_and_no_other_by_http_2_where_it_offers_it()
{
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new(folder.path(), "ours");
    let theirs = Authority::new(folder.path(), "theirs");
    let offers: [(&[&[u8]], Version); 3] = [
        (&[b"h2", b"http/1.1"], Version::HTTP_2),
        (&[b"http/1.1"], Version::HTTP_11),
        (&[], Version::HTTP_11),
    ];
    let trusting =
        |authority: &Authority| format!("origins: {{ ca: {} }}", authority.ca().display());
    for (alpn, version) in offers {
        let followed = Followed::start(ours.tls(None, alpn));
        let edge = edge(&followed.url("https"), &trusting(&ours), "");
        check_follows(&followed, &edge);
        check_polls(&followed, version);
    }
    let followed = Followed::start(ours.tls(None, &[b"h2"]));
    check_fails(&edge(&followed.url("https"), &trusting(&theirs), ""));
    assert!(followed.polls.lock().unwrap().is_empty());
}

#[test]
fn an_origin_that_asks_for_a_certificate_is_followed_with_the_edge_s() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new(folder.path(), "ours");
    let edges = Authority::new(folder.path(), "edges");
    let (cert, key) = edges.signs("edge");
    let trusting = format!("ca: {}", ours.ca().display());
    let offers: [&[&[u8]]; 2] = [&[b"h2"], &[]];
    for alpn in offers {
        let followed = Followed::start(ours.tls(Some(&edges), alpn));
        let shown = format!(
            "{trusting}, cert: {}, key: {}",
            cert.display(),
            key.display()
        );
        let with = edge(
            &followed.url("https"),
            &format!("origins: {{ {shown} }}"),
            "",
        );
        check_follows(&followed, &with);
        let polls = followed.polls.lock().unwrap();
        assert!(polls.iter().all(|poll| poll.shown == 1));
    }
    let followed = Followed::start(ours.tls(Some(&edges), &[b"h2"]));
    let without = format!("origins: {{ {trusting} }}");
    check_fails(&edge(&followed.url("https"), &without, ""));
    assert!(followed.polls.lock().unwrap().is_empty());
}
