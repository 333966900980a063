//! The decision for a client, region by region, in words: what `explain` prints and the page shows.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use serde_json::{Value, json};

use super::by_type::{Steering, pass_over_without_address};
use super::explained_token::{Carrier, Examiner, TokenReader, ToldToken};
use super::round_trip::{self, Figure};
use crate::config::plan::{Plan, Service};
use crate::earth::Country;
use crate::geo::{Database, Location};
use crate::ids::{RegionId, ServiceId};
use crate::positions::{Flaw, Now, Token};
use crate::prefix::Prefix;
use crate::proxy::{MOST_FIELDS, TokenCarrier, access, residency, tokens_in, write_key};
use crate::steering::{
    Admin, Ask, Chances, Decision, Draw, MemberState, Reason, Require, Rule, Snapshot, Spread,
    Step, Vantage, Verdict, chances_in, stable_hash, steer,
};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// A host name.
    pub name: String,
    /// The client's address or network.
    pub client: Prefix,
    /// The DNS type: A, AAAA or HTTPS. Without it and without a method: A.
    pub record_type: Option<String>,
    /// The HTTP method: then the HTTP decision is explained.
    pub method: Option<String>,
    /// A token that the client carries: then too.
    pub token: Option<String>,
    /// The path and the query of the request: then too.
    pub path: Option<String>,
    /// Fields of the request, by which residency and the home of a write may go: then too.
    pub fields: Vec<Field>,
}

/// A field of a request, as `NAME: VALUE`.
#[derive(Clone, Debug)]
pub struct Field(HeaderName, HeaderValue);

/// A text that is no field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no field: `NAME: VALUE` is expected")]
pub struct NotAField(String);

impl FromStr for Field {
    type Err = NotAField;

    fn from_str(text: &str) -> Result<Self, NotAField> {
        let field = text.split_once(':').and_then(|(name, value)| {
            let name = name.parse().ok()?;
            let value = value.trim().parse().ok()?;
            Some(Self(name, value))
        });
        field.ok_or_else(|| NotAField(text.to_owned()))
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name, value) = self;
        write!(f, "{name}: {}", String::from_utf8_lossy(value.as_bytes()))
    }
}

impl Question {
    /// Whether the HTTP decision is explained.
    fn is_of_http(&self) -> bool {
        let has_more = self.path.is_some() || !self.fields.is_empty();
        self.method.is_some() || self.token.is_some() || has_more
    }
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// Nobody answers for the name.
    #[error("no service answers for `{0}`: it is in the `hosts` of none")]
    UnknownName(String),
    /// Not a type that is steered.
    #[error("`{0}` is not a steered type: A, AAAA or HTTPS is expected")]
    Type(String),
    /// Not a method.
    #[error("`{0}` is no HTTP method")]
    Method(String),
    /// Not a path.
    #[error("`{0}` is no path: `/PATH` or `/PATH?QUERY` is expected")]
    Path(String),
    /// More fields than a request may have.
    #[error("a request has at most {MOST_FIELDS} fields")]
    Fields,
    /// Not a token of this service.
    #[error("the token counts as absent: {0}")]
    Token(Flaw),
}

/// What was decided and why.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Which service answers for the name.
    pub service: String,
    /// What is known of the client.
    pub location: Location,
    /// The widest network around the client that is ranked alike.
    pub scope: Prefix,
    /// Seconds that DNS answers with now.
    pub ttl_secs: u32,
    /// Whether the decision is DNS's or HTTP's.
    pub face: &'static str,
    /// What kind of decision it is.
    pub verdict: String,
    /// The regions in the order to try them.
    pub decision: Vec<String>,
    /// How likely each region is to be first, of those that may be; `None`: what the client must see has moved those that
    /// were drawn.
    pub chances: Option<Vec<(String, f64)>>,
    /// What each rule did.
    pub steps: Vec<ExplainedStep>,
    /// What the tokens of the request are worth.
    pub tokens: Vec<ToldToken>,
}

