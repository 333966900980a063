//! HTTP/1.1 towards clients: one request after the other on a connection.
//!
//! hyper's server settles some ambiguities silently, cannot send interim answers, counts the pause before a head as part of
//! it, and keeps 16 KiB for a connection that is idle. Here one task reads heads by the pieces of the guard, has each request
//! answered, writes the answer, and reads the next head after that.

mod answer_head;
mod from_client;
mod line;
mod pause;
mod turn;

use std::future::poll_fn;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

pub(in crate::proxy) use self::from_client::FromClient;
use self::line::Line;
use self::pause::{Next, Pause};
use self::turn::{After, turn};
use crate::proxy::body::{DISCARD, MOST_DISCARDED};
use crate::proxy::handler::{Handler, Times};
use crate::proxy::interim::Interim;
use crate::proxy::lingering::{LINGER, read_away};
use crate::proxy::tunnel::Io;

/// For how long a connection is ready for the next request without allocating.
const SOON: Duration = Duration::from_secs(1);

/// Serves a connection until it ends. From `stop` on it ends as soon as nobody loses anything by that.
pub(in crate::proxy) async fn serve(
    io: Box<dyn Io>,
    times: Times,
    stop: CancellationToken,
    handler: impl Handler,
) {
    let mut conversation = Conversation {
        line: Line::new(io),
        interim: Interim::default(),
        pause: Pause::new(times, stop),
        handler,
    };
    loop {
        let next = conversation.next(times.idle).await;
        // Boxed: a connection that is idle has no room for it. One that is not has it once for all its requests. Made in
        // its box, because all of its 10 KiB would be moved there.
        let answering = Box::write(Box::new_uninit(), conversation.answer_all(next));
        match Box::into_pin(answering).await {
            After::Next => {}
            After::Last => return close(&mut conversation.line).await,
            After::Broken | After::Left => return,
        }
    }
}

/// One connection.
struct Conversation<H> {
    line: Line,
    interim: Interim,
    pause: Pause,
    handler: H,
}

impl<H: Handler> Conversation<H> {
    /// What comes within this time.
    async fn next(&mut self, within: Duration) -> Next {
        poll_fn(|cx| self.pause.poll_head(&mut self.line, within, cx)).await
    }

    /// Answers requests for as long as each comes soon after the one before.
    async fn answer_all(&mut self, first: Next) -> After {
        let mut next = first;
        loop {
            let (head, took) = match next {
                Next::Head(head, took) => (head, took),
                Next::Refused(problem, took) => {
                    let text = self.handler.refuse(&problem, took);
                    self.line.give_up();
                    return say_last(&mut self.line, &text).await;
                }
                Next::Nothing if self.pause.is_over() => return After::Last,
                Next::Nothing => return After::Next,
                Next::End => return After::Last,
            };
            let answered = turn(&mut self.line, &self.handler, &self.interim, head, took);
            match answered.await {
                After::Next => {}
                after @ (After::Last | After::Broken | After::Left) => return after,
            }
            self.line.shrink();
            self.pause.begin();
            next = self.next(SOON).await;
        }
    }
}

/// Says the last words.
async fn say_last(line: &mut Line, text: &[u8]) -> After {
    match line.writer().write_all(text).await {
        Ok(()) => After::Last,
        Err(_) => After::Broken,
    }
}

/// Ends a connection: what still comes is read away, so that the last answer is not lost to a reset (RFC 9112 §9.6).
async fn close(line: &mut Line) {
    let quiet = if line.is_under_way() { DISCARD } else { LINGER };
    let ending = async {
        if line.writer().shutdown().await.is_err() {
            return;
        }
        poll_fn(|cx| line.poll_given_back(cx)).await;
        if !line.is_over() || line.has_more() {
            let most = MOST_DISCARDED.saturating_sub(line.discarded());
            read_away(line.leave(), most, quiet).await;
        }
    };
    // Whoever does not end in time is cut off.
    let _ = tokio::time::timeout(DISCARD, ending).await;
}

#[cfg(test)]
mod tests;
