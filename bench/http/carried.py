#!/usr/bin/env python3
"""What a token costs: user instructions of a request of 1 KiB with one, and of the same request without, by callgrind.

One service with read-your-writes; its origins say what they have applied with every answer. A field of the token's length
that means nothing tells what any field costs. Clients send their token again and again, which a connection recognizes; one
that stands for many clients, a cache's or a gateway's, carries another with each request, which came before on some connection,
or is new to the edge. Instructions do not wander as microseconds do. `REQUESTS` in the environment says how many are counted, `MERIDIAN` which build.
"""

import http.client
import os
import re
import ssl
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
ONE_BY_ONE = "HTTP/1.1, one by one"
EACH_ITS_OWN = ("nothing", "other fields", "one token", "a token each", "a new token each")


def service(folder, port, back, far):
    """With read-your-writes alone. `far` never gets the write, so that no answer takes the token back."""
    return peers.meridian(folder, port, back, far, ", consistency: { read_your_writes: true, ttl: 1h }")


def written(port):
    """The token of a client that has just written, and its head."""
    _, head, _ = run.curl(port, "/write", "-d", "x")
    return re.search(r"^meridian-token: (\S+)", head, re.M | re.I)[1], head


def fields(carrier, port):
    token, head = written(port)
    cookie = re.search(r"^set-cookie: (\S*meridian_seen=[^;]+)", head, re.M | re.I)[1]
    return {
        "nothing": [],
        "another field": [f"Some-Other-Fld: {token}"],
        "token": [f"Meridian-Token: {token}"],
        "cookie": [f"Cookie: {cookie}"],
    }[carrier]


def control(*words):
    subprocess.run([find("callgrind_control"), *map(str, words)], check=True, capture_output=True)


def one_by_one(port, each):
    """A request for each of these fields on one connection, one after the other."""
    client = http.client.HTTPSConnection("127.0.0.1", port, context=ssl._create_unverified_context())
    for fields in each:
        client.request("GET", "/1k", headers={"Host": f"{peers.HOST}:{port}"} | fields)
        if client.getresponse().read() == b"":
            sys.exit("an answer is empty")
    client.close()


def each_its_own(carrier, port):
    """What so many requests send."""
    tokens = [written(port)[0] for _ in range(1 if carrier == "one token" else REQUESTS)]
    name = "Some-Other-Fld" if carrier == "other fields" else "Meridian-Token"
    return [{} if carrier == "nothing" else {name: tokens[number % len(tokens)]} for number in range(REQUESTS)]


def instructions(protocol, carrier, folder, back, far):
    """User instructions of the whole process per request, between two moments."""
    port, home = free_port(), Path(tempfile.mkdtemp(dir=folder))
    command = service(home, port, back, far)
    counted = [find("valgrind"), "--tool=callgrind", f"--callgrind-out-file={home}/out", *map(str, command)]
    with server(counted, lambda: run.answers(port), patience=300) as pid:
        if protocol == ONE_BY_ONE:
            each = each_its_own(carrier, port)
            one_by_one(port, each[:20] if carrier == "a new token each" else each)
            control("--zero", pid)
            one_by_one(port, each)
            return dumped(pid, home)
        sent = fields(carrier, port)
        if carrier in ("token", "cookie"):
            run.check_tokens(port, sent)
        load = ["h2load", "-t", 1, "-c", 8, f"--connect-to=127.0.0.1:{port}", *(f"--header={field}" for field in sent)]
        load += ["--h1"] if protocol == "HTTP/1.1" else ["-m", 8]
        url = f"https://{peers.HOST}:{port}/1k"
        client([*load, "-n", REQUESTS, url])
        control("--zero", pid)
        client([*load, "-n", REQUESTS, url])
        return dumped(pid, home)


def dumped(pid, home):
    """User instructions per request since they were counted from zero."""
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
        ports, home = peers.Origins(*(free_port() for _ in range(4)), 0), Path(tempfile.mkdtemp(dir=folder))
        with server(peers.origin(home, ports), lambda: run.answers(ports.plain, "http"), cpu=CLIENT_CPU):
            for protocol, carriers in (("HTTP/1.1", CARRIERS), ("HTTP/2", CARRIERS), (ONE_BY_ONE, EACH_ITS_OWN)):
                counts = [instructions(protocol, carrier, folder, ports.tokens, ports.far) for carrier in carriers]
                for carrier, count in zip(carriers, counts):
                    rows.append((protocol, carrier, f"{count:,.0f}", f"{100 * (count / counts[0] - 1):+.1f} %"))
    table(rows)


if __name__ == "__main__":
    main()
