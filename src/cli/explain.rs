//! `meridian explain`: the decision for a client, with the reason for every region.

use std::sync::Arc;

use clap::Args;
use http::Method;
use serde_json::Value;

use super::client::{AdminUrl, Client, fetch_json};
use super::{Cli, Config, Credentials, Done, Failed, explained, runtime, said};
use crate::admin::{Field, Question, TokenReader, explain};
use crate::clock;
use crate::control::World;
use crate::edge::{MissingKeys, Source, load_materials};
use crate::positions::Keyring;
use crate::prefix::Prefix;

/// Explains which region a client is sent to, and why
///
/// Offline, the decision is that of the configuration with every region healthy; with --admin it is
/// the live decision of a running edge. Without either, where there is no folder config/, the edge of
/// MERIDIAN_ADMIN is asked.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// A host name of a service
    #[arg(value_parser = parse_name)]
    name: String,
    /// The client's address or network
    #[arg(long, value_name = "IP[/LEN]")]
    client: Prefix,
    /// The DNS type asked for: A, AAAA or HTTPS
    #[arg(long = "type", value_name = "TYPE", value_parser = parse_type)]
    record_type: Option<String>,
    /// Explain the HTTP decision for this method
    #[arg(long)]
    method: Option<Method>,
    /// A Meridian-Token that the client carries
    #[arg(long)]
    token: Option<String>,
    /// The path of the request, with its query
    #[arg(long)]
    path: Option<String>,
    /// A field of the request, by which residency or the home of a write goes; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    fields: Vec<Field>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: Config,
    /// Ask the running edge at this URL instead
    #[arg(long, value_name = "URL")]
    admin: Option<AdminUrl>,
    #[command(flatten)]
    credentials: Credentials,
}

/// A host name: no URL, no authority with a port, no address in brackets.
fn parse_name(text: &str) -> Result<String, String> {
    let beyond = [':', '/', '?'];
    if !text.contains(beyond) {
        return Ok(text.to_owned());
    }
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let host = rest.split(beyond).next();
    let host = host.filter(|host| !host.is_empty() && !host.starts_with('['));
    let host = host.unwrap_or("www.example.com");
    Err(format!(
        "a host name alone is expected, such as {host}; a path goes under --path"
    ))
}

fn parse_type(text: &str) -> Result<String, String> {
    let text = text.to_ascii_uppercase();
    match text.as_str() {
        "A" | "AAAA" | "HTTPS" => Ok(text),
        _ => Err("A, AAAA or HTTPS is expected".to_owned()),
    }
}

/// What the environment says; ends as clap ends on a value that is none.
fn usual_admin(text: &str) -> AdminUrl {
    text.parse().unwrap_or_else(|why: String| {
        let message = format!("invalid value '{text}' for MERIDIAN_ADMIN: {why}");
        Cli::bad_value(&["explain"], &message)
    })
}

impl Explain {
    pub(super) fn run(self) -> Done {
        let usual = || {
            let usual = std::env::var("MERIDIAN_ADMIN").ok();
            usual.filter(|_| self.config.is_nowhere())
        };
        match self
            .admin
            .clone()
            .or_else(|| usual().map(|text| usual_admin(&text)))
        {
            Some(admin) => self.ask(admin),
            None => self.work_out(),
        }
    }

    fn question(&self) -> Question {
        Question {
            name: self.name.clone(),
            client: self.client,
            record_type: self.record_type.clone(),
            method: self.method.as_ref().map(Method::to_string),
            token: self.token.clone(),
            path: self.path.clone(),
            fields: self.fields.clone(),
        }
    }

    fn work_out(self) -> Done {
        let loaded = Source::paths(self.config.paths.clone())
            .load()
            .map_err(|problems| {
                let hint = self.config.hint("; --admin URL asks a running edge");
                Failed(format!("{problems}{hint}"))
            })?;
        let materials = load_materials(&loaded, None, MissingKeys::Leave)
            .map_err(|problems| Failed(loaded.problems(problems).to_string()))?;
        let keyring = Keyring::new(&loaded.plan.keys);
        let (snapshot, _) =
            World::new(Arc::new(loaded.plan), materials.clients).snapshot(clock::unix_ms());
        let now = (clock::unix_secs(), clock::steady_ms());
        let reader = TokenReader {
            keyring: &keyring,
            sessions: None,
        };
        let explanation = explain(
            &snapshot,
            &materials.database,
            reader,
            &self.question(),
            now,
        )?;
        let explanation = explanation.to_json();
        if self.json {
            say!("{explanation:#}");
        } else {
            for line in explained::lines(&explanation) {
                say!("{line}");
            }
        }
        Ok(())
    }

    fn ask(self, admin: AdminUrl) -> Done {
        let question = self.question();
        let mut query = vec![
            ("name", question.name),
            ("client", question.client.to_string()),
        ];
        query.extend(question.record_type.map(|value| ("type", value)));
        query.extend(question.method.map(|value| ("method", value)));
        query.extend(question.token.map(|value| ("token", value)));
        query.extend(question.path.map(|value| ("path", value)));
        let fields = question.fields.iter().map(Field::to_string);
        query.extend(fields.map(|value| ("header", value)));
        let client = Client::new(admin, self.credentials)?;
        let explanation =
            runtime()?.block_on(fetch_json(client.get("/api/v1/explain").query(&query)))?;
        if self.json {
            say!("{explanation:#}");
            return Ok(());
        }
        for line in explained::lines(&explanation) {
            say!("{line}");
        }
        let status = runtime()?.block_on(fetch_json(client.get("/api/v1/status")))?;
        for line in reasons(&explanation, &status) {
            say!("{line}");
        }
        Ok(())
    }
}

/// Why regions are out that the decision dropped for what they are now, as the status tells.
fn reasons(explanation: &Value, status: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let service = text(&explanation["service"]);
    let steps = explanation["steps"].as_array().into_iter().flatten();
    let whys = steps
        .filter(|step| step["kept"] == false)
        .filter_map(|step| {
            let (rule, region) = (text(&step["rule"]), text(&step["region"]));
            said::why(status, &rule, &region, &service)
        });
    // Of a decision among fewer regions, as those that have an address, each rule is told twice.
    let mut told = Vec::new();
    for why in whys {
        if !told.contains(&why) {
            told.push(why);
        }
    }
    told
}
