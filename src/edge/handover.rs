//! How a new process takes the place of the running one on the same host without losing a request.
//!
//! ```text
//!   the new one                          the running one
//!   loads its configuration
//!   connects            ─────────────▶  stops reloading
//!                       ◀─────────────  its listening sockets, the very same, and what they are for
//!   binds what is lacking
//!   State               ─────────────▶  saves nothing any more, refuses drains
//!                       ◀─────────────  health, positions, drains, learned state, its random key; the lock of its state_dir
//!   serves, both do
//!   Serving             ─────────────▶  stops accepting; what it has begun it finishes
//!                       ◀─────────────  Done
//! ```
//!
//! Until it is told `Serving`, the running one serves on as if nothing had happened when the other fails. No socket
//! is ever closed by both, so no queue is lost.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::inherited::Inherited;
use super::passing::{receive, send};

/// The form of the messages; nobody takes over from another one.
const VERSION: u64 = 1;

/// How long one waits for the other's next step.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is said in one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    State,
    Serving,
    Done,
}

impl Word {
    fn as_byte(self) -> u8 {
        match self {
            Self::State => b's',
            Self::Serving => b'r',
            Self::Done => b'd',
        }
    }
}

async fn say(stream: &mut UnixStream, word: Word) -> io::Result<()> {
    stream.write_u8(word.as_byte()).await
}

async fn hear(stream: &mut UnixStream, word: Word) -> io::Result<()> {
    let heard = in_time(stream.read_u8()).await?;
    if heard == word.as_byte() {
        Ok(())
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

async fn in_time<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let done = tokio::time::timeout(PATIENCE, step).await;
    done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// A process that asks to take this one's place.
pub(super) struct Successor(pub(super) UnixStream);

impl Successor {
    /// Gives it the sockets and waits until it asks for what is known.
    pub(super) async fn give_sockets(
        &mut self,
        list: Value,
        sockets: Vec<OwnedFd>,
    ) -> io::Result<()> {
        let message = json!({ "version": VERSION, "pid": std::process::id(), "sockets": list });
        in_time(send(&mut self.0, &message, &sockets)).await?;
        hear(&mut self.0, Word::State).await
    }

    /// Tells it what is known, gives it the hold on `state_dir`, and waits until it serves.
    pub(super) async fn give_state(
        &mut self,
        state: &Value,
        hold: Option<OwnedFd>,
    ) -> io::Result<()> {
        in_time(send(&mut self.0, state, hold.as_slice())).await?;
        hear(&mut self.0, Word::Serving).await
    }

    /// Tells it that nothing is accepted here any more.
    pub(super) async fn part(mut self) {
        // It serves, whether it hears this or not.
        let _ = say(&mut self.0, Word::Done).await;
    }
}

/// The running process whose place this one takes.
pub(super) struct Predecessor {
    stream: UnixStream,
    pid: u64,
}

impl Predecessor {
    /// Asks whoever runs for its sockets; `None` if nobody does.
    pub(super) async fn find(path: &Path) -> io::Result<Option<(Self, Inherited)>> {
        let mut stream = match UnixStream::connect(path).await {
            Ok(stream) => stream,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let received = match in_time(receive(&mut stream)).await {
            // It ended while this one waited to be heard.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof
                ) =>
            {
                return Ok(None);
            }
            received => received?,
        };
        let (message, sockets) = (&received.0, received.1);
        if message["version"].as_u64() != Some(VERSION) {
            return Err(io::Error::other("it hands over in another way"));
        }
        let inherited = Inherited::from_predecessor(&message["sockets"], sockets);
        let inherited = inherited.ok_or(io::ErrorKind::InvalidData)?;
        let pid = message["pid"].as_u64().unwrap_or(0);
        Ok(Some((Self { stream, pid }, inherited)))
    }

    /// What it knows, and its hold on its `state_dir`, if it has one: an older one passed none on.
    pub(super) async fn state(&mut self) -> io::Result<(Value, Option<OwnedFd>)> {
        say(&mut self.stream, Word::State).await?;
        let (state, passed) = in_time(receive(&mut self.stream)).await?;
        Ok((state, passed.into_iter().next()))
    }

    /// Tells it that this process serves, and waits until it has stopped accepting.
    pub(super) async fn relieve(mut self) -> io::Result<()> {
        say(&mut self.stream, Word::Serving).await?;
        hear(&mut self.stream, Word::Done).await?;
        tracing::info!(predecessor = self.pid, "took over");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_other_process_is_waited_for_half_a_minute() {
        let began = Instant::now();
        let outcome = in_time(std::future::pending::<io::Result<()>>()).await;
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), 30);
    }
}
