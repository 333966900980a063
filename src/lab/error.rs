//! What can go wrong in the lab, by whose fault it is.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::conditions::DELAY_MAX;
use super::name::NotAName;

/// Whether an operator's command changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It did.
    Made,
    /// Things were so already.
    AlreadySo,
}

impl Change {
    pub(super) fn from_news(news: bool) -> Self {
        if news { Self::Made } else { Self::AlreadySo }
    }
}

/// A failure of the lab or of a command to it.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Configuration: a lab without regions.
    #[error("a lab needs at least one region")]
    NoRegions,
    /// Configuration: a name that headers or URLs could not carry.
    #[error(transparent)]
    Name(#[from] NotAName),
    /// Configuration: a name that is given twice.
    #[error("region `{region}` is given twice")]
    Twice {
        /// The name.
        region: String,
    },
    /// Configuration or machine: the region's address cannot be bound.
    #[error("region `{region}` cannot listen on {address}: {source}")]
    Bind {
        /// Whose address.
        region: String,
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Us: the HTTP client cannot be built.
    #[error("cannot set up an HTTP client: {0}")]
    Client(#[source] reqwest::Error),
    /// Operator: no such region.
    #[error("no region `{region}` in this lab; it has {}", .known.join(", "))]
    UnknownRegion {
        /// What was asked for.
        region: String,
        /// What there is, in the order given.
        known: Vec<String>,
    },
    /// Operator: a partition or a link needs two regions.
    #[error("`{region}` cannot be parted from itself; give two regions")]
    SameRegion {
        /// The region that was given twice.
        region: String,
    },
    /// Operator: nothing to go back to.
    #[error("there is no backup of `{region}`; make one with `meridian lab backup {region}`")]
    NoBackup {
        /// The region.
        region: String,
    },
    /// Operator: a lag, round trip or skew past [`DELAY_MAX`], or a flush.
    #[error("{delay:?} is too long a delay; the longest is {DELAY_MAX:?}")]
    TooLong {
        /// What was asked for.
        delay: Duration,
    },
    /// Operator: the lag in a request to the control listener is no number.
    #[error("say the lag as a number of milliseconds: POST /lag/REGION?ms=500")]
    NoLag,
    /// Operator: the skew in a request to the control listener is no number.
    #[error("say the skew as a number of milliseconds: POST /skew/REGION?ms=-500")]
    NoSkew,
    /// Operator: the flush in a request to the control listener is no number.
    #[error("say how often to flush as a number of milliseconds: POST /flush/REGION?ms=1000")]
    NoFlush,
    /// Operator: a crash in a request to the control listener that is none.
    #[error("say how to come back: POST /crash/REGION?silently=true or =false")]
    NoCrash,
    /// Operator: a rewind in a request to the control listener that is none.
    #[error("say how to rewind: POST /rewind/REGION?silently=true or =false")]
    NoRewind,
    /// Operator: nobody listens on the control address.
    #[error("no lab is running at {control}; start one with `meridian lab`")]
    NotRunning {
        /// Where one was looked for.
        control: SocketAddr,
    },
    /// Operator: the running lab refused the command, in its own words.
    #[error("{0}")]
    Refused(String),
    /// Whoever listens on the control address: it did not answer as a lab does.
    #[error("{control} did not answer as a lab does: {reason}")]
    NotALab {
        /// Who was asked.
        control: SocketAddr,
        /// What came instead.
        reason: String,
    },
}
