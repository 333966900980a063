//! Loads that may wait for a file system: on a thread of their own, within a time, and never two at once.

use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};

/// How long a load may take: over half a minute is what the largest zones and imports take on a slow machine.
const LOAD_WITHIN: Duration = Duration::from_secs(120);

/// Why nothing was loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotLoaded {
    #[error("the file system does not answer: a file of the configuration cannot be read")]
    Unanswered,
    #[error(transparent)]
    Panicked(#[from] JoinError),
}

/// The load that goes on, if there is one: what is given up on may still wait for the file system.
pub(super) struct OneLoad<T>(Option<JoinHandle<T>>);

impl<T> Default for OneLoad<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Send + 'static> OneLoad<T> {
    /// Whether one that was given up on waits still.
    pub(super) fn is_stuck(&self) -> bool {
        self.0.as_ref().is_some_and(|load| !load.is_finished())
    }

    /// What a load brings, unless the file system does not answer it in time, or still not the one before.
    pub(super) async fn run(
        &mut self,
        load: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotLoaded> {
        if self.is_stuck() {
            return Err(NotLoaded::Unanswered);
        }
        let load = self.0.insert(tokio::task::spawn_blocking(load));
        let loaded = tokio::time::timeout(LOAD_WITHIN, load).await;
        let loaded = loaded.map_err(|_| NotLoaded::Unanswered)?;
        self.0 = None;
        Ok(loaded?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_load_is_given_up_after_two_minutes_and_none_begins_until_it_has_ended() {
        let mut loads = OneLoad::default();
        let (answer, file_system) = mpsc::channel::<()>();
        let hangs = move || file_system.recv().unwrap_or_default();
        let almost = Duration::from_secs(120) - Duration::from_millis(1);
        {
            let mut load = std::pin::pin!(loads.run(hangs));
            tokio::select! {
                biased;
                _ = &mut load => panic!("it hangs"),
                () = tokio::time::advance(almost) => {}
            }
            let (given_up, ()) = tokio::join!(load, tokio::time::advance(Duration::from_millis(1)));
            assert!(matches!(given_up, Err(NotLoaded::Unanswered)));
        }
        let refused = loads.run(|| panic!("two at once")).await;
        assert!(matches!(refused, Err(NotLoaded::Unanswered)));
        answer.send(()).unwrap();
        while loads.is_stuck() {
            tokio::task::yield_now().await;
        }
        assert!(loads.run(|| ()).await.is_ok());
    }
}
