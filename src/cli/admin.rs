//! The subcommands that talk to a running edge: status, drain, undrain, reload, events, healthcheck.
#![expect(
    clippy::indexing_slicing,
    reason = "a JSON value indexed by a key it lacks gives null"
)]

use std::path::Path;

use clap::Args;
use futures_util::StreamExt;
use reqwest::{Method, RequestBuilder};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};

use super::{Credentials, Done, Failed, Running, foreseen, runtime};

/// A client of the admin API.
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Client {
    pub(super) fn new(base: &str, credentials: Credentials) -> Result<Self, Failed> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .tls_backend_preconfigured(trust(credentials.admin_ca.as_deref())?);
        Ok(Self {
            http: http.build()?,
            base: if base.contains("://") {
                base.trim_end_matches('/').to_owned()
            } else {
                format!("http://{}", base.trim_end_matches('/'))
            },
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
        Client::new(&self.admin, self.credentials)
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
    let status = response.status();
    let text = response.text().await?;
    let value: Value = serde_json::from_str(&text).map_err(|_| {
        Failed(format!(
            "error: the answer ({status}) is no JSON: is this a Meridian admin address?"
        ))
    })?;
    if status.is_success() {
        return Ok(value);
    }
    let why = value["error"]
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    let mut message = format!("error: {why}");
    for problem in value["problems"].as_array().into_iter().flatten() {
        let text = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
        let (file, line, column) = (text("file"), &problem["line"], &problem["column"]);
        let place = if file.is_empty() {
            String::new()
        } else {
            format!("{file}:{line}:{column}: ")
        };
        message.push_str(&format!("\n{place}{}", text("message")));
    }
    Err(Failed(message))
}

fn unreachable(error: &reqwest::Error) -> Failed {
    let at = error.url().map_or_else(String::new, |url| {
        format!(" at {}://{}", url.scheme(), url.authority())
    });
    Failed(format!(
        "error: no edge answers{at}: {error} (say where it is with --admin or MERIDIAN_ADMIN)"
    ))
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

/// Shows how a running edge and its regions are
#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    running: Running,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn run(self) -> Done {
        let client = self.running.client()?;
        let status = runtime()?.block_on(fetch_json(client.get("/api/v1/status")))?;
        if self.json {
            say!("{status:#}");
        } else {
            say!("{}", show(&status));
        }
        Ok(())
    }
}

fn show(status: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let ready = if status["ready"] == true {
        "ready"
    } else {
        "not ready"
    };
    let mut out = format!(
        "{} {} is {ready}, configuration {} since {}\n",
        text(&status["node"]),
        text(&status["version"]),
        status["config"]["generation"],
        text(&status["config"]["loaded_at"])
    );
    if let Some(message) = status["config"]["error"]["message"].as_str() {
        out.push_str(&format!("the last reload was refused: {message}\n"));
    }
    for region in list(&status["regions"]) {
        let rtt = region["rtt_ms"]
            .as_f64()
            .map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms"));
        out.push_str(&format!(
            "{:20} {:10} {rtt}\n",
            text(&region["name"]),
            text(&region["state"])
        ));
        for service in list(&region["services"]) {
            let since = text(&service["since"]);
            out.push_str(&format!(
                "  {:18} {:10} since {since}{}\n",
                text(&service["name"]),
                text(&service["state"]),
                said_by_operators(&service)
            ));
            for origin in list(&service["origins"]) {
                let last = &origin["last_check"];
                let ejected = &origin["ejected"];
                let detail = if !ejected.is_null() {
                    let until = text(&ejected["until"]);
                    format!("ejected until {until}: {}", text(&ejected["detail"]))
                } else if last.is_null() {
                    "not checked yet".to_owned()
                } else {
                    text(&last["detail"])
                };
                out.push_str(&format!(
                    "    {:36} {:10} {detail}\n",
                    text(&origin["url"]),
                    text(&origin["state"])
                ));
            }
        }
    }
    out
}

/// What an operator said of a region of a service, if anything.
fn said_by_operators(service: &Value) -> String {
    let forced = service["forced"].as_str();
    let forced = forced.map_or(String::new(), |state| format!(", forced {state}"));
    match service["share"].as_u64() {
        Some(share @ 1..100) => format!("{forced}, takes {share} % of clients"),
        Some(_) | None => forced,
    }
}

/// Takes a region out of service
///
/// DNS stops answering with it at once; HTTP clients with affinity to it stay until the service's
/// drain time has passed.
#[derive(Debug, Args)]
pub(super) struct Drain {
    /// The region
    region: String,
    /// Only for this service
    #[arg(long)]
    service: Option<String>,
    /// For how long, such as 30m
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    lasts: Option<String>,
    /// Little by little: so long until it takes no new client, such as 10m
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    over: Option<String>,
    /// Why, for whoever looks at the page later
    #[arg(long)]
    reason: Option<String>,
    /// Even if guards.min_regions forbids it
    #[arg(long)]
    force: bool,
    /// Show whose traffic would move, and where to, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    running: Running,
}

pub(super) fn duration(text: &str) -> Result<String, String> {
    crate::units::parse_duration(text)
        .map(|_| text.to_owned())
        .map_err(|error| error.to_string())
}

impl Drain {
    pub(super) fn run(self) -> Done {
        let client = self.running.client()?;
        let path = format!("/api/v1/drains/{}", segment(&self.region));
        let body = json!({
            "service": self.service, "for": self.lasts, "over": self.over, "reason": self.reason,
            "force": self.force,
        });
        let mut request = client.request(Method::PUT, &path).json(&body);
        if self.dry_run {
            request = request.query(&[("dry_run", "true")]);
        }
        let answer = runtime()?.block_on(fetch_json(request))?;
        if self.json {
            say!("{answer:#}");
        } else if self.dry_run {
            say!("{}", foreseen::show(&answer));
        } else {
            let over = self
                .over
                .map_or(String::new(), |over| format!(" over {over}"));
            say!("region {} is drained{over}", self.region);
        }
        Ok(())
    }
}

/// Puts a drained region back into service
#[derive(Debug, Args)]
pub(super) struct Undrain {
    /// The region
    region: String,
    /// Only for this service
    #[arg(long)]
    service: Option<String>,
    #[command(flatten)]
    running: Running,
}

impl Undrain {
    pub(super) fn run(self) -> Done {
        let client = self.running.client()?;
        let path = format!("/api/v1/drains/{}", segment(&self.region));
        let query: Vec<(&str, String)> = self
            .service
            .into_iter()
            .map(|service| ("service", service))
            .collect();
        runtime()?.block_on(fetch_json(
            client.request(Method::DELETE, &path).query(&query),
        ))?;
        say!("region {} is back", self.region);
        Ok(())
    }
}

/// Makes a running edge load its configuration anew
#[derive(Debug, Args)]
pub(super) struct Reload {
    #[command(flatten)]
    running: Running,
}

impl Reload {
    pub(super) fn run(self) -> Done {
        let client = self.running.client()?;
        let reloaded =
            runtime()?.block_on(fetch_json(client.request(Method::POST, "/api/v1/reload")))?;
        say!("configuration {} is in force", reloaded["generation"]);
        for change in reloaded["changes"].as_array().into_iter().flatten() {
            say!("  {}", change.as_str().unwrap_or_default());
        }
        Ok(())
    }
}

/// Prints what happened on a running edge
#[derive(Debug, Args)]
pub(super) struct Events {
    /// Go on with what happens next
    #[arg(long)]
    follow: bool,
    /// Only events after this number
    #[arg(long, value_name = "ID", default_value_t = 0)]
    since: u64,
    #[command(flatten)]
    running: Running,
}

/// Without --follow, a pause this long in the stream means that all that is kept has come.
const QUIET: std::time::Duration = std::time::Duration::from_millis(300);

impl Events {
    pub(super) fn run(self) -> Done {
        runtime()?.block_on(async {
            let client = self.running.client()?;
            let request = client.get("/api/v1/events").query(&[("since", self.since)]);
            let response = request
                .send()
                .await
                .map_err(|error| unreachable(&error))?
                .error_for_status()?;
            let mut stream = response.bytes_stream();
            let mut pending = String::new();
            loop {
                let next = if self.follow {
                    stream.next().await
                } else {
                    tokio::time::timeout(QUIET, stream.next())
                        .await
                        .unwrap_or(None)
                };
                let Some(chunk) = next.transpose()? else {
                    return Ok(());
                };
                pending.push_str(&String::from_utf8_lossy(&chunk));
                while let Some((line, rest)) = pending.split_once('\n') {
                    if let Some(event) = line
                        .strip_prefix("data:")
                        .and_then(|data| serde_json::from_str(data).ok())
                    {
                        say!("{}", event_line(&event));
                    }
                    pending = rest.to_owned();
                }
            }
        })
    }
}

fn event_line(event: &Value) -> String {
    let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
    format!(
        "{:>5}  {}  {:8}  {}",
        event["id"].to_string(),
        text("at"),
        text("kind"),
        text("message")
    )
}

/// Exits with 0 if a running edge is ready, for container health checks
#[derive(Debug, Args)]
pub(super) struct Healthcheck {
    #[command(flatten)]
    running: Running,
}

impl Healthcheck {
    pub(super) fn run(self) -> Done {
        let client = self.running.client()?;
        let sent = runtime()?.block_on(client.get("/readyz").send());
        let status = sent.map_err(|error| unreachable(&error))?.status();
        if status.is_success() {
            Ok(())
        } else {
            Err(Failed(format!("error: the edge answers {status}")))
        }
    }
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
            let credentials = Credentials {
                admin_token: None,
                admin_ca: None,
            };
            let client = Client::new(given, credentials).map_err(drop).unwrap();
            assert_eq!(client.base, expected);
        }
    }
}
