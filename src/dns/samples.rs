//! A sample of the steered answers, for whoever shows where clients are sent.
//!
//! Of the answers that leave together (over UDP up to a batch, over TCP one) the first is noted with the number of
//! all, so that an idle edge is seen exactly and a busy one for next to nothing. What the reader does not take in time is lost.

use std::net::IpAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Samples that wait for the reader, who comes four times a second.
const WAITING: usize = 1_024;

/// Some steered answers, as the first of them was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// For whom: an address of the client's subnet, or the sender.
    pub client: IpAddr,
    /// The region that was answered.
    pub region: Arc<str>,
    /// How many answers it stands for.
    pub answers: u64,
}

/// What waits for the reader.
#[derive(Debug)]
pub struct Samples {
    /// Sending neither locks nor waits: the channel is an array, and nobody sleeps at its other end.
    sender: SyncSender<Sample>,
    receiver: Mutex<Receiver<Sample>>,
}

impl Default for Samples {
    fn default() -> Self {
        let (sender, receiver) = sync_channel(WAITING);
        Self {
            sender,
            receiver: Mutex::new(receiver),
        }
    }
}

impl Samples {
    pub(super) fn note(&self, sample: Sample) {
        // Full: the reader sees fewer of a crowd.
        let _ = self.sender.try_send(sample);
    }

    /// Takes what has been noted since the last time.
    pub fn take(&self) -> Vec<Sample> {
        let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        receiver.try_iter().take(WAITING).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_takes_is_lost_and_answering_goes_on() {
        let samples = Samples::default();
        let sample = Sample {
            client: [192, 0, 2, 1].into(),
            region: "here".into(),
            answers: 3,
        };
        for _ in 0..=WAITING {
            samples.note(sample.clone());
        }
        assert_eq!(samples.take(), vec![sample.clone(); WAITING]);
        assert_eq!(samples.take(), []);
        samples.note(sample.clone());
        assert_eq!(samples.take(), [sample]);
    }
}
