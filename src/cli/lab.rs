//! `meridian lab`: three emulated regions on loopback, the edge in front of them, and faults on demand.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use tokio_util::sync::CancellationToken;

use super::serve::{Logs, runtime, start, until_told_to_end};
use super::{Done, Failed};
use crate::edge::{Addresses, Source};
use crate::lab::{self, Command, DEFAULT_CONTROL, RegionConfig};
use crate::units::parse_duration;

/// The regions of the lab: name, address that DNS publishes, round trip from an edge in Frankfurt.
/// The addresses are of TEST-NET-1 to 3 (RFC 5737): nobody is there, and none is on loopback. The
/// round trips are those between Azure's Germany West Central and the nearest region of each place,
/// from Microsoft's published table, rounded.
const REGIONS: [(&str, &str, u64); 3] = [
    ("us-east-1", "192.0.2.10", 92),
    ("eu-west-1", "198.51.100.10", 26),
    ("ap-northeast-1", "203.0.113.10", 232),
];

/// How long a write takes to reach the other regions at first.
const LAG: Duration = Duration::from_millis(300);

/// The host that the lab's service answers for.
const HOST: &str = "www.lab.example";

/// The configuration of the lab's edge; the origins are put in.
const TEMPLATE: &str = include_str!("lab.yaml");

/// Runs three regions on this machine with the edge in front of them: nothing to prepare
///
/// Each region is a small key-value store that takes writes and replicates them to the others with a
/// lag. The edge runs on exactly the code path of `meridian serve`. From another terminal, take a
/// region down (`meridian lab kill eu-west-1`), bring it back (`restore`), slow its replication
/// (`lag eu-west-1 2s`) or part two regions (`partition us-east-1 eu-west-1`, `heal`).
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Lab {
    #[command(subcommand)]
    fault: Option<Fault>,
    /// A YAML file or folder to use instead of the lab's own; origins are the regions' addresses
    #[arg(long = "config", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Where the lab takes commands
    #[arg(long, value_name = "ADDRESS", default_value_t = DEFAULT_CONTROL, global = true)]
    control: SocketAddr,
    /// The first of the loopback ports that the edge listens on; 0 picks free ones
    #[arg(long, value_name = "PORT", default_value_t = 5300)]
    port: u16,
    /// Log what happens, as `serve` does
    #[arg(long)]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Fault {
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
    /// Sets how long the others' writes take to reach a region
    Lag {
        /// The region
        region: String,
        /// Such as 500ms
        #[arg(value_parser = duration)]
        lag: Duration,
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
    /// Shows every region's log, lag and partitions
    State,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

impl Lab {
    pub(super) fn run(self) -> Done {
        match self.fault {
            Some(fault) => command(self.control, fault),
            None => self.run_lab(),
        }
    }

    fn run_lab(self) -> Done {
        Logs::quiet_unless(self.verbose);
        runtime()?.block_on(async {
            let stop = CancellationToken::new();
            let lab = lab::Lab::start(regions(), stop.clone()).await?;
            let control = tokio::net::TcpListener::bind(self.control).await.map_err(|error| {
                Failed(format!("error: the lab's control address {}: {error} (is another lab running? --control)", self.control))
            })?;
            lab.serve_control(control);
            let source = if self.paths.is_empty() {
                Source::Text { name: "lab.yaml".to_owned(), yaml: self.yaml(&lab)? }
            } else {
                Source::Paths(self.paths.clone())
            };
            let edge = start(source).await?;
            println!("{}", guide(&edge.addresses(), self.control));
            let done = until_told_to_end(edge).await;
            lab.stop().await;
            done
        })
    }

    /// The lab's own configuration with the regions' origins and the ports in it.
    fn yaml(&self, lab: &lab::Lab) -> Result<String, Failed> {
        let mut yaml = TEMPLATE.to_owned();
        for (offset, name) in (0..).zip(["DNS", "HTTPS", "HTTP", "ADMIN"]) {
            let port = if self.port == 0 {
                0
            } else {
                self.port.saturating_add(offset)
            };
            yaml = yaml.replace(&format!("{{{name}_PORT}}"), &port.to_string());
        }
        for (name, address, _) in REGIONS {
            let origin = lab.address(name)?;
            let region = format!("{{ addresses: [{address}], origins: [\"http://{origin}\"] }}");
            yaml = yaml.replace(&format!("{{{name}}}"), &region);
        }
        Ok(yaml)
    }
}

fn regions() -> Vec<RegionConfig> {
    REGIONS
        .into_iter()
        .map(|(name, _, round_trip_ms)| RegionConfig {
            round_trip: Duration::from_millis(round_trip_ms),
            lag: LAG,
            ..RegionConfig::new(name)
        })
        .collect()
}

fn command(control: SocketAddr, fault: Fault) -> Done {
    let command = match fault {
        Fault::Kill { region } => Command::Kill(region),
        Fault::Restore { region } => Command::Restore(region),
        Fault::Lag { region, lag } => Command::Lag(region, lag),
        Fault::Partition { one, other } => Command::Partition(one, other),
        Fault::Heal => Command::Heal,
        Fault::State => Command::State,
    };
    let said = super::runtime()?.block_on(lab::send(control, command))?;
    println!("{}", said.trim_end());
    Ok(())
}

/// What to try, with the addresses in it.
fn guide(addresses: &Addresses, control: SocketAddr) -> String {
    let port = |address: Option<SocketAddr>| address.map_or(0, |address| address.port());
    let (dns, https, admin) = (
        port(addresses.dns),
        port(addresses.https),
        port(addresses.admin),
    );
    let control = if control == DEFAULT_CONTROL {
        String::new()
    } else {
        format!(" --control {control}")
    };
    let names: Vec<&str> = REGIONS.iter().map(|(name, ..)| *name).collect();
    format!(
        "Three regions and an edge are running: {names}.\n\
         dns 127.0.0.1:{dns}   https 127.0.0.1:{https}   http 127.0.0.1:{http}   admin 127.0.0.1:{admin}\n\
         \n\
         Try:\n  \
         dig @127.0.0.1 -p {dns} {HOST} A +subnet=203.178.141.0/24 +short     # a client in Japan\n  \
         curl -sk --resolve {HOST}:{https}:127.0.0.1 https://{HOST}:{https}/kv/hello -X PUT -d world -D -\n  \
         http://127.0.0.1:{admin}/                                              # the dashboard\n\
         \n\
         From another terminal:\n  \
         meridian lab kill eu-west-1{control}         meridian lab restore eu-west-1{control}\n  \
         meridian lab lag us-east-1 2s{control}       meridian lab partition us-east-1 eu-west-1{control}   meridian lab heal{control}\n\
         \n\
         Ctrl-C stops it all.",
        names = names.join(", "),
        http = port(addresses.http),
    )
}