/// One step in words.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedStep {
    /// To which region.
    pub region: String,
    /// Whether it was still a candidate afterwards.
    pub kept: bool,
    /// Which rule.
    pub rule: &'static str,
    /// Why.
    pub reason: String,
    /// The round trip that decided its place, where one did.
    pub figure: Option<Figure>,
}

/// Explains the decision of a snapshot. `now` is Unix seconds and the steady clock's milliseconds.
pub fn explain(
    snapshot: &Snapshot,
    database: &Database,
    reader: TokenReader<'_>,
    question: &Question,
    (now_secs, now_ms): (u32, u64),
) -> Result<Explanation, QuestionError> {
    let plan = &*snapshot.plan;
    let service_id = service_asked_for(plan, question)?;
    let now = (now_secs, now_ms);
    let Decided {
        decision,
        chances,
        tokens,
    } = decide(snapshot, reader, question, service_id, now)?;
    let client = question.client.address();
    let location = database.lookup(client);
    let clients = &snapshot.clients;
    let estimates = clients.estimates(plan, service_id, &location, client);
    let now_unix_ms = u64::from(now_secs) * 1_000;
    let explain_step = |step: Step| {
        let figure = Figure::of(&step, estimates.iter().flatten(), now_unix_ms);
        let mut explained = explained(plan, &step, figure);
        if is_drained_too(snapshot.member(service_id, step.region), step.reason) {
            explained.reason.push_str("; drained too");
        }
        explained
    };
    let ranked = decision.ranked.iter().map(|choice| choice.region);
    let ranked = names(plan, ranked);
    let verdict = verdict(&decision);
    let steps = not_of_service(plan, service_id).into_iter();
    let mut steps: Vec<ExplainedStep> = steps.chain(decision.steps).map(explain_step).collect();
    if decision.verdict == Verdict::Steered {
        round_trip::tell_near_equals(&mut steps, &location);
    }
    let chance = |(region, chance)| (plan.regions.of(region).name.to_string(), chance);
    Ok(Explanation {
        service: plan.services.of(service_id).name.to_string(),
        location,
        scope: Prefix::around(client, scope(snapshot, service_id, client)),
        ttl_secs: snapshot.services.of(service_id).ttl.secs(),
        face: if question.is_of_http() { "http" } else { "dns" },
        verdict,
        decision: ranked,
        chances: chances.map(|chances| chances.into_iter().map(chance).collect()),
        steps,
        tokens,
    })
}

/// A decision, and what belongs to it.
struct Decided {
    decision: Decision,
    chances: Option<Chances>,
    tokens: Vec<ToldToken>,
}

fn decide(
    snapshot: &Snapshot,
    reader: TokenReader<'_>,
    question: &Question,
    service_id: ServiceId,
    (now_secs, now_ms): (u32, u64),
) -> Result<Decided, QuestionError> {
    let plan = &*snapshot.plan;
    let client = question.client.address();
    let service = plan.services.of(service_id);
    let request = request(question)?;
    let examiner = Examiner {
        snapshot,
        service,
        reader,
        now: Now {
            unix_secs: now_secs,
            steady_ms: now_ms,
        },
    };
    let (token, told) = open_tokens(&examiner, question, request.as_ref())?;
    let goes_by = request.as_ref().map(|parts| GoesBy::of(service, parts));
    let (place, _) = snapshot.clients.locate(service_id, client);
    let dns = Ask {
        spread: Spread::of_network(client).0,
        ..Ask::dns(service_id, place)
    };
    let require = Require {
        vector: token.as_ref().map(|token| &token.vector),
        pin: pinned(plan, token.as_ref()),
        now_ms,
    };
    let ask = match request.as_ref().zip(goes_by.as_ref()) {
        None => dns,
        Some((parts, goes_by)) => Ask {
            spread: Spread::of_client(client),
            vantage: Vantage::Edge,
            access: access(service, &parts.method, parts.uri.path()),
            residency: goes_by.residency.as_deref(),
            write_key: goes_by.write_key.as_deref(),
            require,
            ..dns
        },
    };
    let draw = Draw(stable_hash(&client.to_string()));
    let mut decision = steer(snapshot, &ask, draw);
    if request.is_none() {
        let steering = Steering {
            snapshot,
            ask: &ask,
            draw,
        };
        decision = pass_over_without_address(steering, decision, question)?;
    }
    Ok(Decided {
        chances: chances_in(snapshot, &ask, &decision),
        decision,
        tokens: told,
    })
}

