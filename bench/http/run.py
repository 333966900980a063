#!/usr/bin/env python3
"""HTTPS side by side: nginx, HAProxy and Envoy against Meridian, plain and with affinity and read-your-writes.

Each proxy is up on CPU 0 with one worker, of which all but one are idle; the origin and the load generator share
CPU 1. All get the same load in turns, and of several rounds the medians count. Words are names of cases:
`run.py "h1 1 KiB" idle` measures two. `ROUNDS` and `RUN_SECONDS` in the environment make it shorter or longer.
"""

import contextlib
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import peers
from measure import CLIENT_CPU, ROOT, client, cpu_seconds, free_port, install, memory, server, table

LOAD = Path(os.environ.get("LOAD", ROOT / "target/release/examples/https_load"))
ROUNDS, SECONDS, WARM_UP = int(os.environ.get("ROUNDS", 5)), int(os.environ.get("RUN_SECONDS", 4)), 2
UPLOAD, IDLE, SHARE = 1 << 20, 10_000, 0.7
PATIENCE = 20
"""How many seconds a load may take longer than it should."""

PACKAGES = {
    "h2load": "nghttp2-client",
    "nginx": "nginx-light",
    "haproxy": "haproxy",
    "curl": "curl",
    "openssl": "openssl",
}


@dataclass(frozen=True)
class Case:
    """One load, by h2load or by `load.rs`; `path` is what h2load asks for."""

    name: str
    unit: str
    words: tuple
    path: str = ""
    own_origin: bool = False
    bare: bool = False
    """Whether what the system calls and TLS cost anybody is measured too."""
    http2_origin: bool = False


CASES = [
    Case("h1 1 KiB", "request", ("--h1", "-c", 32), path="/1k", bare=True),
    Case("h1 64 KiB", "request", ("--h1", "-c", 32), path="/64k"),
    Case("h2 1 KiB", "request", ("-c", 32, "-m", 8), path="/1k"),
    Case("h2 1 KiB, h2 origin", "request", ("-c", 32, "-m", 8), path="/1k", http2_origin=True),
    Case("connections", "connection", ("connections", 32)),
    Case("websocket", "message", ("websocket", 64), own_origin=True, bare=True),
    Case("upload", "upload", ("--h1", "-c", 8, "-d", "{home}/upload"), path="/upload", own_origin=True),
]
LATENCY = Case("latency", "request", ("requests", 32))
EVERYBODY = (peers.nginx, peers.haproxy, peers.envoy, peers.meridian, peers.meridian_tokens)
OVER_HTTP2 = (peers.haproxy_http2, peers.envoy_http2, peers.meridian_http2)
NO_PEERS = ("meridian", "meridian_http2", "meridian_tokens", "bare")


@dataclass(frozen=True)
class Run:
    """What a load saw: exchanges a second and microseconds that they took; and the CPU of the proxy for each."""

    rate: float
    p50: float
    p99: float
    cpu: float = 0


def curl(port, path, *words, scheme="https"):
    """The status, head and body of an answer."""
    url = f"{scheme}://{peers.HOST}:{port}{path}"
    command = ["curl", "-ski", "--http1.1", "--max-time", "5", "--resolve", f"{peers.HOST}:{port}:127.0.0.1", *words, url]
    said = subprocess.run(command, capture_output=True, text=True).stdout
    head, _, body = said.partition("\n\n")
    return head.partition(" ")[2][:3], head, body


def answers(port, scheme="https"):
    return curl(port, "/1k", scheme=scheme)[0] == "200"


def tokens(port):
    """The headers that a client of Meridian sends after it has written: its affinity cookie and its token."""
    _, head, _ = curl(port, "/write", "-d", "x")
    cookie = re.search(r"^set-cookie: (\S*meridian_region_\w+=[^;]+)", head, re.M | re.I)
    token = re.search(r"^meridian-token: (\S+)", head, re.M | re.I)
    if not cookie or not token:
        sys.exit(f"Meridian gave no cookie or no token:\n{head}")
    return [f"Cookie: {cookie[1]}", f"Meridian-Token: {token[1]}"]


def check_tokens(port, headers):
    """That a read with these headers is answered as it should and gives nothing back: the token lives on."""
    _, head, _ = curl(port, "/1k", *(word for header in headers for word in ("-H", header)))
    said = head.lower()
    if "meridian-consistency: fresh" not in said or "set-cookie:" in said or "meridian-token:" in said:
        sys.exit(f"Meridian did not take its cookie or its token, or gave others:\n{head}")


