#!/usr/bin/env python3
"""DNS side by side: Knot, NSD, gdnsd, PowerDNS and the least that a server can do, against Meridian.

The servers have CPU 0, of which all but one are idle, and dnsperf has CPU 1; all get the same queries, in turns. Servers that cannot do what a case
asks for are not in it: gdnsd does not sign, NSD and PowerDNS do not steer by a table of networks. Times on a shared
machine wander and instructions do not, so that callgrind counts those of Meridian. Afterwards come the micro-benchmarks
of `micro.rs`. Words are names of cases: `run.py static` measures one.
"""

import contextlib
import random
import re
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import peers
from measure import ROOT, client, cpu_seconds, find, free_port, install, server, table

QUERIES, MISSING_SHARE, SECONDS, ROUNDS = 100_000, 0.09, 2, 7
A, OPT, CLIENT_SUBNET, COOKIE, DNSSEC_OK = 1, 41, 8, 10, 0x8000


PACKAGES = {
    "dnsperf": "dnsperf",
    "dnssec-keygen": "bind9-utils",
    "gdnsd": "gdnsd",
    "knotd": "knot",
    "nsd": "nsd",
    "pdns_server": "pdns-server",
    "valgrind": "valgrind",
    "/usr/lib/*/knot/modules-*/geoip.so": "knot-module-geoip",
    "/usr/lib/*/pdns/libbindbackend.so": "pdns-backend-bind",
}


@dataclass(frozen=True)
class Case:
    name: str
    servers: tuple
    steered: bool = False
    signed: bool = False
    cookies: bool = False


CASES = [
    Case("static", (peers.knot, peers.nsd, peers.gdnsd, peers.pdns)),
    Case("steered by subnet", (peers.knot, peers.gdnsd), steered=True),
    Case("static, signed", (peers.knot, peers.nsd, peers.pdns), signed=True),
    Case("steered, signed", (peers.knot,), steered=True, signed=True),
    Case("static, signed, cookies", (peers.knot, peers.nsd, peers.pdns), signed=True, cookies=True),
    Case("steered, signed, cookies", (peers.knot,), steered=True, signed=True, cookies=True),
]


def message(name, case, options):
    """A query for an A, as RFC 1035 §4.1 and RFC 6891 §6.1.2 have it."""
    data = b"".join(struct.pack("!HH", code, len(value)) + value for code, value in options)
    labels = b"".join(bytes([len(label)]) + label.encode() for label in f"{name}.{peers.ZONE}".split("."))
    has_opt = case.signed or bool(options)
    wire = struct.pack("!6H", 0, 0x0100, 1, 0, 0, int(has_opt)) + labels + b"\0" + struct.pack("!HH", A, 1)
    if has_opt:
        flags = DNSSEC_OK if case.signed else 0
        wire += b"\0" + struct.pack("!HHHHH", OPT, 1232, 0, flags, len(data)) + data
    return wire


def queries(case, cookie):
    """Names of the zone and some that it lacks; or one steered name, for another client network each time."""
    chance = random.Random(1)
    cookies = [(COOKIE, cookie)] if cookie else []
    if not case.steered:
        for _ in range(QUERIES):
            kind = "x" if chance.random() < MISSING_SHARE else "h"
            yield message(f"{kind}{chance.randrange(peers.NAMES)}", case, cookies)
        return
    subnets = [subnet for network, _ in peers.networks() for subnet in network.subnets(new_prefix=24)]
    for subnet in chance.sample(subnets, QUERIES):
        option = struct.pack("!HBB", 1, 24, 0) + subnet.network_address.packed[:3]
        yield message("www", case, [(CLIENT_SUBNET, option), *cookies])


def exchange(port, wire):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(0.5)
        peer.connect(("127.0.0.1", port))
        try:
            peer.send(wire)
            return peer.recv(4096)
        except OSError:
            return b""


def server_cookie(port, case):
    """The client's cookie with the server's behind it, which every query then carries."""
    answer = exchange(port, message("h1", case, [(COOKIE, b"resolver")]))
    at = answer.find(b"\0\x0a\0\x18resolver")
    if at < 0:
        sys.exit("the server gave no cookie")
    return answer[at + 4 : at + 28]


