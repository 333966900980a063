//! `meridian lab COMMAND`, from another terminal.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Subcommand;

use super::{Cli, Done};
use crate::lab::{self, Command, Rewind, Skew};
use crate::units::parse_duration;

/// What can be done to a running lab.
#[derive(Debug, Subcommand)]
pub(super) enum Fault {
    /// Takes a region down: its connections are cut and refused
    Kill {
        /// The region
        region: String,
    },
    /// Brings a killed region back, with its data
    Restore {
        /// The region
        region: String,
    },
    /// Sets how long the others' writes take to reach a region, or the first region's the second
    ///
    /// `lag eu-west-1 500ms`: eu-west-1 applies everybody's writes 500 ms after their commit.
    /// `lag us-east-1 eu-west-1 2s`: it applies those of us-east-1 after 2 s.
    Lag {
        /// A region or two, and the lag, such as 500ms
        #[arg(num_args = 2..=3, required = true, value_names = ["REGION", "LAG"])]
        words: Vec<String>,
    },
    /// Stops replication between two regions
    Partition {
        /// One of them
        one: String,
        /// The other
        other: String,
    },
    /// Ends every partition
    Heal,
    /// Sets a region's clock ahead or behind
    Skew {
        /// The region
        region: String,
        /// Such as +2s or -500ms; 0 sets it right
        #[arg(allow_hyphen_values = true, value_parser = skew)]
        skew: Skew,
    },
    /// Keeps a region's data as it is now, for `rewind`
    Backup {
        /// The region
        region: String,
    },
    /// Puts a region's data back to its backup, in a new epoch
    Rewind {
        /// The region
        region: String,
        /// Without a new epoch: a store that runs backwards and does not know
        #[arg(long)]
        silently: bool,
    },
    /// Sets how often a region's writes reach its disk: a crash takes what it acknowledged since
    Flush {
        /// The region
        region: String,
        /// Such as 1s; 0s: before each write is acknowledged, as at the start
        #[arg(value_parser = parse_duration)]
        every: Duration,
    },
    /// Lets a region's process die and start again, without what was not on its disk
    ///
    /// It begins a new epoch if it may have lost something, that is if it does not flush before it acknowledges.
    Crash {
        /// The region
        region: String,
        /// Without a new epoch: a store that lost writes and does not know
        #[arg(long)]
        silently: bool,
    },
    /// Shows every region's log, lag, clock, disk, backup and partitions
    State,
}

fn skew(text: &str) -> Result<Skew, String> {
    let (skew, amount): (fn(Duration) -> Skew, _) = match text.strip_prefix('-') {
        Some(amount) => (Skew::Behind, amount),
        None => (Skew::Ahead, text.strip_prefix('+').unwrap_or(text)),
    };
    parse_duration(amount)
        .map(skew)
        .map_err(|error| error.to_string())
}

fn how(silently: bool) -> Rewind {
    match silently {
        true => Rewind::Silent,
        false => Rewind::NewEpoch,
    }
}

fn lag(text: &str) -> Duration {
    parse_duration(text).unwrap_or_else(|error| {
        let message = format!("invalid value '{text}' for the lag: {error}");
        Cli::bad_value(&["lab", "lag"], &message)
    })
}

impl Fault {
    pub(super) fn send(self, control: SocketAddr) -> Done {
        let said = super::runtime()?.block_on(lab::send(control, self.command()))?;
        say!("{}", said.trim_end());
        Ok(())
    }

    fn command(self) -> Command {
        match self {
            Self::Kill { region } => Command::Kill(region),
            Self::Restore { region } => Command::Restore(region),
            Self::Lag { words } => match words.as_slice() {
                [from, to, of] => Command::LagOf(from.clone(), to.clone(), lag(of)),
                [region, of] => Command::Lag(region.clone(), lag(of)),
                // clap takes two or three.
                _ => Command::State,
            },
            Self::Partition { one, other } => Command::Partition(one, other),
            Self::Heal => Command::Heal,
            Self::Skew { region, skew } => Command::Skew(region, skew),
            Self::Backup { region } => Command::Backup(region),
            Self::Rewind { region, silently } => Command::Rewind(region, how(silently)),
            Self::Flush { region, every } => Command::Flush(region, every),
            Self::Crash { region, silently } => Command::Crash(region, how(silently)),
            Self::State => Command::State,
        }
    }
}
