#!/usr/bin/env python3
"""Measured latency against pure geography: how far DNS sends clients beyond their best region.

    bench/latency.py FOLDER

FOLDER holds azure-rtt.csv and azure-coordinates.json: Microsoft's "Azure network round-trip latency statistics" (CC BY 4.0),
which stands in for the world. A client is a /24 that the built-in geography database places in a country that has Azure
regions, and stands at one of them, drawn: its true round trips are that region's row. Its own region is 1 ms away. Services
use 3 or 6 regions, drawn; each is asked twice for every client, by the policies `geo` and `latency`, with real DNS queries
with a client subnet. Excess is the true round trip to the region in the answer, less that to the best region.

Where half of the networks are measured, the others go by what those measured show of their country, or of their autonomous
system if a database of those is given. In this world a client's neighbours stand anywhere in its country; the last line says
what is then the best that anybody could do who knows everything of a country and nothing within. The autonomous systems are
made up, and each stands at one place: real ones are in between.
"""

import csv
import http.server
import ipaddress
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path

from measure import MERIDIAN, build

CLIENTS = 1_000
DRAWS = 24
OWN_REGION_MS = 1.0
SYSTEMS_AT_A_PLACE = 3

COUNTRY = {
    "Australia": "AU", "Brazil": "BR", "Canada": "CA", "Central India": "IN", "Central US": "US", "East Asia": "HK",
    "East US": "US", "France": "FR", "Germany": "DE", "Israel": "IL", "Italy": "IT", "Japan": "JP", "Jio India": "IN",
    "Korea": "KR", "Malaysia": "MY", "Mexico": "MX", "New Zealand": "NZ", "North Central US": "US", "North Europe": "IE",
    "Norway": "NO", "Poland": "PL", "Qatar": "QA", "South Africa": "ZA", "South Central US": "US", "South India": "IN",
    "Southeast Asia": "SG", "Sweden": "SE", "Switzerland": "CH", "UAE": "AE", "UK": "GB", "West Central US": "US",
    "West Europe": "NL", "West India": "IN", "West US": "US",
}  # fmt: skip


def country(name):
    return next(code for begins, code in COUNTRY.items() if name.startswith(begins))


def slug(name):
    return name.lower().replace(" ", "")


