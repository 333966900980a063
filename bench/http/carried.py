#!/usr/bin/env python3
"""What a token costs: user instructions of a request of 1 KiB with one, and of the same request without, by callgrind.

One service with read-your-writes; its origins say what they have applied with every answer. A field of the token's length
that means nothing tells what any field costs. Instructions do not wander as microseconds do. `REQUESTS` in the environment
says how many are counted, `MERIDIAN` which build.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import peers
import run
from measure import CLIENT_CPU, build, client, find, free_port, install, server, table

REQUESTS = int(os.environ.get("REQUESTS", 600))
PACKAGES = {name: run.PACKAGES[name] for name in ("h2load", "nginx", "curl", "openssl")} | {"valgrind": "valgrind"}
CARRIERS = ("nothing", "another field", "token", "cookie")


def service(folder, port, back, far):
    """With read-your-writes alone. `far` never gets the write, so that no answer takes the token back."""
    return peers.meridian(folder, port, back, far, ", consistency: { read_your_writes: true, ttl: 1h }")


def fields(carrier, port):
    _, head, _ = run.curl(port, "/write", "-d", "x")
    token = re.search(r"^meridian-token: (\S+)", head, re.M | re.I)[1]
    cookie = re.search(r"^set-cookie: (\S*meridian_seen=[^;]+)", head, re.M | re.I)[1]
    return {
        "nothing": [],
        "another field": [f"Some-Other-Fld: {token}"],
        "token": [f"Meridian-Token: {token}"],
        "cookie": [f"Cookie: {cookie}"],
    }[carrier]


def control(*words):
    subprocess.run([find("callgrind_control"), *map(str, words)], check=True, capture_output=True)


def instructions(protocol, carrier, folder, back, far):
    """User instructions of the whole process per request, between two moments."""
    port, home = free_port(), Path(tempfile.mkdtemp(dir=folder))
    command = service(home, port, back, far)
    counted = [find("valgrind"), "--tool=callgrind", f"--callgrind-out-file={home}/out", *map(str, command)]
    with server(counted, lambda: run.answers(port), patience=300) as pid:
        sent = fields(carrier, port)
        if carrier in ("token", "cookie"):
            run.check_tokens(port, sent)
        load = ["h2load", "-t", 1, "-c", 8, f"--connect-to=127.0.0.1:{port}", *(f"--header={field}" for field in sent)]
        load += ["--h1"] if protocol == "HTTP/1.1" else ["-m", 8]
        url = f"https://{peers.HOST}:{port}/1k"
        client([*load, "-n", REQUESTS, url])
        control("--zero", pid)
        client([*load, "-n", REQUESTS, url])
        control("--dump", pid)
        dumps = sorted(home.glob("out.[0-9]*"), key=lambda dump: dump.stat().st_mtime)
    return int(re.search(r"^(?:totals|summary): (\d+)", dumps[-1].read_text(), re.M)[1]) / REQUESTS


def main():
    install(PACKAGES)
    if "MERIDIAN" not in os.environ:
        build()
    rows = [("protocol", "carries", "instructions", "over nothing")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ports, home = peers.Origins(free_port(), free_port(), free_port(), 0), Path(tempfile.mkdtemp(dir=folder))
        with server(peers.origin(home, ports), lambda: run.answers(ports.plain, "http"), cpu=CLIENT_CPU):
            for protocol in ("HTTP/1.1", "HTTP/2"):
                counts = [instructions(protocol, carrier, folder, ports.tokens, ports.far) for carrier in CARRIERS]
                for carrier, count in zip(CARRIERS, counts):
                    rows.append((protocol, carrier, f"{count:,.0f}", f"{100 * (count / counts[0] - 1):+.1f} %"))
    table(rows)


if __name__ == "__main__":
    main()