/// The length of the network around the client that is ranked and shared out alike.
fn scope(snapshot: &Snapshot, service: ServiceId, client: IpAddr) -> u8 {
    let (_, scope) = snapshot.clients.locate(service, client);
    if snapshot.services.of(service).is_shared_out() {
        scope.max(Spread::of_network(client).1)
    } else {
        scope
    }
}

/// HTTP goes by hosts alone; DNS steers every name that the zones say.
fn service_asked_for(plan: &Plan, question: &Question) -> Result<ServiceId, QuestionError> {
    let for_host = || plan.service_for_host(&question.name);
    let found = if question.is_of_http() {
        for_host()
    } else {
        plan.service_for_name(&question.name).or_else(for_host)
    };
    found.ok_or_else(|| QuestionError::UnknownName(question.name.clone()))
}

/// What of a request a decision goes by.
struct GoesBy {
    residency: Option<String>,
    write_key: Option<String>,
}

impl GoesBy {
    fn of(service: &Service, parts: &Parts) -> Self {
        Self {
            residency: residency(service, &parts.headers),
            write_key: write_key(service, parts),
        }
    }
}

/// The request whose HTTP decision is explained; a GET of `/` as far as nothing else was said.
fn request(question: &Question) -> Result<Option<Parts>, QuestionError> {
    if !question.is_of_http() {
        return Ok(None);
    }
    if question.fields.len() > MOST_FIELDS {
        return Err(QuestionError::Fields);
    }
    let method = question.method.as_deref().unwrap_or("GET");
    let not_a_method = |_| QuestionError::Method(method.to_owned());
    let path = question.path.as_deref().unwrap_or("/");
    let not_a_path = || QuestionError::Path(path.to_owned());
    let uri = Uri::try_from(path).ok().filter(|_| path.starts_with('/'));
    let fields = question.fields.iter().cloned();
    let mut request = Request::new(());
    *request.method_mut() = method.to_ascii_uppercase().parse().map_err(not_a_method)?;
    *request.uri_mut() = uri.ok_or_else(not_a_path)?;
    *request.headers_mut() = HeaderMap::from_iter(fields.map(|Field(name, value)| (name, value)));
    Ok(Some(request.into_parts().0))
}

/// What the tokens of a question come to together, and what each is worth. One that is asked about by itself has to
/// count; in fields they may count for nothing, as in any request.
fn open_tokens(
    examiner: &Examiner<'_>,
    question: &Question,
    request: Option<&Parts>,
) -> Result<(Option<Token>, Vec<ToldToken>), QuestionError> {
    let asked = question.token.as_deref();
    let asked = asked.map(|text| (Carrier::Parameter, text));
    let carried = request.map_or_else(Vec::new, |parts| tokens_in(&parts.headers));
    let carried = carried.into_iter().map(|(carrier, text)| match carrier {
        TokenCarrier::Cookie => (Carrier::Cookie, text),
        TokenCarrier::Header => (Carrier::Header, text),
    });
    let mut tokens = Vec::new();
    let mut all_told = Vec::new();
    for (carrier, text) in asked.into_iter().chain(carried) {
        let (told, token) = examiner.examine(carrier, text);
        if let Some(flaw) = told.flaw().filter(|_| carrier == Carrier::Parameter) {
            return Err(QuestionError::Token(flaw.clone()));
        }
        all_told.push(told);
        tokens.extend(token);
    }
    Ok((examiner.needed(tokens), all_told))
}

fn pinned(plan: &Plan, token: Option<&Token>) -> Option<RegionId> {
    plan.region(&token?.pin.as_ref()?.region)
}

