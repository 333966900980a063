//! A connection of HTTP/2 that is being made, for all who wait for one: whoever came meanwhile would make another.

use std::time::Duration;

use tokio::sync::watch;

use crate::proxy::problem::Problem;

/// How far it has come.
enum Stage {
    Begun,
    /// It is made, and its origin has not said yet how many requests it takes.
    Made,
    /// Others may use it.
    Shared,
    Failed(Problem),
}

/// One that is being made, as those see it who come meanwhile.
pub(super) struct Dial {
    /// How many more may wait for it.
    room: usize,
    /// How long it may take to be made.
    limit: Duration,
    stage: watch::Receiver<Stage>,
}

/// Whoever makes it. To leave before it is shared is to leave it to those who wait.
pub(super) struct Dialer(watch::Sender<Stage>);

/// Whoever waits for it.
pub(super) struct Joined(watch::Receiver<Stage>);

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
    dials.retain(Dial::is_under_way);
    let is_for_it = |dial: &&mut Dial| dial.room > 0 && (dial.limit >= limit || dial.is_made());
    if let Some(dial) = dials.iter_mut().find(is_for_it) {
        dial.room -= 1;
        return Way::Join(Joined(dial.stage.clone()));
    }
    Way::Dial(Some(announce(dials, most, limit)))
}

/// One that is being made within so long, for others too: it takes so many.
pub(super) fn announce(dials: &mut Vec<Dial>, most: usize, limit: Duration) -> Dialer {
    let (teller, stage) = watch::channel(Stage::Begun);
    dials.push(Dial {
        room: most.saturating_sub(1),
        limit,
        stage,
    });
    Dialer(teller)
}

impl Dial {
    fn is_under_way(&self) -> bool {
        let is_left = self.stage.has_changed().is_err();
        !is_left && matches!(*self.stage.borrow(), Stage::Begun | Stage::Made)
    }

    fn is_made(&self) -> bool {
        matches!(*self.stage.borrow(), Stage::Made)
    }
}

impl Dialer {
    /// Tells who waits that it is made, and will be shared.
    pub(super) fn made(&self) {
        self.0.send_replace(Stage::Made);
    }

    /// Tells who waits that others may use it, or that it is of no use to them.
    pub(super) fn shared(self) {
        self.0.send_replace(Stage::Shared);
    }

    /// Tells who waits that it cannot be made.
    pub(super) fn failed(self, why: &Problem) {
        self.0.send_replace(Stage::Failed(why.clone()));
    }
}

impl Joined {
    /// Waits until it is made, fails, or is left.
    pub(super) async fn made(&mut self) -> Result<(), Problem> {
        let is_over = |stage: &Stage| !matches!(stage, Stage::Begun);
        match self.0.wait_for(is_over).await.as_deref() {
            Ok(Stage::Failed(why)) => Err(why.clone()),
            Ok(Stage::Begun | Stage::Made | Stage::Shared) | Err(_) => Ok(()),
        }
    }

    /// Waits until others may use it, if it is not left before.
    pub(super) async fn shared(mut self) {
        let is_over = |stage: &Stage| matches!(stage, Stage::Shared | Stage::Failed(_));
        // Whether there is room on one is seen then.
        let _ = self.0.wait_for(is_over).await;
    }
}
