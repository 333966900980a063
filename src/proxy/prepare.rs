//! From the head of a client's request to the head of an origin's.

use http::header::LOCATION;
use http::request::Parts;
use http::uri::{self, PathAndQuery};
use http::{HeaderValue, Response, StatusCode, Uri};

use super::accept::Face;
use super::asked::Asked;
use super::body::Body;
use super::client_cert;
use super::handle::Exchange;
use super::headers::{Hop, add_forwarding, ask_upgrade, join_cookies, remove_what_ends_here};
use super::problem::{self, Problem};
use super::reserved;
use crate::config::plan::HttpMode;

impl Exchange<'_> {
    /// Plain http sends clients to https, unless it is told to serve.
    pub(super) fn redirect(
        &self,
        parts: &Parts,
        asked: &Asked<'_>,
    ) -> Result<Option<Response<Body>>, Problem> {
        let listen = &self.live.snapshot.plan.listen;
        if self.connection.face != Face::Http || listen.http_mode == HttpMode::Serve {
            return Ok(None);
        }
        let port = match listen.https_ports.first() {
            None | Some(443) => String::new(),
            Some(port) => format!(":{port}"),
        };
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path == "*" { "/" } else { path };
        // Of `http://HOST?QUERY` the path is empty.
        let slash = if path.starts_with('/') { "" } else { "/" };
        let location = format!("https://{}{port}{slash}{path}", asked.host.name);
        let location = HeaderValue::from_str(&location)
            .map_err(|_| Problem::Malformed("the path is no URI".into()))?;
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
        let headers = response.headers_mut();
        headers.insert(LOCATION, location);
        let node = &self.live.snapshot.plan.node.name;
        problem::insert_own_answer(headers, node, "plain http is redirected to https");
        Ok(Some(response))
    }

    /// Makes the client's head the origin's.
    pub(super) fn prepare(
        &self,
        parts: &mut Parts,
        asked: &Asked<'_>,
        upgrade: Option<HeaderValue>,
    ) -> Result<(), Problem> {
        let headers = &mut parts.headers;
        remove_what_ends_here(headers);
        reserved::remove_from_head(headers, asked.trusted);
        match &asked.carried {
            Some(carried) => carried.leave_others(headers),
            None => join_cookies(headers),
        }
        let hop = Hop {
            peer: &self.connection.source_value,
            trusted: asked.trusted,
            host: &asked.host.told,
            scheme: self.connection.face.scheme(),
            version: parts.version,
            via: &self.live.routes.via,
            request_id: self.id,
        };
        add_forwarding(headers, &hop);
        let verified = self.connection.tls.as_ref();
        let verified = verified.and_then(|tls| tls.client_cert.as_ref());
        client_cert::tell(headers, verified);
        self.journal.inspect(|journal| journal.traced(headers));
        if let Some(protocol) = upgrade {
            ask_upgrade(headers, protocol);
        }
        let mut uri = uri::Parts::default();
        uri.path_and_query = parts.uri.path_and_query().cloned();
        uri.path_and_query
            .get_or_insert(PathAndQuery::from_static("/"));
        uri.scheme = Some(self.connection.face.uri_scheme());
        uri.authority = Some(asked.host.authority.clone());
        parts.uri = Uri::from_parts(uri).map_err(|error| Problem::Malformed(error.to_string()))?;
        Ok(())
    }
}