def world(folder):
    """Round trips as (from, to): ms, and where the regions are."""
    with open(folder / "azure-rtt.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    places = json.loads((folder / "azure-coordinates.json").read_text())
    names = [row["Source"] for row in rows if slug(row["Source"]) in places]
    ms = {(row["Source"], to): float(row[to]) for row in rows for to in names if row.get(to)}
    for name in names:
        ms[name, name] = OWN_REGION_MS
    # Two regions of the table have hardly a figure.
    gaps = {name: sum((a, b) not in ms for a in names for b in names if name in (a, b)) for name in names}
    names = [name for name in names if gaps[name] < len(names) // 2]
    # A region without a full row can be no client's place.
    whole = [name for name in names if all((name, to) in ms for to in names)]
    return names, whole, ms, {slug(name): places[slug(name)] for name in names}


class Healthy(http.server.BaseHTTPRequestHandler):
    """What every region's health check finds."""

    def do_GET(self):
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def start_origin():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Healthy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"'http://127.0.0.1:{server.server_port}'"


class Edge:
    def __init__(self, folder, yaml):
        (folder / "edge.yaml").write_text(yaml)
        command = [str(MERIDIAN), "serve", "--config", str(folder / "edge.yaml")]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.address = {}
        for line in self.process.stderr:
            words = line.split()
            if "listening" in words:
                protocol, address = words[words.index("listening") + 1 :][:2]
                self.address[protocol] = address.rsplit(":", 1)
            if line.rstrip().endswith("ready"):
                break
        host, port = self.address["dns"]
        self.dns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.dns.settimeout(5)
        self.dns.connect((host, int(port)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def check_all_healthy(self):
        """A region that is out would be measured as a detour."""
        with urllib.request.urlopen(f"http://{':'.join(self.address['admin'])}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        out = [line for line in lines if line.startswith("meridian_region_healthy{") and not line.endswith(" 1")]
        if out:
            sys.exit(f"not a measurement: {out[0]}")

    def country(self, address):
        url = f"http://{':'.join(self.address['admin'])}/api/v1/explain?name=l0.example.com&client={address}"
        with urllib.request.urlopen(url) as answer:
            return json.load(answer)["client"]["country"]

    def ask(self, host, network):
        """The last address of the answer, RFC 7871 §6 in the question."""
        labels = b"".join(bytes([len(label)]) + label.encode() for label in f"{host}.example.com".split("."))
        option = bytes([0, 8, 0, 7, 0, 1, 24, 0]) + network.network_address.packed[:3]
        query = bytes([0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1]) + labels + bytes([0, 0, 1, 0, 1])
        query += bytes([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, len(option)]) + option
        self.dns.send(query)
        answer = self.dns.recv(4096)
        after = len(query) - len(option) - 11
        return str(ipaddress.IPv4Address(answer[after + 12 : after + 16]))


def write_systems(path, clients, whole):
    """A MaxMind-format file (version 2.0, IPv4, records of 24 bits) in which every system stands at one place."""
    nodes, data, systems = [[None, None]], bytearray(), {}
    for network, home in clients.items():
        number = 64_512 + whole.index(home) * SYSTEMS_AT_A_PLACE + random.randrange(SYSTEMS_AT_A_PLACE)
        if number not in systems:
            systems[number] = len(data)
            data += b"\xe1" + text("autonomous_system_number") + unsigned(number)
        bits = int(network.network_address) >> 8
        node = 0
        for at in range(23, 0, -1):
            side = bits >> at & 1
            if nodes[node][side] is None:
                nodes.append([None, None])
                nodes[node][side] = len(nodes) - 1
            node = nodes[node][side]
        nodes[node][bits & 1] = ("data", systems[number])
    count = len(nodes)

    def record(to):
        if isinstance(to, tuple):
            to = count + 16 + to[1]
        return (count if to is None else to).to_bytes(3, "big")

    about = text("node_count") + unsigned(count) + text("build_epoch") + b"\x08\x02" + bytes(8)
    shorts = {"record_size": 24, "ip_version": 4, "binary_format_major_version": 2, "binary_format_minor_version": 0}
    about += b"".join(text(key) + b"\xa2" + value.to_bytes(2, "big") for key, value in shorts.items())
    about += text("database_type") + text("bench-ASN") + text("languages") + b"\x00\x04" + text("description") + b"\xe0"
    tree = b"".join(record(left) + record(right) for left, right in nodes)
    head = b"\xab\xcd\xefMaxMind.com" + bytes([0xE0 + 9])
    path.write_bytes(tree + bytes(16) + data + head + about)


def text(value):
    return bytes([0x40 + len(value)]) + value.encode()


def unsigned(value):
    return bytes([0xC4]) + value.to_bytes(4, "big")


def config(places, draws, origin, more):
    lines = ['listen: { dns: ["127.0.0.1:0"], admin: "127.0.0.1:0" }', "latency: { import: [measured.csv] }", more, "regions:"]
    for number, (name, place) in enumerate(places.items(), 1):
        lines.append(f"  {name}: {{ location: [{place['lat']}, {place['lon']}], addresses: [192.0.2.{number}], origins: [{origin}] }}")
    lines.append("services:")
    for number, regions in enumerate(draws):
        listed = ", ".join(slug(region) for region in regions)
        for mark, policy in (("g", "geo"), ("l", "latency")):
            lines.append(
                f"  {mark}{number}: {{ hosts: [{mark}{number}.example.com], regions: [{listed}], "
                f"steering: {{ policy: {policy} }}, health: {{ path: /, interval: 1h, timeout: 1m }} }}"
            )
    lines.append("zones: { example.com: { nameservers: { ns1: [192.0.2.253] } } }")
    return "\n".join(lines) + "\n"


def find_clients(edge, whole):
    """Real /24s of countries that have regions, each at one of them."""
    by_country = {}
    for name in whole:
        by_country.setdefault(country(name), []).append(name)
    clients = {}
    while len(clients) < CLIENTS:
        address = ipaddress.IPv4Address(random.getrandbits(32))
        network = ipaddress.ip_network(f"{address}/24", strict=False)
        found = by_country.get(edge.country(address))
        if found:
            clients[network] = random.choice(found)
    return clients


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def excesses(edge, mark, draws, clients, ms, names):
    found = {3: [], 6: []}
    for number, regions in enumerate(draws):
        for network, home in clients.items():
            answer = edge.ask(f"{mark}{number}", network)
            chosen = names[int(answer.rsplit(".", 1)[1]) - 1]
            best = min(ms[home, region] for region in regions)
            found[len(regions)].append(ms[home, chosen] - best)
    edge.check_all_healthy()
    return found


def show(what, found):
    for size, values in found.items():
        best = sum(value == 0 for value in values) / len(values)
        print(
            f"| {what} | {size} | {best:.0%} | {statistics.median(values):.0f} | {percentile(values, 0.95):.0f} "
            f"| {percentile(values, 0.99):.0f} | {statistics.mean(values):.1f} |"
        )


def measure(ms, clients, names, network_share, noise, regions_each):
    """The rows of an import: what is measured of whom, and how well."""
    for network, home in clients.items():
        if random.random() >= network_share:
            continue
        measured = names if regions_each is None else random.sample(names, regions_each)
        for region in measured:
            yield network, region, ms[home, region] * random.uniform(1 - noise, 1 + noise)


def best_by_country(draws, clients, ms, share):
    """Excesses if whoever is not measured goes by the region that is nearest to its country on average."""
    of_country = {}
    for home in clients.values():
        of_country.setdefault(country(home), []).append(home)
    found = {3: [], 6: []}
    for regions in draws:
        best = {
            code: min(regions, key=lambda region: sum(ms[home, region] for home in homes))
            for code, homes in of_country.items()
        }
        for home in clients.values():
            chosen = ms[home, best[country(home)]] - min(ms[home, region] for region in regions)
            found[len(regions)].append(chosen if random.random() >= share else 0)
    return found


def main():
    random.seed(8767)
    if "MERIDIAN" not in os.environ:
        build()
    names, whole, ms, places = world(Path(sys.argv[1]))
    draws = [random.sample(names, 3 if number % 2 else 6) for number in range(DRAWS)]
    used = sorted({region for draw in draws for region in draw})
    print("| steered by | regions | best region | median ms | p95 ms | p99 ms | mean ms |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    cases = [
        ("latency: every network measured", 1.0, 0.0, None, ""),
        ("latency: every network, each figure wrong by up to 10 %", 1.0, 0.1, None, ""),
        ("latency: half of the networks measured", 0.5, 0.0, None, ""),
        ("latency: half of the networks, systems known", 0.5, 0.0, None, "geo: { asn_database: asn.mmdb }"),
        ("latency: a third of the regions measured from each network", 1.0, 0.0, len(used) // 3, ""),
    ]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        origin = start_origin()
        (folder / "measured.csv").write_text("network,region,ms\n")
        with Edge(folder, config(places, draws, origin, "")) as edge:
            clients = find_clients(edge, whole)
            show("geo: distance alone", excesses(edge, "g", draws, clients, ms, names))
        write_systems(folder / "asn.mmdb", clients, whole)
        for what, share, noise, each, more in cases:
            rows = measure(ms, clients, used, share, noise, each)
            lines = [f"{network},{slug(region)},{value:.1f}" for network, region, value in rows]
            (folder / "measured.csv").write_text("\n".join(["network,region,ms", *lines]) + "\n")
            with Edge(folder, config(places, draws, origin, more)) as edge:
                show(what, excesses(edge, "l", draws, clients, ms, names))
    show("not measured: half of the networks, the rest by the best of their country", best_by_country(draws, clients, ms, 0.5))


if __name__ == "__main__":
    main()
