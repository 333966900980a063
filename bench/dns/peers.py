"""The servers that `run.py` compares, configured alike: one zone, one UDP worker, no limits, no logs.

Each function writes a server's files into a folder and returns the command that runs it in the foreground.
"""

import ipaddress
import random
import subprocess

from measure import MERIDIAN, ROOT, find

ZONE = "example.com"
NAMES = 10_000
REGIONS = {"us-east-1": "192.0.2.10", "eu-west-1": "198.51.100.10", "ap-northeast-1": "203.0.113.10"}
NETWORKS, LENGTH = 10_000, 20
KEY = "bench-key-that-is-no-secret-0123456789"


def address(i):
    return f"10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}"


def networks():
    """Networks and the region of each: the same in every run."""
    chance = random.Random(2)
    blocks = chance.sample(range(1 << LENGTH), 3 * NETWORKS)
    found = (ipaddress.ip_network((block << (32 - LENGTH), LENGTH)) for block in blocks)
    return [(network, chance.choice(list(REGIONS))) for network in found if network.is_global][:NETWORKS]


def zone_text(steered=""):
    head = f"$TTL 3600\n@ SOA ns1 hostmaster 1 7200 900 1209600 60\n@ NS ns1\nns1 A 192.0.2.53\n{steered}"
    return head + "".join(f"h{i} A {address(i)}\n" for i in range(NAMES))


def bare(folder, port, case):
    return [ROOT / "target/release/examples/bare_responder", f"127.0.0.1:{port}"]


def meridian(folder, port, case):
    (folder / "example.com.zone").write_text(zone_text())
    regions = "".join(f"  {name}: {{ addresses: [{ip}] }}\n" for name, ip in REGIONS.items())
    placed = "".join(f"    {network}: {region}\n" for network, region in networks())
    dnssec = "    dnssec: { keys: keys }\n" if case.signed else ""
    (folder / "edge.yaml").write_text(
        f"""node: {{ location: [50.11, 8.68] }}
listen: {{ dns: ["127.0.0.1:{port}"] }}
keys: [{{ id: 1, secret: {KEY} }}]
dns: {{ rate_limit: off }}
geo:
  networks:
{placed}regions:
{regions}services: {{ www: {{ hosts: [www.example.com], health: {{ interval: 1h }} }} }}
zones:
  example.com:
    file: example.com.zone
{dnssec}"""
    )
    return [MERIDIAN, "serve", "--config", folder / "edge.yaml"]


def knot(folder, port, case):
    (folder / "example.com.zone").write_text(zone_text("www 30 A 192.0.2.10\n"))
    nets = "".join(f"  - net: {network}\n    A: {REGIONS[region]}\n" for network, region in networks())
    (folder / "geo.conf").write_text(f"www.example.com:\n{nets}")
    policy = "policy:\n  - id: bench\n    algorithm: ecdsap256sha256\n    single-type-signing: on\n"
    geo_policy = "    policy: bench\n" if case.signed else ""
    geo = f"mod-geoip:\n  - id: geo\n    config-file: {folder}/geo.conf\n    ttl: 30\n    mode: subnet\n{geo_policy}"
    modules = "    module: mod-geoip/geo\n" * case.steered + "    module: mod-cookies\n" * case.cookies
    (folder / "knot.conf").write_text(
        f"""server:
  listen: 127.0.0.1@{port}
  rundir: {folder}
  udp-workers: 1
database:
  storage: {folder}
{policy}{geo if case.steered else ""}zone:
  - domain: example.com
    storage: {folder}
    file: example.com.zone
    journal-content: none
    zonefile-sync: -1
    zonefile-load: whole
    dnssec-policy: bench
    dnssec-signing: {"on" if case.signed else "off"}
{modules}"""
    )
    return [find("knotd"), "-c", folder / "knot.conf"]


def nsd(folder, port, case):
    zone = folder / "example.com.zone"
    zone.write_text(zone_text())
    if case.signed:
        sign(folder, zone)
    (folder / "nsd.conf").write_text(
        f"""server:
  ip-address: 127.0.0.1@{port}
  server-count: 1
  username: ""
  chroot: ""
  zonesdir: "{folder}"
  database: ""
  xfrdfile: "{folder}/xfrd"
  xfrdir: "{folder}"
  zonelistfile: "{folder}/zone.list"
  pidfile: ""
  rrl-ratelimit: 0
  answer-cookie: {"yes" if case.cookies else "no"}
  cookie-secret: "000102030405060708090a0b0c0d0e0f"
remote-control:
  control-enable: no
zone:
  name: example.com
  zonefile: {zone.name}
"""
    )
    return [find("nsd"), "-d", "-c", folder / "nsd.conf"]


def sign(folder, zone):
    """Signs a zone file in place, with NSEC and one key."""
    def run(*command):
        return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    key = run(find("dnssec-keygen"), "-a", "ECDSAP256SHA256", "-f", "KSK", ZONE).strip()
    zone.write_text(zone.read_text() + f"$INCLUDE {key}.key\n")
    run(find("dnssec-signzone"), "-z", "-o", ZONE, "-f", "signed", zone.name, key)
    (folder / "signed").replace(zone)


def gdnsd(folder, port, case):
    for name in ("zones", "run", "state", "geoip"):
        (folder / name).mkdir()
    (folder / "zones/example.com").write_text(zone_text("www 30 DYNA geoip!www\n"))
    order = list(REGIONS)
    nets = "".join(
        f"{network} => [{','.join(sorted(order, key=lambda r: r != region))}]\n" for network, region in networks()
    )
    (folder / "geoip/nets").write_text(nets)
    centers = "".join(f"      {name} => {{ addrs_v4 => {{ {name} => {ip} }} }}\n" for name, ip in REGIONS.items())
    (folder / "config").write_text(
        f"""options => {{ listen => 127.0.0.1:{port}, udp_threads => 1, tcp_threads => 1, run_dir => {folder}/run, state_dir => {folder}/state }}
plugins => {{
  geoip => {{
    maps => {{ place => {{ datacenters => [{', '.join(order)}], nets => {folder}/geoip/nets }} }}
    resources => {{ www => {{ map => place, service_types => up, dcmap => {{
{centers}    }} }} }}
  }}
}}
"""
    )
    return [find("gdnsd"), "-c", folder, "start"]


def pdns(folder, port, case):
    zone = folder / "example.com.zone"
    zone.write_text(zone_text())
    (folder / "named.conf").write_text(f'zone "{ZONE}" {{ type master; file "{zone}"; }};\n')
    dnssec = f"bind-dnssec-db={folder}/dnssec.db\n" if case.signed else ""
    (folder / "pdns.conf").write_text(
        f"""launch=bind
bind-config={folder}/named.conf
{dnssec}local-address=127.0.0.1
local-port={port}
socket-dir={folder}
receiver-threads=1
distributor-threads=1
edns-subnet-processing=yes
{"edns-cookie-secret=000102030405060708090a0b0c0d0e0f" if case.cookies else ""}
log-dns-queries=no
loglevel=3
"""
    )
    if case.signed:
        tool = [find("pdnsutil"), "--config-dir", str(folder)]
        for words in (["create-bind-db", f"{folder}/dnssec.db"], ["secure-zone", ZONE], ["rectify-zone", ZONE]):
            subprocess.run([*tool, *words], check=True, capture_output=True)
    return [find("pdns_server"), f"--config-dir={folder}", "--daemon=no", "--guardian=no"]
