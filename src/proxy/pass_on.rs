//! From the head of an origin's answer to the head of the client's.

use std::sync::Arc;

use http::header::SET_COOKIE;
use http::response::Parts;
use http::{HeaderMap, Response, StatusCode};

use super::access_log::Journal;
use super::asked::Asked;
use super::body::{Body, Held, Source};
use super::carried::remove_set_tokens;
use super::consistency::{self, is_write};
use super::expect::UntilOver;
use super::forward::Forwarded;
use super::handle::Exchange;
use super::headers::{MERIDIAN_REGION, add_server_timing, remove_what_ends_here};
use super::problem;
use super::routes::Admitted;
use super::settle::{Trailers, UnderWay};
use super::shared_cache::{Cookies, keep_private, make_private};
use super::tunnel::ClientSide;
use super::upgrade;
use super::websocket::Handshake;
use crate::clock;
use crate::config::plan::{Access, ErrorDetail, Writes};
use crate::ids::RegionId;
use crate::positions::{Mark, Reissue};

impl Exchange<'_> {
    /// Makes the origin's head the client's.
    pub(super) fn pass_on(
        &self,
        asked: &Asked<'_>,
        forwarded: Box<Forwarded>,
        websocket: Option<Handshake>,
        (wanted, under_way): (Option<UntilOver>, Option<UnderWay>),
    ) -> Response<Body> {
        let trailers = self.trailers(asked, &forwarded, under_way);
        let is_write = asked.access == Access::Write || is_write(&forwarded.said);
        let Forwarded {
            response,
            lease,
            admitted,
            region,
            mark,
            reissue,
            tried_elsewhere,
            is_counted,
            is_detour,
            origin_time,
            ..
        } = *forwarded;
        let took = self.began.elapsed();
        let (mut parts, incoming) = response.into_parts();
        if let Some(lane) = self.live.routes.lane(asked.service_id, region) {
            let is_error = parts.status.is_server_error() && !is_counted;
            lane.count((parts.status, is_error), took, (asked.access, mark));
        }
        let headers = &mut parts.headers;
        remove_what_ends_here(headers);
        if asked.store.is_some() {
            remove_set_tokens(headers);
        }
        let told = self.live.routes.region_name(region).clone();
        headers.insert(MERIDIAN_REGION, told);
        if let Some(details) = tried_elsewhere {
            let plan = &self.live.snapshot.plan;
            let is_told = plan.listen.errors == ErrorDetail::Full;
            let details = is_told.then_some(&*details);
            problem::add_received_status(headers, &plan.node.name, parts.status, details);
        }
        add_server_timing(headers, took.saturating_sub(origin_time), origin_time);
        if !is_detour && !asked.service.retries.names(parts.status.as_u16()) {
            self.remember(asked, region, mark, parts.status, headers);
        }
        if let Some(mark) = mark {
            consistency::mark(&mut parts.headers, mark);
        }
        self.reissue(asked, region, reissue, is_write, &mut parts);
        let switching = parts.status == StatusCode::SWITCHING_PROTOCOLS;
        if let Some(websocket) = websocket.filter(|_| switching)
            && let Some((client_side, fields)) = websocket.answer(&mut parts)
        {
            let route = self.route(asked, region, fields);
            let origin_side = Response::from_parts(parts.clone(), incoming);
            self.join(asked, route, (client_side, origin_side), admitted);
            return Response::from_parts(parts, Body::Empty);
        }
        let activity = asked.pace.activity.clone();
        activity.answer();
        let held = lease.until_body_ends(activity, Box::new((admitted, wanted)));
        let body = stream(asked, incoming, held, trailers);
        Response::from_parts(parts, body)
    }

    /// Gives the client its region for the next time.
    fn remember(
        &self,
        asked: &Asked<'_>,
        region: RegionId,
        mark: Option<Mark>,
        status: StatusCode,
        headers: &mut HeaderMap,
    ) {
        // A region that only a write's target or a token's freshness led to is no habit.
        let was_led = (asked.access == Access::Write && asked.service.writes != Writes::Nearest)
            || matches!(
                mark,
                Some(Mark::Routed | Mark::Waited | Mark::Stale | Mark::Lost)
            );
        if was_led || asked.service.affinity.is_none() || asked.known.is_settled(region) {
            return;
        }
        let now = clock::unix_secs();
        let session = self.session(asked.service, &asked.host.name, now);
        let Some(cookie) = session.remember(&asked.known, region) else {
            return;
        };
        let cookies = asked.question.cookies(status, headers);
        if cookies != Cookies::Spoil {
            headers.append(SET_COOKIE, cookie);
            if cookies == Cookies::FitIfPrivate {
                keep_private(headers);
            }
        }
    }

    /// Gives the client what has become of its token. Beside what its origin wants shared caches to keep only a write
    /// does, which would be lost otherwise; then no shared cache may keep it.
    fn reissue(
        &self,
        asked: &Asked<'_>,
        region: RegionId,
        reissue: Reissue,
        is_write: bool,
        parts: &mut Parts,
    ) {
        let (Some(store), false) = (asked.store, reissue == Reissue::Keep) else {
            return;
        };
        let cookies = asked.question.cookies(parts.status, &parts.headers);
        if !is_write && cookies == Cookies::Spoil {
            return;
        }
        let name = &self.live.snapshot.plan.regions.of(region).name;
        store.issue(asked.carriers(), reissue, name, &mut parts.headers);
        match cookies {
            Cookies::Spoil => make_private(&mut parts.headers),
            Cookies::FitIfPrivate if !is_write => keep_private(&mut parts.headers),
            Cookies::FitIfPrivate | Cookies::Fit => {}
        }
    }

    fn route(&self, asked: &Asked<'_>, region: RegionId, fields: HeaderMap) -> upgrade::Route {
        upgrade::Route {
            live: self.context.live.clone(),
            host: asked.host.clone(),
            service: asked.service.name.clone(),
            region: Arc::clone(&self.live.snapshot.plan.regions.of(region).name),
            client: asked.client,
            fields,
        }
    }

    /// Joins the two sides of a WebSocket.
    fn join(
        &self,
        asked: &Asked<'_>,
        route: upgrade::Route,
        (client_side, origin_side): (ClientSide, Response<Source>),
        admitted: Admitted,
    ) {
        let idle = asked.service.timeouts.idle;
        let line = self.journal.map(Journal::become_tunnel);
        let joined = upgrade::join(client_side, origin_side, idle, route, admitted, line);
        self.context.spawn(joined);
    }
}

/// An answer's body as it streams to the client.
fn stream(
    asked: &Asked<'_>,
    incoming: Source,
    held: Box<dyn Held>,
    trailers: Option<Box<Trailers>>,
) -> Body {
    let mut body = Body::answer(incoming, asked.pace.clone(), held);
    if let Some(trailers) = trailers {
        body.heed(trailers);
    }
    body
}
