//! `meridian lab`: three emulated regions on loopback, the edge in front of them, and faults on demand.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::fault::Fault;
use super::logs::Logs;
use super::serve::{Signals, runtime, start};
use super::{Done, Failed};
use crate::config::plan::{HostPattern, Plan, Region};
use crate::edge::{Addresses, Source, Start};
use crate::lab::{self, DEFAULT_CONTROL, RegionConfig, Sample};
use crate::latency::modelled_ms;

/// How long a write takes to reach the other regions at first.
const LAG: Duration = Duration::from_millis(300);

/// The round trip to a region of unknown place.
const ROUND_TRIP: Duration = Duration::from_millis(50);

/// Where a client's writes go in the lab's own configuration.
const HOME_HEADER: &str = "lab-home";

/// The configuration of the lab's edge; the ports are put in.
const TEMPLATE: &str = include_str!("lab.yaml");

/// Runs three regions on this machine with the edge in front of them: nothing to prepare
///
/// Each region is a small key-value store that takes writes and replicates them to the others with a
/// lag. The edge runs on exactly the code path of `meridian serve`. From another terminal, take a
/// region down (`meridian lab kill eu-west-1`), bring it back (`restore`), slow its replication
/// (`lag eu-west-1 2s`), part two regions (`partition us-east-1 eu-west-1`, `heal`), set a clock
/// wrong (`skew eu-west-1 +2s`), go back to an old backup (`backup eu-west-1`, `rewind eu-west-1`), or let a
/// region lose what was not on its disk yet (`flush eu-west-1 1s`, `crash eu-west-1`).
///
/// A few clients write and read all the time; the dashboard shows how many of their reads miss what
/// they wrote, straight at the regions and through the edge.
///
/// With --config it rehearses a configuration of your own: emulated regions take the place of every
/// region's origins, and health checks become a plain GET of /health.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Lab {
    #[command(subcommand)]
    fault: Option<Fault>,
    /// A YAML file or folder to rehearse instead of the lab's own configuration
    #[arg(long = "config", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Where the lab takes commands
    #[arg(long, value_name = "ADDRESS", env = "MERIDIAN_LAB", default_value_t = DEFAULT_CONTROL, global = true)]
    control: SocketAddr,
    /// The first of the loopback ports that the lab's own configuration listens on; 0 picks free ones
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 5300,
        conflicts_with = "paths"
    )]
    port: u16,
    /// Leave out the clients that count stale reads
    #[arg(long, conflicts_with = "paths")]
    no_sample: bool,
    /// Log what happens, as `serve` does
    #[arg(long)]
    verbose: bool,
}

impl Lab {
    pub(super) fn run(self) -> Done {
        match self.fault {
            Some(fault) => fault.send(self.control),
            None => self.run_lab(),
        }
    }

    fn run_lab(self) -> Done {
        let _log = Logs::quiet_unless(self.verbose)?;
        runtime()?.block_on(async {
            let signals = Signals::catch()?;
            let source = self.source();
            let plan = source
                .load()
                .map_err(|problems| Failed(problems.to_string()))?
                .plan;
            let stop = CancellationToken::new();
            let lab = lab::Lab::start(regions(&plan), stop.clone()).await?;
            let control = TcpListener::bind(self.control).await.map_err(|error| {
                let address = self.control;
                Failed(format!("error: the lab's control address {address}: {error} (is another lab running? --control)"))
            })?;
            let control_address = control.local_addr()?;
            lab.serve_control(control);
            let names = plan.regions.values().map(|region| region.name.to_string());
            let servers = names
                .map(|name| Ok((name.clone(), lab.address(&name)?)))
                .collect::<Result<HashMap<_, _>, lab::LabError>>()?;
            let edge = start(source.with_stand_ins(servers), Start::Fresh).await?;
            if let Some(sample) = self.sample(&plan, edge.addresses()) {
                edge.admin().show_lab(lab.sample(sample)?);
            }
            say!("{}", guide(&plan, &edge.addresses(), control_address));
            let done = signals.obey(edge).await;
            lab.stop().await;
            done
        })
    }

    /// Clients whose home is not the region where the edge reads: those that are nearest to theirs miss nothing anyway.
    fn sample(&self, plan: &Plan, addresses: Addresses) -> Option<Sample> {
        if self.no_sample || !self.paths.is_empty() {
            return None;
        }
        let mut regions = regions(plan);
        regions.sort_by_key(|region| region.round_trip);
        let homes = regions.into_iter().skip(1).map(|region| region.name);
        Some(Sample {
            edge: addresses.http?,
            host: host(plan)?,
            home_header: HOME_HEADER,
            homes: homes.collect(),
        })
    }

