//! The SOA of a zone without a master file, and its name servers with their addresses.

use std::net::IpAddr;

use hickory_proto::rr::rdata::{A, AAAA, NS, SOA};
use hickory_proto::rr::{Name, RData};

use super::draft::{Draft, Record, Written};
use super::host_name;
use super::records::{relative, zone_ttl};
use crate::config::compile::Compiling;
use crate::config::plan::{Service, SourceAt};
use crate::config::tree::Node;
use crate::ids::{ServiceId, Table};
use crate::steering::stable_hash;
use crate::units::Ttl;

/// Adds what `soa` and `nameservers` say, or leave to defaults; a master file has its own.
pub(super) fn complete(
    draft: &mut Draft<'_>,
    services: &Table<ServiceId, Service>,
    compiling: &mut Compiling<'_>,
) {
    if draft.file.is_some() {
        return;
    }
    let ttl = zone_ttl(draft);
    let first = name_servers(draft, ttl, compiling);
    check_rname(draft, compiling);
    let soa = start_of_authority(draft, first.as_ref(), services);
    let at = draft.entry.node.get("soa").map(|node| node.at.clone());
    let at = at.unwrap_or_else(|| draft.entry.at.clone());
    let origin = draft.origin.clone();
    push(draft, &origin, ttl, RData::SOA(soa), &at);
}

/// NS records with their addresses; the first of them.
fn name_servers(draft: &mut Draft<'_>, ttl: Ttl, compiling: &mut Compiling<'_>) -> Option<Name> {
    let mut first = None;
    let zone = &draft.entry.node;
    for entry in zone.get("nameservers").map_or(&[][..], Node::entries) {
        let Some(server) = relative(draft, &entry.key, &entry.at, compiling) else {
            continue;
        };
        let items = entry.node.items().iter();
        let addresses = items.filter_map(|item| item.text()?.parse::<IpAddr>().ok());
        let origin = draft.origin.clone();
        let data = RData::NS(NS(server.clone()));
        push(draft, &origin, ttl, data, &entry.at);
        for address in addresses.filter(|_| origin.zone_of(&server)) {
            push(draft, &server, ttl, address_data(address), &entry.at);
        }
        first.get_or_insert(server);
    }
    first
}

fn push(draft: &mut Draft<'_>, owner: &Name, ttl: Ttl, data: RData, at: &SourceAt) {
    draft.push(Record {
        owner: owner.clone(),
        ttl,
        data,
        at: at.clone(),
        written: Written::InYaml,
    });
}

fn address_data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

fn check_rname(draft: &Draft<'_>, compiling: &mut Compiling<'_>) {
    let rname = draft.entry.node.get("soa").and_then(|soa| soa.get("rname"));
    let is_name = |text: &str| host_name(text).is_some() && !text.contains('@');
    if let Some(node) = rname.filter(|node| !node.text().is_some_and(is_name)) {
        let message = "`rname` is a mailbox written as a name, such as hostmaster.example.com";
        compiling.problem(&node.at, message);
    }
}

fn start_of_authority(
    draft: &Draft<'_>,
    first: Option<&Name>,
    services: &Table<ServiceId, Service>,
) -> SOA {
    let soa = draft.entry.node.get("soa");
    let named = |key: &str| soa.and_then(|soa| soa.read(key, host_name));
    let time = |key: &str, default: u32| {
        soa.and_then(|soa| soa.read(key, |text| text.parse::<Ttl>().ok()))
            .map_or(default, Ttl::secs)
    };
    let seconds = |secs: u32| i32::try_from(secs).unwrap_or(i32::MAX);
    let mname = named("mname")
        .or_else(|| first.cloned())
        .unwrap_or_else(|| draft.origin.clone());
    let hostmaster = Name::from_ascii("hostmaster");
    let hostmaster = hostmaster.and_then(|name| name.append_domain(&draft.origin));
    let rname = named("rname")
        .or_else(|| hostmaster.ok())
        .unwrap_or_else(|| draft.origin.clone());
    let timers = [
        time("refresh", 7_200),
        time("retry", 900),
        time("expire", 1_209_600),
    ];
    let minimum = time("minimum", 60);
    let fields = format!("{mname} {rname} {timers:?} {minimum}");
    let serial = serial(draft, &fields, services);
    let [refresh, retry, expire] = timers.map(seconds);
    SOA::new(mname, rname, serial, refresh, retry, expire, minimum)
}

/// A number that follows the content: every edge with this zone has the same one.
fn serial(draft: &Draft<'_>, soa: &str, services: &Table<ServiceId, Service>) -> u32 {
    let record =
        |record: &Record| format!("{} {} {}", record.owner, record.ttl.secs(), record.data);
    let hosts = services.values().flat_map(|service| &service.hosts);
    let mut lines: Vec<String> = draft.records.iter().map(record).collect();
    let steered = draft.names.iter();
    let steered = steered.filter(|(_, standing)| standing.steered.is_some());
    lines.extend(steered.map(|(owner, _)| owner.to_string()));
    lines.extend(hosts.map(ToString::to_string));
    lines.push(soa.to_owned());
    lines.sort();
    u32::try_from(stable_hash(&lines.join("\n")) >> 33).unwrap_or(1)
}
