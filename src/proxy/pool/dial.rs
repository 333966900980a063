//! A connection of HTTP/2 that is being made, for all who wait for one: whoever came meanwhile would make another.

use std::time::Duration;

use tokio::sync::watch;

use crate::proxy::problem::Problem;

/// What came of it; none while it is being made.
type Outcome = Option<Result<(), Problem>>;

/// One that is being made, as those see it who come meanwhile.
pub(super) struct Dial {
    /// How many more may wait for it.
    room: usize,
    /// How long it may take.
    limit: Duration,
    outcome: watch::Receiver<Outcome>,
}

/// Whoever makes it. To leave before it is made is to leave it to those who wait.
pub(super) struct Dialer(watch::Sender<Outcome>);

/// Whoever waits for it.
pub(super) struct Joined(watch::Receiver<Outcome>);

/// How a request gets a connection that nobody has for it.
pub(super) enum Way {
    /// By making one, for others too if it is known to be of HTTP/2.
    Dial(Option<Dialer>),
    /// By waiting for one that is being made.
    Join(Joined),
}

/// The way of one more request that has so long, where a connection takes so many. It does not wait for one that is given up
/// sooner than it would itself.
pub(super) fn way(dials: &mut Vec<Dial>, most: usize, limit: Duration) -> Way {
    dials.retain(|dial| matches!(dial.outcome.has_changed(), Ok(false)));
    let is_for_it = |dial: &&mut Dial| dial.room > 0 && dial.limit >= limit;
    if let Some(dial) = dials.iter_mut().find(is_for_it) {
        dial.room -= 1;
        return Way::Join(Joined(dial.outcome.clone()));
    }
    Way::Dial(Some(announce(dials, most, limit)))
}

/// One that is being made within so long, for others too: it takes so many.
pub(super) fn announce(dials: &mut Vec<Dial>, most: usize, limit: Duration) -> Dialer {
    let (teller, outcome) = watch::channel(None);
    dials.push(Dial {
        room: most.saturating_sub(1),
        limit,
        outcome,
    });
    Dialer(teller)
}

impl Dialer {
    /// Tells who waits what came of it.
    pub(super) fn tell<T>(self, made: &Result<T, Problem>) {
        let outcome = made.as_ref().map(|_| ()).map_err(Problem::clone);
        self.0.send_replace(Some(outcome));
    }
}

impl Joined {
    /// Waits until it is made, fails, or is left.
    pub(super) async fn outcome(mut self) -> Result<(), Problem> {
        let outcome = self.0.wait_for(Option::is_some).await;
        outcome.map_or(Ok(()), |outcome| outcome.clone().unwrap_or(Ok(())))
    }
}
