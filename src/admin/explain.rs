//! The decision for a client, region by region, in words: what `explain` prints and the page shows.

use std::net::IpAddr;

use http::request::Parts;
use serde_json::{Value, json};

use super::by_type::{Steering, pass_over_without_address};
use super::explained_token::{Carrier, Examiner, TokenReader, ToldToken};
use super::question::{Question, QuestionError};
use super::round_trip::{self, Figure};
use crate::config::plan::{NotSteered, Plan, Service};
use crate::earth::Country;
use crate::geo::{Database, Location};
use crate::ids::{RegionId, ServiceId};
use crate::positions::{Now, Token};
use crate::prefix::Prefix;
use crate::proxy::{TokenCarrier, access, residency, tokens_in, write_key};
use crate::steering::{
    Admin, Ask, Chances, Decision, Draw, MemberState, Reason, Require, Rule, Snapshot, Spread,
    Step, Vantage, Verdict, chances_in, stable_hash, steer,
};

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
    /// Why DNS answers otherwise all the same; none: it does not, or HTTP is asked about.
    pub not_in_dns: Option<String>,
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
    now: (u32, u64),
) -> Result<Explanation, QuestionError> {
    let (plan, name) = (&snapshot.plan, &question.name);
    let of = if question.is_of_http() {
        OfService::in_http(plan, name)
    } else {
        OfService::in_dns(plan, name)
    }?;
    explain_of(of, snapshot, database, reader, question, now)
}

/// The same, of a service that was found before.
pub(super) fn explain_of(
    of: OfService,
    snapshot: &Snapshot,
    database: &Database,
    reader: TokenReader<'_>,
    question: &Question,
    (now_secs, now_ms): (u32, u64),
) -> Result<Explanation, QuestionError> {
    let plan = &*snapshot.plan;
    let service_id = of.id;
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
        not_in_dns: of.not_in_dns(),
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
    let request = question.request()?;
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
        vector: token
            .as_ref()
            .map(|token| &token.vector)
            .filter(|vector| !vector.is_empty()),
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

/// Of which service a decision is.
#[derive(Clone, Copy)]
pub(super) struct OfService {
    id: ServiceId,
    not_in_dns: Option<NotSteered>,
}

impl OfService {
    /// HTTP goes by hosts alone.
    fn in_http(plan: &Plan, name: &str) -> Result<Self, QuestionError> {
        check_ascii(name)?;
        let id = plan.service_for_host(name);
        let id = id.ok_or_else(|| QuestionError::UnknownName(name.to_owned()))?;
        Ok(Self {
            id,
            not_in_dns: None,
        })
    }

    /// DNS steers every name that the zones say. Of a host that it does not steer it is told what it would decide, were the
    /// name in a zone. Looks through all zones.
    pub(super) fn in_dns(plan: &Plan, name: &str) -> Result<Self, QuestionError> {
        check_ascii(name)?;
        match plan.service_for_name(name) {
            Ok(id) => Ok(Self {
                id,
                not_in_dns: None,
            }),
            Err(why) => Ok(Self {
                not_in_dns: Some(why),
                ..Self::in_http(plan, name)?
            }),
        }
    }

    /// Why DNS answers otherwise, in words.
    pub(super) fn not_in_dns(self) -> Option<String> {
        self.not_in_dns.map(|why| why.to_string())
    }
}

fn check_ascii(name: &str) -> Result<(), QuestionError> {
    if name.is_ascii() {
        Ok(())
    } else {
        Err(QuestionError::NotAscii)
    }
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
        Verdict::Steered if decision.ranked.is_empty() => {
            "steered, but no region that is able has an address of this type".to_owned()
        }
        Verdict::Steered => "steered".to_owned(),
        Verdict::FailOpen(_) => {
            let is_out = |why: Reason| decision.steps.iter().any(|step| step.reason == why);
            let of_which = if is_out(Reason::NoSuchAddress) {
                "region with an address of this type"
            } else if is_out(Reason::OutsideResidency) {
                "region that residency allows"
            } else {
                "region"
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
            "not_in_dns": self.not_in_dns,
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