def answers(port, configure, case):
    """Whether the server is up and answers as the case wants it."""
    answer = exchange(port, message("h1", case, []))
    if configure is peers.bare:
        return bool(answer)
    return socket.inet_aton(peers.address(1)) in answer and (not case.signed or len(answer) > 150)


class Running:
    """A server that is up, and the load that it gets."""

    def __init__(self, configure, case, folder, stack):
        self.name, self.runs = configure.__name__, []
        port = free_port()
        home = folder / f"{self.name}-{port}"
        home.mkdir()
        up = server(configure(home, port, case), lambda: answers(port, configure, case))
        self.pid = stack.enter_context(up)
        file, _ = write_queries(home, port, case, configure)
        self.load = ["dnsperf", "-B", "-s", "127.0.0.1", "-p", port, "-d", file, "-c", 8, "-q", 200, "-W"]
        client([*self.load, "-l", 1])

    def run(self):
        before = cpu_seconds(self.pid)
        said = client([*self.load, "-l", SECONDS])
        user, system = (after - b for after, b in zip(cpu_seconds(self.pid), before))
        completed = int(re.search(r"Queries completed:\s+(\d+)", said)[1])
        self.runs.append((completed / SECONDS, user / completed * 1e6, system / completed * 1e6))

    def median(self):
        """Queries per second, and user and system CPU per query in µs: of each the median."""
        return tuple(map(statistics.median, zip(*self.runs)))


def write_queries(home, port, case, configure):
    """A file of queries as dnsperf reads them, and how many there are."""
    cookie = None
    if case.cookies:
        cookie = b"resolver" * 3 if configure is peers.bare else server_cookie(port, case)
    wires = list(queries(case, cookie))
    file = home / "queries"
    file.write_bytes(b"".join(struct.pack("!H", len(wire)) + wire for wire in wires))
    return file, len(wires)


def instructions(case, folder):
    """User instructions of the whole server per query, counted by callgrind between two moments."""
    port = free_port()
    home = folder / f"callgrind-{port}"
    home.mkdir()
    command = peers.meridian(home, port, case)
    counted = [find("valgrind"), "--tool=callgrind", f"--callgrind-out-file={home}/out", *command]
    ready = lambda: answers(port, peers.meridian, case)
    with server(counted, ready, patience=300) as pid:
        file, number = write_queries(home, port, case, peers.meridian)
        load = ["dnsperf", "-B", "-s", "127.0.0.1", "-p", port, "-d", file, "-c", 8, "-q", 100, "-W"]
        client([*load, "-n", 1])
        control(["--zero", pid])
        client([*load, "-n", 1])
        control(["--dump", pid])
        dumps = sorted(home.glob("out.[0-9]*"), key=lambda dump: dump.stat().st_mtime)
    return int(re.search(r"^(?:totals|summary): (\d+)", dumps[-1].read_text(), re.M)[1]) / number


def control(words):
    command = [find("callgrind_control"), *map(str, words)]
    subprocess.run(command, check=True, capture_output=True)


def compare(case, folder):
    """All servers are up and asked in turns, so that a slow minute of the machine is everybody's."""
    with contextlib.ExitStack() as stack:
        servers = [Running(peer, case, folder, stack) for peer in (peers.bare, *case.servers, peers.meridian)]
        for _ in range(ROUNDS):
            for running in servers:
                running.run()
    results = [(running.name, *running.median()) for running in servers]
    (_, _, user, system), *others = results
    bare, best = user + system, min(user + system for name, _, user, system in others if name != "meridian")
    print(f"\n{case.name}\n")
    rows = [("server", "queries/s", "user µs", "system µs", "CPU to the best peer", "CPU to the bare one")]
    for name, rate, user, system in results:
        cpu = user + system
        rows.append((name, f"{rate:,.0f}", f"{user:.2f}", f"{system:.2f}", f"{cpu / best:.2f}", f"{cpu / bare:.2f}"))
    table(rows)
    print(f"\nInstructions per query: {instructions(case, folder):,.0f}")


def main():
    install(PACKAGES)
    subprocess.run(["cargo", "build", "--release", "--locked", "--bins", "--examples"], cwd=ROOT, check=True)
    wanted = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            if not wanted or case.name in wanted:
                compare(case, Path(folder))
    if not wanted:
        print("\nParts of it\n", flush=True)
        subprocess.run(["cargo", "bench", "--locked", "--bench", "dns"], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