class Running:
    """A proxy that is up, and the load that it gets."""

    def __init__(self, configure, case, folder, origins, stack):
        self.name, self.case, self.runs, self.port = configure.__name__, case, [], free_port()
        self.home = folder / f"{self.name}-{self.port}"
        self.home.mkdir()
        # Not among the configuration: whoever watches that would be told of each line.
        (folder / "logs").mkdir(exist_ok=True)
        self.log = folder / "logs" / self.home.name
        behind = origins.tokens if configure is peers.meridian_tokens else origins.plain
        behind = origins.http2 if case.http2_origin else behind
        back = origins.load if case.own_origin else behind
        command = configure(self.home, self.port, back, origins.far)
        self.pid = stack.enter_context(server(command, lambda: answers(self.port)))
        self.headers = tokens(self.port) if configure is peers.meridian_tokens else []
        if case.path == "/upload":
            self.check_upload()
        self.check()

    def check(self):
        if self.headers:
            check_tokens(self.port, self.headers)

    def check_upload(self):
        """The origin says how much it has read."""
        file = self.home / "upload"
        file.write_bytes(b"x" * UPLOAD)
        _, head, body = curl(self.port, "/upload", "-H", "Expect:", "--data-binary", f"@{file}")
        if body != str(UPLOAD):
            sys.exit(f"{self.name}: the origin did not read the upload:\n{head}\n{body}")

    def load(self, seconds, *more):
        by = self.h2load if self.case.path else self.own
        return by(seconds, *more)

    def own(self, seconds, *more):
        what, clients = self.case.words
        command = [LOAD, what, f"127.0.0.1:{self.port}", clients, seconds, *more, *self.headers]
        said = json.loads(client(command, seconds + PATIENCE))
        return Run(said["done"] / said["seconds"], said["p50"], said["p99"]), said["done"]

    def h2load(self, seconds):
        self.log.unlink(missing_ok=True)
        tls = ["--tls13-ciphers=TLS_AES_128_GCM_SHA256", "--groups=X25519", f"--connect-to=127.0.0.1:{self.port}"]
        words = [str(word).format(home=self.home) for word in self.case.words]
        headers = [f"--header={header}" for header in self.headers]
        url = f"https://{peers.HOST}:{self.port}{self.case.path}"
        command = ["h2load", "-t", 1, "-D", seconds, f"--log-file={self.log}", *tls, *words, *headers, url]
        said = client(command, seconds + PATIENCE)
        done, failed, errored = map(int, re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", said).groups())
        if failed or errored or not done or "TLSv1.3" not in said:
            sys.exit(f"{self.name} failed under h2load:\n{said}")
        took = sorted(int(line.split()[2]) for line in self.log.read_text().splitlines())
        return Run(done / seconds, took[len(took) // 2], took[len(took) * 99 // 100]), done

    def run(self, *more):
        before = sum(cpu_seconds(self.pid))
        seen, done = self.load(SECONDS, *more)
        spent = sum(cpu_seconds(self.pid)) - before
        self.runs.append(Run(seen.rate, seen.p50, seen.p99, spent / done * 1e6))

    def median(self):
        """Of each figure the median."""
        columns = zip(*((run.rate, run.p50, run.p99, run.cpu) for run in self.runs))
        return Run(*map(statistics.median, columns))


@contextlib.contextmanager
def origins(folder):
    ports = peers.Origins(*(free_port() for _ in range(5)))
    home = folder / f"origin-{ports.plain}"
    home.mkdir()
    own = [LOAD, "origin", f"127.0.0.1:{ports.load}"]
    with (
        server(peers.origin(home, ports), lambda: answers(ports.plain, "http"), cpu=CLIENT_CPU),
        server(own, lambda: answers(ports.load, "http"), cpu=CLIENT_CPU),
    ):
        yield ports


def compare(case, folder):
    """All proxies are up and loaded in turns, so that a slow minute of the machine is everybody's."""
    with contextlib.ExitStack() as stack:
        behind = stack.enter_context(origins(folder))
        configures = OVER_HTTP2 if case.http2_origin else EVERYBODY
        configures = (peers.bare, *configures) if case.bare else configures
        proxies = [Running(configure, case, folder, behind, stack) for configure in configures]
        for proxy in proxies:
            proxy.load(WARM_UP)
        for _ in range(ROUNDS):
            for proxy in proxies:
                proxy.run()
        if case.path != "/upload":  # After that the client has written more than its token says.
            for proxy in proxies:
                proxy.check()
    medians = {proxy.name: proxy.median() for proxy in proxies}
    best = min(run.cpu for name, run in medians.items() if name not in NO_PEERS)
    rows = [("proxy", f"{case.unit}s/s", f"CPU µs per {case.unit}", "p50 µs", "p99 µs", "CPU to the best peer")]
    for name, run in medians.items():
        figures = (f"{run.rate:,.0f}", f"{run.cpu:,.1f}", f"{run.p50:,.0f}", f"{run.p99:,.0f}")
        rows.append((name, *figures, f"{run.cpu / best:.2f}"))
    table(rows)
    if "meridian_tokens" in medians:
        costs = medians["meridian_tokens"].cpu / medians["meridian"].cpu - 1
        print(f"\nAffinity and tokens cost {costs:+.1%} of CPU.")


def latency(folder):
    """HAProxy and Meridian at one fixed rate: 70 % of what the slowest of them can do."""
    with contextlib.ExitStack() as stack:
        behind = stack.enter_context(origins(folder))
        configures = (peers.haproxy, peers.meridian, peers.meridian_tokens)
        proxies = [Running(configure, LATENCY, folder, behind, stack) for configure in configures]
        for proxy in proxies:
            proxy.load(WARM_UP, 0)
        most = min(proxy.load(SECONDS, 0)[0].rate for proxy in proxies)
        for _ in range(ROUNDS):
            for proxy in proxies:
                proxy.run(SHARE * most)
    print(f"{SHARE * most:,.0f} requests a second, {SHARE:.0%} of what the slowest can do\n")
    medians = {proxy.name: proxy.median() for proxy in proxies}
    peer = medians["haproxy"]
    rows = [("proxy", "requests/s", "CPU µs per request", "p50 µs", "p99 µs", "p99 to HAProxy's")]
    for name, run in medians.items():
        figures = (f"{run.rate:,.0f}", f"{run.cpu:,.1f}", f"{run.p50:,.0f}", f"{run.p99:,.0f}")
        rows.append((name, *figures, f"{run.p99 / peer.p99:.2f}"))
    table(rows)


def idle(folder):
    """Memory of idle connections that have made one request each."""
    raise_limit_of_files()
    found = {}
    for configure in EVERYBODY:
        with contextlib.ExitStack() as stack:
            behind = stack.enter_context(origins(folder))
            case = Case("idle", "connection", ("idle", IDLE))
            proxy = Running(configure, case, folder, behind, stack)
            found[proxy.name] = memory_of_idle(proxy)
    _, nginx = found["nginx"]
    rows = [("proxy", "MiB before", f"MiB with {IDLE:,}", "KiB per connection", "memory to nginx's")]
    for name, (before, after) in found.items():
        each = (after - before) / IDLE / 1024
        rows.append((name, f"{before / 2**20:.1f}", f"{after / 2**20:.1f}", f"{each:.1f}", f"{after / nginx:.2f}"))
    table(rows)


def memory_of_idle(proxy):
    """Bytes before and with the connections."""
    before = settled_memory(proxy.pid)
    words = ["taskset", "-c", CLIENT_CPU, LOAD, "idle", f"127.0.0.1:{proxy.port}", IDLE, *proxy.headers]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(list(map(str, words)), text=True, **pipes) as clients:
        if clients.stdout.readline() != "open\n":
            sys.exit(f"{proxy.name} took no {IDLE} connections:\n{clients.stderr.read()}")
        after = settled_memory(proxy.pid)
        still_open, _ = clients.communicate()
    if still_open.strip() != str(IDLE):
        sys.exit(f"{proxy.name} closed idle connections: {still_open.strip()} of {IDLE} are left")
    return before, after


def settled_memory(pid):
    """Bytes, once no more is given back: allocators do that late."""
    last, since = memory(pid), time.monotonic()
    began = since
    while time.monotonic() < min(since + 3, began + 20):
        time.sleep(0.25)
        now = memory(pid)
        if now < last:
            since = time.monotonic()
        last = min(last, now)
    return last


def raise_limit_of_files():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < IDLE + 500:
        sys.exit(f"{IDLE} connections need a limit of {IDLE + 500} open files, and it is {most} (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def build():
    """Builds what the environment does not name."""
    wanted = [
        ("MERIDIAN", ["--bins"]),
        ("LOAD", ["--example", "https_load"]),
        ("BARE", ["--example", "bare_relay"]),
    ]
    targets = [word for name, words in wanted if name not in os.environ for word in words]
    if targets:
        subprocess.run(["cargo", "build", "--release", "--locked", *targets], cwd=ROOT, check=True)


def main():
    measures = {case.name: lambda folder, case=case: compare(case, folder) for case in CASES}
    measures |= {LATENCY.name: latency, "idle": idle}
    wanted = sys.argv[1:] or list(measures)
    unknown = [name for name in wanted if name not in measures]
    if unknown:
        sys.exit(f"no such case: {', '.join(unknown)}; there are: {', '.join(measures)}")
    install(PACKAGES)
    peers.envoy_binary()
    build()
    with tempfile.TemporaryDirectory() as folder:
        for name in wanted:
            print(f"\n{name}\n", flush=True)
            measures[name](Path(folder))


if __name__ == "__main__":
    main()
