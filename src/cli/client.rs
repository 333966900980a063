//! The way to a running edge's admin API.
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Url};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;

use super::refusal::{self, unreachable};
use super::{Credentials, Failed, Running};

/// How long an edge may say nothing before and within an answer. Whoever follows its events hears something every 5 s.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// A client of the admin API.
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

/// Where an admin API is: an http or https URL without a final slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AdminUrl(String);

impl FromStr for AdminUrl {
    type Err = String;

    /// Without a scheme it is http.
    fn from_str(text: &str) -> Result<Self, String> {
        let url = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let parsed = Url::parse(&url).map_err(|error| error.to_string());
        let why = match parsed {
            Ok(url) if !["http", "https"].contains(&url.scheme()) => "neither http nor https",
            Ok(url) if url.query().is_some() || url.fragment().is_some() => {
                "it has more than a host, a port and a path"
            }
            Ok(_) => return Ok(Self(url.trim_end_matches('/').to_owned())),
            Err(ref why) => why,
        };
        Err(format!(
            "{why}: the address of an admin API is expected, such as http://127.0.0.1:9090"
        ))
    }
}

impl Client {
    pub(super) fn new(base: AdminUrl, credentials: Credentials) -> Result<Self, Failed> {
        Self::patient(base, credentials, ANSWERS_WITHIN)
    }

    /// Of whom an edge may keep waiting so long.
    fn patient(
        base: AdminUrl,
        credentials: Credentials,
        silence: Duration,
    ) -> Result<Self, Failed> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .read_timeout(silence)
            .tls_backend_preconfigured(trust(credentials.admin_ca.as_deref())?);
        let can_be_sent = |token: &String| token.bytes().all(|byte| byte.is_ascii_graphic());
        if !credentials.admin_token.iter().all(can_be_sent) {
            let why = "error: --admin-token or MERIDIAN_ADMIN_TOKEN: visible characters of ASCII are expected, without blanks or ends of lines";
            return Err(Failed(why.to_owned()));
        }
        Ok(Self {
            http: http.build()?,
            base: base.0,
            token: credentials.admin_token,
        })
    }

    pub(super) fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}

impl Running {
    pub(super) fn client(self) -> Result<Client, Failed> {
        Client::new(self.admin, self.credentials)
    }

    /// A client that gives an edge up after such a silence.
    pub(super) fn client_for(self, silence: Duration) -> Result<Client, Failed> {
        Client::patient(self.admin, self.credentials, silence)
    }
}

/// Whom a client of an encrypted admin believes: the public roots, or those of a file.
fn trust(ca: Option<&Path>) -> Result<rustls::ClientConfig, Failed> {
    let mut roots = rustls::RootCertStore::empty();
    match ca {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let failed =
                |why: String| Failed(format!("error: --admin-ca {}: {why}", path.display()));
            let found = CertificateDer::pem_file_iter(path).map_err(|e| failed(e.to_string()))?;
            for certificate in found {
                let certificate = certificate.map_err(|e| failed(e.to_string()))?;
                roots.add(certificate).map_err(|e| failed(e.to_string()))?;
            }
            if roots.is_empty() {
                return Err(failed("no certificate in PEM in it".to_owned()));
            }
        }
    }
    let config = rustls::ClientConfig::builder().with_root_certificates(roots);
    Ok(config.with_no_client_auth())
}

/// Sends and reads JSON; an error of the edge is told in its own words.
pub(super) async fn fetch_json(request: RequestBuilder) -> Result<Value, Failed> {
    let response = request.send().await.map_err(|error| unreachable(&error))?;
    refusal::read(response).await
}

/// A name as one segment of a path: whatever is no letter, digit, `-`, `_` or `.` percent-encoded
/// (RFC 3986 §2.1). Dots alone would climb.
pub(super) fn segment(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let climbs = name.bytes().all(|byte| byte == b'.');
    name.bytes()
        .map(|byte| match byte {
            b'.' if !climbs => ".".to_owned(),
            byte if is_plain(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// A duration as the API takes it: as it was written.
pub(super) fn duration(text: &str) -> Result<String, String> {
    crate::units::parse_duration(text)
        .map(|_| text.to_owned())
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_scheme_is_http() {
        for (given, expected) in [
            ("127.0.0.1:9090", "http://127.0.0.1:9090"),
            ("edge.example/", "http://edge.example"),
            ("http://edge.example", "http://edge.example"),
            ("https://edge.example/", "https://edge.example"),
        ] {
            assert_eq!(given.parse(), Ok(AdminUrl(expected.to_owned())));
        }
    }

    #[test]
    fn an_address_that_is_none_is_refused_with_why() {
        for given in [
            "",
            "nonsense url",
            "http://",
            "http://[::",
            "http://edge.example:99999",
            "ftp://edge.example",
            "http://edge.example/?a=b",
        ] {
            let refused = given.parse::<AdminUrl>().unwrap_err();
            assert!(
                refused.contains("such as http://127.0.0.1:9090"),
                "{given}: {refused}"
            );
        }
    }
}
