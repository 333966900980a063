//! Scopes, as a resolver takes them: what it keeps for one client must be right for every other
//! that it gives it to (RFC 7871 §7.3.1).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use meridian::prefix::Prefix;
use support::{DnsClient, Edge, Unbound, query, subnet};

const A: u16 = 1;
const AAAA: u16 = 28;

/// Three continents by the built-in geography; networks and overrides by hand, some within each other.
const YAML: &str = "
node: { location: [50.11, 8.68] }
listen: { dns: ['127.0.0.1:0'], admin: '127.0.0.1:0' }
geo: { networks: { 203.178.0.0/16: us-east-1, 203.178.141.0/24: ap-northeast-1, 10.0.0.0/8: eu-west-1 } }
regions:
  us-east-1: { addresses: [192.0.2.10, '2001:db8:1::1'] }
  eu-west-1: { addresses: [192.0.2.20, '2001:db8:2::1'] }
  ap-northeast-1: { addresses: [192.0.2.30, '2001:db8:3::1'] }
services:
  www:
    hosts: [www.example.com]
    steering:
      policy: latency
      overrides:
        - { network: 203.178.141.128/27, prefer: [eu-west-1] }
        - { network: '2001:200:dff::/48', prefer: [us-east-1] }
        - { country: [BR, NZ], prefer: [eu-west-1] }
    dns: { ttl: 60s }
zones: { example.com: { nameservers: { ns1: [192.0.2.53] } } }
";

/// A client that a resolver asks for, as it says it: the whole address, or its network.
fn ask(client: &DnsClient, network: Prefix) -> (Vec<IpAddr>, u8) {
    let qtype = if network.address().is_ipv4() { A } else { AAAA };
    let option = subnet(network.address(), network.length());
    let reply = client.ask(query("www.example.com", qtype, &option));
    let scope = reply.scope().unwrap();
    (reply.addresses(), scope)
}

/// Addresses from all over the Internet, and those that the configuration names.
fn some_addresses(random: &mut fastrand::Rng) -> Vec<IpAddr> {
    let four = (0..120).map(|_| IpAddr::V4(Ipv4Addr::from_bits(random.u32(..))));
    let mut addresses: Vec<IpAddr> = four.collect();
    // What is assigned of IPv6 lies in a few of its /12s.
    let six = [0x2001_u128, 0x2400, 0x2600, 0x2800, 0x2a00, 0x2c00];
    addresses.extend((0..120).map(|index| {
        let top = (six[index % six.len()] << 112) | (random.u128(..) >> 12);
        IpAddr::V6(Ipv6Addr::from_bits(top))
    }));
    let named = [
        "203.178.141.140",
        "203.178.141.1",
        "203.178.1.1",
        "10.1.2.3",
        "2001:200:dff:fff1::1",
        "0.0.0.1",
        "255.255.255.255",
        "ffff::1",
    ];
    addresses.extend(named.map(|address| address.parse::<IpAddr>().unwrap()));
    addresses
}

/// The address before or after another; at the ends of the family, that one.
fn beside(address: IpAddr, distance: i8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            Ipv4Addr::from_bits(v4.to_bits().saturating_add_signed(distance.into())).into()
        }
        IpAddr::V6(v6) => {
            Ipv6Addr::from_bits(v6.to_bits().saturating_add_signed(distance.into())).into()
        }
    }
}

/// Clients within the scope that the edge says for an address, at its borders, and just outside.
fn around(edge: &DnsClient, address: IpAddr) -> Vec<Prefix> {
    let (_, scope) = ask(edge, Prefix::host(address));
    let within = Prefix::around(address, scope);
    let (first, last) = (within.address(), within.last());
    let hosts = [address, first, last, beside(first, -1), beside(last, 1)];
    let network = if address.is_ipv4() { 24 } else { 56 };
    let mut around = hosts.map(Prefix::host).to_vec();
    // As most resolvers send it, and as careful ones do.
    around.push(Prefix::around(address, network));
    around.push(Prefix::around(address, network / 2));
    around
}

/// A resolver that keeps to the scopes and forwards the subnets of its clients.
fn resolver(edge: SocketAddr) -> Unbound {
    Unbound::start(
        edge,
        "module-config: 'subnetcache validator iterator'
  send-client-subnet: 127.0.0.1
  client-subnet-always-forward: yes
  max-client-subnet-ipv4: 32
  max-client-subnet-ipv6: 128
  max-ecs-tree-size-ipv4: 100000
  max-ecs-tree-size-ipv6: 100000",
    )
}

#[test]
fn a_resolver_s_cache_gives_every_client_what_the_edge_would() {
    let edge = Edge::start(YAML);
    let direct = DnsClient::of(edge.address("dns"));
    let mut random = fastrand::Rng::with_seed(7871);
    let clients: BTreeSet<Prefix> = some_addresses(&mut random)
        .into_iter()
        .flat_map(|address| around(&direct, address))
        .collect();
    let right: BTreeMap<Prefix, (Vec<IpAddr>, u8)> = clients
        .iter()
        .map(|client| (*client, ask(&direct, *client)))
        .collect();
    let answers: BTreeSet<&Vec<IpAddr>> = right.values().map(|(answer, _)| answer).collect();
    assert_eq!(
        answers.len(),
        6,
        "each region, in both families: {answers:?}"
    );

    let unbound = resolver(edge.address("dns"));
    let through = DnsClient::of(unbound.address);
    let mut clients: Vec<Prefix> = clients.into_iter().collect();
    let received = || edge.counted("meridian_dns_queries_total", &["transport=\"udp\""]);
    let mut reached = Vec::new();
    for _ in 0..2 {
        random.shuffle(&mut clients);
        let before = received();
        for client in &clients {
            let (answer, _) = ask(&through, *client);
            assert_eq!(answer, right[client].0, "{client}");
        }
        reached.push(received() - before);
    }
    let asked = u64::try_from(clients.len()).unwrap();
    assert!(asked > 1_000, "{asked} clients");
    assert!(reached[0] < asked * 2 / 3, "{reached:?} of {asked} each");
    assert_eq!(reached[1], 0, "all of it is known by now");
}

#[test]
fn scopes_of_a_service_are_equal_or_apart() {
    let edge = Edge::start(YAML);
    let direct = DnsClient::of(edge.address("dns"));
    let addresses = some_addresses(&mut fastrand::Rng::with_seed(7871));
    let mut scopes = BTreeMap::new();
    for host in addresses
        .into_iter()
        .flat_map(|address| around(&direct, address))
    {
        let (answer, scope) = ask(&direct, host);
        let scope = Prefix::around(host.address(), scope);
        let known = scopes.entry(scope).or_insert_with(|| answer.clone());
        assert_eq!(*known, answer, "{host} in {scope}");
    }
    for (scope, next) in scopes.keys().zip(scopes.keys().skip(1)) {
        assert!(!scope.contains(next.address()), "{scope} and {next}");
    }
}
