//! WebSockets and other upgrades: after 101 both sides are joined byte by byte.

use http::Response;
use http::request::Parts;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::routes::Admitted;

/// What becomes the client's side once the answer is on its way; to be taken before the head is changed.
pub(super) fn client_side(parts: &mut Parts) -> Option<OnUpgrade> {
    parts.extensions.remove::<OnUpgrade>()
}

/// Joins both sides until either ends; counts as in flight as long as that lasts.
pub(super) fn join(client: OnUpgrade, response: Response<Incoming>, admitted: Admitted) {
    tokio::spawn(async move {
        let _admitted = admitted;
        let (client, origin) = match tokio::try_join!(client, hyper::upgrade::on(response)) {
            Ok(sides) => sides,
            Err(error) => return tracing::debug!(%error, "upgrade failed"),
        };
        let (mut client, mut origin) = (TokioIo::new(client), TokioIo::new(origin));
        if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut origin).await {
            tracing::debug!(%error, "upgraded connection ended");
        }
    });
}
