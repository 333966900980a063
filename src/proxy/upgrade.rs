//! WebSockets and other upgrades: after 101 both sides are joined byte by byte.

use std::io;
use std::time::Duration;

use http::Response;
use http::request::Parts;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::activity::Activity;
use super::routes::Admitted;

/// Bytes that are read from one side before they are written to the other.
const CHUNK: usize = 16 << 10;

/// What becomes the client's side once the answer is on its way; to be taken before the head is changed.
pub(super) fn client_side(parts: &mut Parts) -> Option<OnUpgrade> {
    parts.extensions.remove::<OnUpgrade>()
}

/// Joins both sides until both have ended or neither has said anything for `idle` (zero: any time);
/// counts as in flight as long as that lasts.
pub(super) async fn join(
    client: OnUpgrade,
    response: Response<Incoming>,
    idle: Duration,
    admitted: Admitted,
) {
    let _admitted = admitted;
    let (client, origin) = match tokio::try_join!(client, hyper::upgrade::on(response)) {
        Ok(sides) => sides,
        Err(error) => return tracing::debug!(%error, "upgrade failed"),
    };
    let (from_client, to_client) = tokio::io::split(TokioIo::new(client));
    let (from_origin, to_origin) = tokio::io::split(TokioIo::new(origin));
    let activity = Activity::new();
    let both = async {
        tokio::try_join!(
            pass(from_client, to_origin, &activity),
            pass(from_origin, to_client, &activity),
        )
    };
    match activity.unless_quiet(idle, both).await {
        Some(Ok(_)) => {}
        Some(Err(error)) => tracing::debug!(%error, "upgraded connection broke off"),
        None => tracing::debug!("upgraded connection was idle too long"),
    }
}

/// Passes bytes on until the one side ends, and says so to the other.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    activity: &Activity,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = from.read(&mut chunk).await?;
        activity.touch();
        let Some(read @ [_, ..]) = chunk.get(..length) else {
            return to.shutdown().await;
        };
        to.write_all(read).await?;
    }
}
