#!/usr/bin/env python3
"""DNS side by side: Knot, NSD and gdnsd against Meridian, alike configured, each alone on CPU 0 with dnsperf on CPU 1.

`static` asks for 10,000 names of one zone, 9 % of them not there. `steered` asks for a name that is answered by
latency from the country of an EDNS client subnet, and is measured for Meridian alone: gdnsd's geography needs a
GeoIP file that cannot be redistributed.
"""

import random
import re
import subprocess
import tempfile
from pathlib import Path

from measure import MERIDIAN, build, client, cpu_seconds, find, free_port, install, server, table

NAMES, MISSING_SHARE, SECONDS = 10_000, 0.09, 5


def zone_text():
    head = "$TTL 3600\n@ SOA ns1 hostmaster 1 7200 900 1209600 60\n@ NS ns1\nns1 A 192.0.2.53\n"
    return head + "".join(f"h{i} A 10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}\n" for i in range(NAMES))


def queries(folder):
    chance = random.Random(1)
    names = [
        f"x{i}" if chance.random() < MISSING_SHARE else f"h{i}"
        for i in (chance.randrange(NAMES) for _ in range(100_000))
    ]
    file = folder / "static.txt"
    file.write_text("".join(f"{name}.example.com A\n" for name in names))
    steered = folder / "steered.txt"
    steered.write_text("www.example.com A\n" * 1_000)
    return file, steered


def meridian(folder, port):
    records = "".join(
        f"      h{i}: {{ A: [10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}] }}\n" for i in range(NAMES)
    )
    config = folder / "edge.yaml"
    config.write_text(
        f"""node: {{ location: [50.11, 8.68] }}
listen: {{ dns: ["127.0.0.1:{port}"] }}
regions:
  us-east-1: {{ addresses: [192.0.2.10] }}
  eu-west-1: {{ addresses: [198.51.100.10] }}
  ap-northeast-1: {{ addresses: [203.0.113.10] }}
services: {{ www: {{ hosts: [www.example.com], health: {{ interval: 1h }} }} }}
zones:
  example.com:
    nameservers: {{ ns1: [192.0.2.53] }}
    records:
{records}"""
    )
    return [MERIDIAN, "serve", "--config", config]


def knot(folder, port):
    (folder / "example.com.zone").write_text(zone_text())
    config = folder / "knot.conf"
    config.write_text(
        f"""server:
  listen: 127.0.0.1@{port}
  rundir: {folder}
  udp-workers: 1
database:
  storage: {folder}
zone:
  - domain: example.com
    storage: {folder}
    file: example.com.zone
    journal-content: none
"""
    )
    return [find("knotd"), "-c", config]


def nsd(folder, port):
    (folder / "example.com.zone").write_text(zone_text())
    config = folder / "nsd.conf"
    config.write_text(
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
remote-control:
  control-enable: no
zone:
  name: example.com
  zonefile: example.com.zone
"""
    )
    return [find("nsd"), "-d", "-c", config]


def gdnsd(folder, port):
    (folder / "zones").mkdir()
    (folder / "zones/example.com").write_text(zone_text())
    (folder / "config").write_text(
        f"""options => {{ listen => 127.0.0.1:{port}, udp_threads => 1, tcp_threads => 1, run_dir => {folder}/run, state_dir => {folder}/state }}
"""
    )
    (folder / "run").mkdir()
    (folder / "state").mkdir()
    return [find("gdnsd"), "-c", folder, "start"]


def answers(port):
    command = ["dig", "@127.0.0.1", "-p", str(port), "h1.example.com", "A", "+short", "+time=1", "+tries=1"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() == "10.0.0.1"


def measure(configure, file, more=()):
    """Queries per second, and user and system CPU per query in µs."""
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        with server(configure(folder, port), lambda: answers(port)) as pid:
            load = ["dnsperf", "-s", "127.0.0.1", "-p", port, "-d", file, "-c", 8, "-q", 200, *more]
            client([*load, "-l", 1])
            before = cpu_seconds(pid)
            said = client([*load, "-l", SECONDS])
            user, system = (after - b for after, b in zip(cpu_seconds(pid), before))
    completed = int(re.search(r"Queries completed:\s+(\d+)", said)[1])
    return completed / SECONDS, user / completed * 1e6, system / completed * 1e6


def main():
    install(dnsperf="dnsperf", dig="bind9-dnsutils", knotd="knot", nsd="nsd", gdnsd="gdnsd")
    build()
    with tempfile.TemporaryDirectory() as name:
        static, steered = queries(Path(name))
        results = [
            (label, *measure(configure, static))
            for label, configure in [("knot", knot), ("nsd", nsd), ("gdnsd", gdnsd), ("meridian", meridian)]
        ]
        subnet = ["-E", "8:00011800cbb28d"]
        results.append(("meridian, steered with ECS", *measure(meridian, steered, subnet)))
    best = min(user + system for label, _, user, system in results if not label.startswith("meridian"))
    rows = [("server", "queries/s", "user µs", "system µs", "CPU to the best peer")]
    for label, rate, user, system in results:
        rows.append((label, f"{rate:,.0f}", f"{user:.2f}", f"{system:.2f}", f"{(user + system) / best:.2f}"))
    table(rows)


if __name__ == "__main__":
    main()
