"""Starts all of the example, loads it, lets its primary die, and checks what Meridian promises. `run` calls it.

Ends with 1 as soon as something is not as it should be, and says what.
"""

import argparse
import http.client
import os
import random
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from cluster import DELAY, Server, eventually

HERE = Path(__file__).parent
PRIMARY, REPLICA = REGIONS = ["us-east-1", "eu-west-1"]
LOG = "us-east-1"  # what vectors call the cluster's one log: where it began, also after it has moved
CLIENTS = 12
GOOD = {"fresh", "routed", "waited"}
PAUSES = [0, 0.2, 0.4, 0.6, 0.8]  # seconds before each of the reads that follow a write


def check(true, what):
    if not true:
        raise AssertionError(what)
    print(f"  ok: {what}")


class Process:
    """A program of ours, and what it says. It ends with the stack."""

    def __init__(self, stack, name, folder, command, **environment):
        self.name, self.path = name, f"{folder}/{name}.log"
        with open(self.path, "wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | environment | {"NO_COLOR": "1"})
        stack.callback(self.stop)

    def said(self, pattern):
        """What it says, as soon as it does."""
        def found():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} has ended:\n{Path(self.path).read_text()}")
            return re.search(pattern, Path(self.path).read_text())

        return eventually(found, f"{self.name} says {pattern}")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Client:
    """One user, who carries a token, or forgets it."""

    def __init__(self, edge, forgets=False):
        self.edge, self.token, self.forgets = edge, None, forgets

    def ask(self, method, path, body=None):
        headers = {"Host": "kv.example.com"} | ({"Meridian-Token": self.token} if self.token else {})
        connection = http.client.HTTPConnection("127.0.0.1", self.edge.port, timeout=30)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            answer.text = answer.read().decode()
        finally:
            connection.close()
        answer.mark = answer.getheader("Meridian-Consistency", "not marked" if self.token else "without a token")
        if not self.forgets:
            # An empty one takes it back: every region has what it asked for.
            self.token = answer.getheader("Meridian-Token", self.token)
        return answer

    def put(self, path, value):
        return self.ask("PUT", path, value)

    def get(self, path):
        return self.ask("GET", path)