    fn source(&self) -> Source {
        if !self.paths.is_empty() {
            return Source::paths(self.paths.clone());
        }
        let mut yaml = TEMPLATE.to_owned();
        for (offset, name) in (0..).zip(["DNS", "HTTPS", "HTTP", "ADMIN"]) {
            let port = if self.port == 0 {
                0
            } else {
                self.port.saturating_add(offset)
            };
            yaml = yaml.replace(&format!("{{{name}_PORT}}"), &port.to_string());
        }
        Source::text("lab.yaml", yaml)
    }
}

/// A region to emulate for each of the Plan's, as far away as it is from the edge.
fn regions(plan: &Plan) -> Vec<RegionConfig> {
    let round_trip = |region: &Region| {
        let km = plan.node.location?.distance_km(region.location?);
        Some(Duration::from_secs_f64(modelled_ms(km) / 1000.0))
    };
    plan.regions
        .values()
        .map(|region| RegionConfig {
            round_trip: round_trip(region).unwrap_or(ROUND_TRIP),
            lag: LAG,
            ..RegionConfig::new(&*region.name)
        })
        .collect()
}

/// What to try, with the addresses in it.
fn guide(plan: &Plan, addresses: &Addresses, control: SocketAddr) -> String {
    let names: Vec<&str> = plan.regions.values().map(|region| &*region.name).collect();
    let host = host(plan).unwrap_or_else(|| "HOST".to_owned());
    let mut lines = vec![format!(
        "{} region(s) and an edge are running: {}.",
        names.len(),
        names.join(", ")
    )];
    lines.push(listening(addresses));
    lines.push("\nTry a client in Japan, a write, and the dashboard:".to_owned());
    if let Some(dns) = addresses.dns {
        let (ip, port) = (reachable(dns), dns.port());
        lines.push(format!(
            "  dig @{ip} -p {port} {host} A +subnet=203.178.141.0/24 +short"
        ));
    }
    if let Some(https) = addresses.https {
        let (ip, port) = (reachable(https), https.port());
        lines.push(format!(
            "  curl -sk --resolve {host}:{port}:{ip} https://{host}:{port}/kv/hello -X PUT -d world -D -"
        ));
    }
    if let Some(admin) = addresses.admin {
        lines.push(format!("  http://{}:{}/", reachable(admin), admin.port()));
    }
    let program = std::env::args().next();
    let program = program.unwrap_or_else(|| "meridian".to_owned());
    lines.push("\nFrom another terminal:".to_owned());
    lines.extend(faults(&names, control).map(|words| format!("  {program} lab {words}")));
    if let Some(admin) = addresses.admin {
        let url = format!("http://{}:{}", reachable(admin), admin.port());
        lines.push(format!(
            "Why a client goes where it goes, and how all is:\n  \
             {program} explain {host} --client 203.178.141.1 --admin {url}\n  \
             {program} status --admin {url}"
        ));
    }
    lines.push("\nCtrl-C stops it all.".to_owned());
    lines.join("\n")
}

/// Some of what can be done to the regions, as the words of `meridian lab`.
fn faults(regions: &[&str], control: SocketAddr) -> impl Iterator<Item = String> {
    let (first, second) = match regions {
        [first, second, ..] => (*first, *second),
        [only] => (*only, *only),
        [] => ("REGION", "REGION"),
    };
    let control = if control == DEFAULT_CONTROL {
        String::new()
    } else {
        format!(" --control {control}")
    };
    let words = [
        format!("kill {second}"),
        format!("restore {second}"),
        format!("lag {first} 2s"),
        format!("partition {first} {second}"),
        "heal".to_owned(),
    ];
    words.into_iter().map(move |words| words + &control)
}

/// A name that a service answers for.
fn host(plan: &Plan) -> Option<String> {
    let mut hosts = plan.services.values().flat_map(|service| &service.hosts);
    let exact = hosts.find(|host| matches!(host, HostPattern::Exact(_)));
    exact.map(HostPattern::to_string)
}

fn listening(addresses: &Addresses) -> String {
    let open = [
        ("dns", addresses.dns),
        ("https", addresses.https),
        ("http", addresses.http),
        ("admin", addresses.admin),
    ];
    let open = open
        .iter()
        .filter_map(|(name, address)| Some(format!("{name} {}", (*address)?)));
    open.collect::<Vec<_>>().join("   ")
}

/// Where a client on this machine reaches a listener.
fn reachable(address: SocketAddr) -> IpAddr {
    match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}