fn not_of_service(plan: &Plan, service: ServiceId) -> Vec<Step> {
    let members = &plan.services.of(service).regions;
    plan.regions
        .ids()
        .filter(|region| !members.iter().any(|member| member.region == *region))
        .map(|region| Step {
            region,
            kept: false,
            reason: Reason::NotOfService,
        })
        .collect()
}

fn explained(plan: &Plan, step: &Step, figure: Option<Figure>) -> ExplainedStep {
    let rule: Rule = step.reason.rule();
    let reason = figure
        .as_ref()
        .map_or_else(|| step.reason.to_string(), Figure::words);
    ExplainedStep {
        region: plan.regions.of(step.region).name.to_string(),
        kept: step.kept,
        rule: rule.as_str(),
        reason,
        figure,
    }
}

/// A region that is out for its health may be out for a drain as well: mending one alone does not bring it back.
fn is_drained_too(member: Option<&MemberState>, reason: Reason) -> bool {
    let is_drained = member.is_some_and(|member| match member.admin {
        Admin::Leaving { .. } | Admin::Draining | Admin::Drained => true,
        Admin::Enabled | Admin::Returning(_) => false,
    });
    is_drained && [Reason::ForcedDown, Reason::Unhealthy, Reason::Ejected].contains(&reason)
}

/// How likely each region is to be first, as the API has it.
pub(super) fn chances_json(chances: &[(String, f64)]) -> Value {
    let chance = |(region, share): &(String, f64)| json!({ "region": region, "share": share });
    chances.iter().map(chance).collect()
}

fn names(plan: &Plan, regions: impl Iterator<Item = RegionId>) -> Vec<String> {
    regions
        .map(|region| plan.regions.of(region).name.to_string())
        .collect()
}

fn verdict(decision: &Decision) -> String {
    match decision.verdict {
        Verdict::Steered => "steered".to_owned(),
        Verdict::FailOpen(_) => {
            let lacks = |step: &Step| step.reason == Reason::NoSuchAddress;
            let of_which = match decision.steps.iter().any(lacks) {
                true => "region with an address of this type",
                false => "region",
            };
            format!(
                "failing open: no {of_which} is able, so the unhealthy come back, and after them the drained, even healthy ones"
            )
        }
        Verdict::Refused(refusal) => format!("refused: {refusal}"),
    }
}

impl Explanation {
    /// The regions whose round trip from this edge is told, as its probes measured it.
    pub(super) fn probed(&self) -> Vec<String> {
        let wants_age = |step: &&ExplainedStep| step.figure.as_ref().is_some_and(Figure::wants_age);
        let probed = self.steps.iter().filter(wants_age);
        probed.map(|step| step.region.clone()).collect()
    }

    /// A region's last probe was so long ago.
    pub(super) fn date(&mut self, region: &str, ago_secs: u64) {
        for step in self.steps.iter_mut().filter(|step| step.region == region) {
            if let Some(figure) = step.figure.as_mut().filter(|figure| figure.wants_age()) {
                figure.date(ago_secs);
                step.reason = figure.words();
            }
        }
    }

    /// As the API has it.
    pub fn to_json(&self) -> Value {
        let steps: Vec<Value> = self
            .steps
            .iter()
            .map(|step| {
                let round_trip = step.figure.as_ref().map(Figure::to_json);
                json!({ "region": step.region, "kept": step.kept, "rule": step.rule, "reason": step.reason,
                    "round_trip": round_trip })
            })
            .collect();
        json!({
            "service": self.service,
            "face": self.face,
            "verdict": self.verdict,
            "client": {
                "country": self.location.country.as_ref().map(Country::as_str),
                "location": self.location.point.map(|point| [point.lat(), point.lon()]),
                "scope": self.scope.to_string(),
            },
            "ttl": self.ttl_secs,
            "decision": self.decision,
            "chances": self.chances.as_deref().map(chances_json),
            "steps": steps,
            "tokens": self.tokens.iter().map(ToldToken::to_json).collect::<Vec<_>>(),
        })
    }
}