class Load:
    """Clients that write, and then read what they wrote."""

    def __init__(self):
        self.lock, self.writes, self.failed, self.missed = threading.Lock(), 0, [], []
        self.marks, self.regions = Counter(), Counter()

    def run(self, edge, writes, forgets=False):
        clients = [Client(edge, forgets) for _ in range(CLIENTS)]
        threads = [threading.Thread(target=self.use, args=(client, n, writes)) for n, client in enumerate(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self

    def use(self, client, number, writes):
        path = f"/kv/client-{number}"
        try:
            while True:
                with self.lock:
                    if self.writes == writes:
                        return
                    self.writes += 1
                    value = str(self.writes)
                answer = client.put(path, value)
                if answer.status != 200:
                    raise AssertionError(f"PUT {answer.status} {answer.text}")
                for pause in PAUSES:
                    time.sleep(pause * random.uniform(0.5, 1.5))
                    self.read(client, path, value)
        except Exception as error:
            self.failed.append(repr(error))

    def read(self, client, path, value):
        answer = client.get(path)
        region = answer.getheader("Meridian-Region", "no region")
        with self.lock:
            self.marks[answer.mark] += 1
            self.regions[region] += 1
            if (answer.status, answer.text) != (200, value):
                self.missed.append(f"{answer.status} {answer.text} from {region} after {value} was written")

    def reads(self):
        return self.marks.total()

    def report(self):
        print(f"  {self.writes} writes, {self.reads()} reads, stale reads: {len(self.missed)}")
        print("  " + ", ".join(f"{mark}: {count}" for mark, count in self.marks.most_common()))
        print("  " + ", ".join(f"{region}: {count}" for region, count in self.regions.most_common()))
        check(not self.failed, f"every write was answered {self.failed[:3] or ''}".rstrip())
        check(not self.missed, f"no read missed its client's own write {self.missed[:3] or ''}".rstrip())
        marked = set(self.marks) - {"without a token"}
        check(marked and marked <= GOOD, "every read with a token was marked fresh, routed or waited")
        check(self.regions[REPLICA] > 0, "the replica served reads")


class Example:
    def __init__(self, stack, folder, meridian):
        self.stack, self.folder, self.meridian = stack, folder, meridian
        self.servers = {region: Server(region, folder, number) for number, region in enumerate(REGIONS, 1)}
        self.apps = {}
        for server in self.servers.values():
            stack.callback(server.stop)

    def start(self):
        primary, replica = self.servers.values()
        primary.start()
        replica.start("--read-only=1")
        primary.ask("CREATE DATABASE app")
        script = (HERE / "meridian.sql").read_text()
        primary.run(re.sub("--.*", "", script) + "; CREATE TABLE kv (name VARCHAR(200) PRIMARY KEY, value TEXT NOT NULL)", "app")
        primary.run(
            "CREATE USER replica@'127.0.0.1'; GRANT REPLICATION SLAVE ON *.* TO replica@'127.0.0.1';"
            "CREATE USER app@localhost; GRANT SELECT, INSERT, UPDATE, DELETE ON app.* TO app@localhost"
        )
        replica.follow(primary)
        eventually(lambda: replica.position() == primary.position(), "the replica has applied all")
        for region, server in self.servers.items():
            command = [sys.executable, HERE / "app.py", "--socket", server.socket, "--log", LOG]
            app = self.apps[region] = Process(self.stack, f"app-{region}", self.folder, command)
            app.port = int(app.said(r"listening on (\d+)")[1])
        shutil.copy(HERE / "edge.yaml", self.folder)
        origins = {region.upper().replace("-", "_"): f"http://127.0.0.1:{app.port}" for region, app in self.apps.items()}
        command = [self.meridian, "serve", "--config", f"{self.folder}/edge.yaml"]
        self.edge = Process(self.stack, "edge", self.folder, command, MERIDIAN_KEY=secrets.token_hex(16), **origins)
        self.edge.said(r" ready")
        self.edge.port = int(self.edge.said(r"listening http \S*:(\d+)")[1])

    def load(self, writes):
        print("writing and reading, without tokens for comparison")
        without = Load().run(self.edge, CLIENTS, forgets=True)
        check(without.missed, f"{len(without.missed)} of {without.reads()} reads missed their client's own write")
        print("writing and reading with tokens")
        Load().run(self.edge, writes).report()

    def fail_over(self):
        old, new = self.servers.values()
        kept, lost = Client(self.edge), Client(self.edge)
        kept.put("/kv/kept", "1")
        lost.put("/kv/lost", "old")
        new.has_received(old.position())
        new.ask("STOP SLAVE IO_THREAD")
        check(lost.put("/kv/lost", "new").status == 200, "a write is acknowledged that the replica will never receive")
        old.stop()
        answer = eventually(lambda: self.good(kept, "/kv/kept"), "the replica has what it received")
        check(answer.text == "1", "the primary is dead, and its writes that were replicated are read")
        new.promote()
        path = Path(self.folder) / "edge.yaml"
        path.write_text(re.sub(r"primary: [\w-]+", f"primary: {REPLICA}", path.read_text()))
        self.edge.process.send_signal(signal.SIGHUP)
        after = eventually(self.writer, "the new primary takes writes")
        answer = after.get("/kv/after")
        check((answer.text, answer.mark in GOOD) == ("1", True), f"a write of the new epoch is read back: {answer.mark}")
        answer = kept.get("/kv/kept")
        check(answer.text == "1" and answer.mark in GOOD | {"without a token"}, f"the token survives the promotion: {answer.mark}")
        answer = lost.get("/kv/lost")
        check((answer.text, answer.mark) == ("old", "stale"), f"a read of what was not replicated is marked {answer.mark}")

    def writer(self):
        """One whose first write was taken; None: not yet. Who was told a 503 before would be pinned to the old primary."""
        client = Client(self.edge)
        return client if client.put("/kv/after", "1").status == 200 else None

    def good(self, client, path):
        """An answer as good as the client's token asks for; None: not yet."""
        token = client.token
        answer = client.get(path)
        client.token = token
        return answer if answer.status == 200 and answer.mark in GOOD else None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--meridian", required=True, help="the built program")
    parser.add_argument("--writes", type=int, default=120)
    arguments = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="meridian-mariadb-") as folder, ExitStack() as stack:
        if os.geteuid() == 0:
            shutil.chown(folder, "mysql")
        try:
            example = Example(stack, folder, arguments.meridian)
            print(f"starting a primary and a replica that keeps {DELAY} s behind, two apps and an edge")
            example.start()
            example.load(arguments.writes)
            print("failing over")
            example.fail_over()
        except (AssertionError, TimeoutError) as error:
            print(f"UNTRUE: {error}")
            sys.exit(1)
    print("all is well")


if __name__ == "__main__":
    main()
