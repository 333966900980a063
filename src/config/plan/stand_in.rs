//! A Plan rehearsed: servers of a lab in the place of its origins.

use std::net::SocketAddr;

use super::{Origin, OriginScheme, OriginUrl, Plan};
use crate::ids::Table;

impl Plan {
    /// Puts servers in the place of every region's origins: plain HTTP, with health checks to match.
    /// A region without such a server keeps none.
    pub fn stand_in(&mut self, server_of: impl Fn(&str) -> Option<SocketAddr>) {
        self.origins = Table::default();
        for id in self.regions.ids().collect::<Vec<_>>() {
            let server = server_of(&self.regions.of(id).name);
            let origin = server.map(|address| Origin {
                region: id,
                url: OriginUrl {
                    scheme: OriginScheme::Http,
                    host: address.ip().to_string().into(),
                    port: address.port(),
                },
            });
            let region = self.regions.of_mut(id);
            region.origins = origin
                .map(|origin| self.origins.push(origin))
                .into_iter()
                .collect();
            region.proxy_protocol = None;
        }
        for id in self.domains.ids().collect::<Vec<_>>() {
            let follow = &mut self.domains.of_mut(id).follow;
            *follow = follow.take().map(|_| "/follow".into());
        }
        for id in self.services.ids().collect::<Vec<_>>() {
            let health = &mut self.services.of_mut(id).health;
            health.protocol = None;
            health.port = None;
            health.path = "/health".into();
            health.method = http::Method::GET;
            health.statuses = vec![200..=399];
            health.body = None;
            health.min_healthy = 1;
        }
    }
}
