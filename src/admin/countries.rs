//! `GET /api/v1/countries`: whereto DNS sends a client of every country now.
//!
//! What it says is what `explain` says of those clients. It is made once for each name and snapshot, however many look.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value, json};

use super::aside::Aside;
use super::explain::{Explanation, OfService, chances_json, explain_of};
use super::explained_token::TokenReader;
use super::parameters::Parameters;
use super::question::{Question, QuestionError};
use super::state::AdminState;
use super::writes::{Refused, bad};
use crate::clock;
use crate::geo::CountryClient;
use crate::prefix::Prefix;
use crate::proxy::Live;
use crate::steering::Snapshot;

/// All countries of a name take some ten milliseconds.
static MAPPING: Aside = Aside::new();

/// Names whose answers are kept for others who look.
const NAMES: usize = 128;

/// What was made of the last snapshot.
#[derive(Default)]
pub struct Atlas(Mutex<Option<Edition>>);

struct Edition {
    snapshot: Arc<Snapshot>,
    by_name: HashMap<String, Bytes>,
}

impl Atlas {
    fn known(&self, snapshot: &Arc<Snapshot>, name: &str) -> Option<Bytes> {
        let edition = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let edition = edition.as_ref()?;
        let is_current = Arc::ptr_eq(&edition.snapshot, snapshot);
        is_current.then(|| edition.by_name.get(name).cloned())?
    }

    fn keep(&self, snapshot: &Arc<Snapshot>, name: String, json: Bytes) {
        let mut edition = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let current = edition
            .take()
            .filter(|edition| Arc::ptr_eq(&edition.snapshot, snapshot));
        let mut by_name = current.map_or_else(HashMap::new, |edition| edition.by_name);
        if by_name.len() < NAMES {
            by_name.insert(name, json);
        }
        *edition = Some(Edition {
            snapshot: snapshot.clone(),
            by_name,
        });
    }
}

/// `?name=HOST`.
pub(super) async fn countries(
    State(state): State<Arc<AdminState>>,
    uri: Uri,
) -> Result<Response, Refused> {
    let given = Parameters::of(&uri, &["name"])?;
    let name = given.text("name");
    let name = name.ok_or_else(|| bad("`name` is needed"))?;
    let live = state.proxy.live.load_full();
    let made = match state.atlas.known(&live.snapshot, &name) {
        Some(known) => Ok(known),
        None => {
            MAPPING
                .run(move || known_or_made(&state, &live, name))
                .await?
        }
    };
    let json = made.map_err(QuestionError::refused)?;
    Ok(([("content-type", "application/json")], json).into_response())
}

/// Whoever had the turn before may have made it.
fn known_or_made(state: &AdminState, live: &Live, name: String) -> Result<Bytes, QuestionError> {
    if let Some(known) = state.atlas.known(&live.snapshot, &name) {
        return Ok(known);
    }
    let json = make(state, live, &name)?;
    state.atlas.keep(&live.snapshot, name, json.clone());
    Ok(json)
}

fn make(state: &AdminState, live: &Live, name: &str) -> Result<Bytes, QuestionError> {
    let database = state.database.load();
    let now = (clock::unix_secs(), clock::steady_ms());
    // The same for all.
    let of = OfService::in_dns(&live.snapshot.plan, name)?;
    let ask = |client: &CountryClient| {
        let question = Question {
            name: name.to_owned(),
            client: Prefix::host(client.address),
            record_type: None,
            method: None,
            token: None,
            path: None,
            fields: Vec::new(),
        };
        let reader = TokenReader {
            keyring: &live.keyring,
            sessions: None,
        };
        explain_of(of, &live.snapshot, &database, reader, &question, now)
    };
    let countries = database.country_clients();
    let countries: Result<Vec<Value>, QuestionError> = countries
        .iter()
        .map(|client| Ok(entry(client, &ask(client)?)))
        .collect();
    Ok(Bytes::from(
        json!({ "name": name, "not_in_dns": of.not_in_dns(), "countries": countries? }).to_string(),
    ))
}

fn entry(client: &CountryClient, explanation: &Explanation) -> Value {
    json!({
        "country": client.country.as_str(),
        "location": client.point.map(|point| [point.lat(), point.lon()]),
        "client": client.address.to_string(),
        "decision": explanation.decision,
        "chances": explanation.chances.as_deref().map(chances_json),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_text;
    use crate::control::World;

    fn snapshot() -> Arc<Snapshot> {
        let yaml = "regions: { a: { addresses: [192.0.2.1] } }\nservices: { www: { hosts: [www.example.com] } }";
        let plan = load_text("edge.yaml", yaml, &|_| None).unwrap().plan;
        let mut world = World::new(Arc::new(plan), Arc::default());
        Arc::new(world.snapshot(0).0)
    }

    #[test]
    fn the_answers_for_128_names_are_kept_until_the_next_snapshot() {
        let (atlas, first, second) = (Atlas::default(), snapshot(), snapshot());
        let name = |number: usize| format!("host-{number}.example.com");
        for number in 0..=NAMES {
            atlas.keep(&first, name(number), Bytes::from(name(number)));
        }
        let is_known = |snapshot, number| atlas.known(snapshot, &name(number)).is_some();
        for number in 0..NAMES {
            let known = atlas.known(&first, &name(number));
            assert_eq!(known, Some(Bytes::from(name(number))));
        }
        assert!(!is_known(&first, NAMES));
        assert!(!is_known(&second, 0));
        atlas.keep(&second, name(NAMES), Bytes::from(name(NAMES)));
        assert!(is_known(&second, NAMES));
        assert!(!is_known(&second, 0));
    }
}
