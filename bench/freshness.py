#!/usr/bin/env python3
"""How soon a read that waits is sent on once its region has caught up: told by a long poll, and by another read's answer.

    bench/freshness.py [--rounds 300]

In each round one read waits for the next position. `told` is from when the region begins to send the answer that tells,
to when the read's head has arrived there; `way` is an ordinary read's way from the client to the region, for comparison.
Probes do not help: health checks are not answered meanwhile.
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

from measure import MERIDIAN, build

HOST = "api.example.com"
PATIENCE = 60


def config(near, far, consistency):
    return f"""listen: {{ http: ["127.0.0.1:0"], http_mode: serve, admin: "127.0.0.1:0" }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions:
  near: {{ location: [50, 8], origins: ["http://127.0.0.1:{near}"] }}
  far: {{ location: [39, -77], origins: ["http://127.0.0.1:{far}"] }}
services:
  api:
    hosts: [{HOST}]
    steering: {{ policy: priority }}
    writes: {{ to: {{ primary: far }} }}
    health: {{ timeout: 20s, interval: 1h, recheck_interval: 1h }}
    consistency: {{ read_your_writes: true, wait: 30s{consistency} }}
"""


async def read_head(reader):
    """The first line of a head, and its fields."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
    return first, {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}


def answer(applied, *fields):
    return "\r\n".join(["HTTP/1.1 200 OK", "Content-Length: 0", f"Meridian-Applied: {applied}", *fields, "", ""]).encode()


class Region:
    """`far` takes the writes, `near` has applied so much of them."""

    def __init__(self, name):
        self.name, self.applied, self.committed = name, 0, 0
        self.moved, self.hangs, self.polls, self.waiting = asyncio.Condition(), False, 0, 0
        self.told_at = self.read_at = 0
        self.arrived = asyncio.Event()

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def serve(self, reader, writer):
        try:
            while True:
                first, fields = await read_head(reader)
                await self.one(first.split(" "), fields, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):  # The last when all is over.
            writer.close()

    async def one(self, first, fields, writer):
        method, path, _ = first
        if path == "/health":
            if self.hangs:
                await asyncio.sleep(PATIENCE)
            writer.write(answer("far=0"))
        elif path.startswith("/follow"):
            known = int(re.search(r"far=(\d+)", path)[1]) if "far=" in path else -1
            async with self.moved:
                self.polls += 1
                await self.moved.wait_for(lambda: self.applied > known)
                self.polls -= 1
            self.told_at = time.perf_counter()
            writer.write(answer(f"far={self.applied}"))
        elif method == "POST":
            self.committed += 1
            writer.write(answer(f"far={self.committed}", f"Meridian-Committed: {self.committed}"))
        else:
            self.read(path, fields, writer)

    def read(self, path, fields, writer):
        self.read_at = time.perf_counter()
        required = int(fields.get("meridian-require", "far=0").removeprefix("far="))
        if required > self.applied:
            self.waiting = required
        elif path == "/told":
            self.told_at = time.perf_counter()
        else:
            self.arrived.set()
        writer.write(answer(f"far={self.applied}"))

    async def apply(self, applied):
        async with self.moved:
            self.applied = applied
            self.moved.notify_all()


class Client:
    """One connection to the edge."""

    @classmethod
    async def connect(cls, port):
        client = cls()
        client.reader, client.writer = await asyncio.open_connection("127.0.0.1", port)
        return client

    async def ask(self, method, path, *fields):
        head = "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {HOST}", "Content-Length: 0", *fields, "", ""])
        self.writer.write(head.encode())
        first, fields = await read_head(self.reader)
        assert " 200 " in first, first
        await self.reader.readexactly(int(fields.get("content-length", 0)))
        return fields


async def until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it never came about that {what}")
        await asyncio.sleep(0.001)


def port_of(log, protocol):
    found = re.search(rf"listening {protocol} \S*:(\d+)", log.read_text())
    return found and int(found[1])


async def play(near, far, port, rounds, follows):
    """How long after the region told each read was sent on."""
    reader, other = await Client.connect(port), await Client.connect(port)
    tokens = [(await reader.ask("POST", "/"))["meridian-token"] for _ in range(rounds)]
    way = []
    for _ in range(rounds):
        near.arrived.clear()
        began = time.perf_counter()
        await reader.ask("GET", "/")
        way.append(near.read_at - began)
    near.hangs = True
    far.server.close()
    for writer in far.writers:
        writer.close()
    took = []
    for seq, token in enumerate(tokens, 1):
        near.arrived.clear()
        waiting = asyncio.create_task(reader.ask("GET", "/", f"Meridian-Token: {token}"))
        await until(lambda: near.waiting == seq and (near.polls == 1 or not follows), f"a read waits for {seq}")
        await asyncio.sleep(0.005)  # It waits once the answer that is too old has come back.
        await near.apply(seq)
        if not follows:
            await other.ask("GET", "/told")
        await asyncio.wait_for(near.arrived.wait(), PATIENCE)
        took.append(near.read_at - near.told_at)
        mark = (await waiting)["meridian-consistency"]
        assert mark == "waited", mark
    return took, way


class Far(Region):
    """Its connections can be cut."""

    def __init__(self):
        super().__init__("far")
        self.writers = []

    async def serve(self, reader, writer):
        self.writers.append(writer)
        await super().serve(reader, writer)


async def measure(rounds, follows):
    near, far = Region("near"), Far()
    await near.start()
    await far.start()
    with tempfile.TemporaryDirectory() as folder:
        path, log = Path(folder) / "edge.yaml", Path(folder) / "log"
        path.write_text(config(near.port, far.port, ", follow: /follow" if follows else ""))
        with open(log, "wb") as file:
            edge = subprocess.Popen([MERIDIAN, "serve", "--config", path], stdout=file, stderr=file)
        try:
            await until(lambda: " ready" in log.read_text(), "the edge is ready")
            return await play(near, far, port_of(log, "http"), rounds, follows)
        finally:
            edge.terminate()
            edge.wait()


def distribution(times):
    times = sorted(1000 * took for took in times)
    at = {name: round(times[min(len(times) - 1, len(times) * part // 100)], 2) for name, part in [("p50", 50), ("p95", 95)]}
    return {"rounds": len(times)} | at | {"max": round(times[-1], 2), "over_20_ms": sum(took > 20 for took in times)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    arguments = parser.parse_args()
    if "MERIDIAN" not in os.environ:
        build()
    for told_by, follows in [("long poll", True), ("response", False)]:
        took, way = asyncio.run(measure(arguments.rounds, follows))
        print(json.dumps({"told_by": told_by, "told_ms": distribution(took), "way_ms": distribution(way)}))


if __name__ == "__main__":
    main()
