"""Starts all of the example, loads it, lets its primary die, and checks what Meridian promises. `run` calls it.

Ends with 1 as soon as something is not as it should be, and says what.
"""

import argparse
import http.client
import json
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

from cluster import DELAY, Server, eventually, unprivileged

HERE = Path(__file__).parent
REGIONS = ["us-east-1", "eu-west-1", "ap-northeast-1"]
EDGES = {"frankfurt": (50.11, 8.68), "tokyo": (35.68, 139.69)}
LOG = "us-east-1"  # what vectors call the cluster's one log: where it began, also after it has moved
CLIENTS = 24
GOOD = {"fresh", "routed", "waited"}
PAUSES = [0, 0.1, 0.4, 0.7]  # seconds before each of the reads that follow a write


def check(true, what):
    if not true:
        raise AssertionError(what)
    print(f"  ok: {what}")


class Process:
    """A program of ours, and what it says. It ends with the stack."""

    def __init__(self, stack, name, folder, command, **environment):
        self.path = f"{folder}/{name}.log"
        with open(self.path, "wb") as log:
            environment = os.environ | environment | {"NO_COLOR": "1"}
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        self.name = name
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


def start_app(stack, server, folder):
    command = [sys.executable, HERE / "app.py", "--database", server.conninfo("app"), "--log", LOG]
    app = Process(stack, f"app-{server.name}", folder, command)
    app.port = int(app.said(r"listening on (\d+)")[1])
    return app


def start_edge(stack, name, folder, meridian, apps, key):
    latitude, longitude = EDGES[name]
    origins = {region.upper().replace("-", "_"): f"http://127.0.0.1:{app.port}" for region, app in apps.items()}
    command = [meridian, "serve", "--config", f"{folder}/edge.yaml"]
    places = {"LATITUDE": str(latitude), "LONGITUDE": str(longitude)}
    edge = Edge(stack, name, folder, command, EDGE=name, MERIDIAN_KEY=key, **places, **origins)
    edge.said(r" ready")
    edge.port = int(edge.said(r"listening http \S*:(\d+)")[1])
    edge.admin = int(edge.said(r"listening admin \S*:(\d+)")[1])
    return edge


def request(port, method, path, headers=None, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, {"Host": "kv.example.com"} | (headers or {}))
        answer = connection.getresponse()
        answer.text = answer.read().decode()
        return answer
    finally:
        connection.close()


class Edge(Process):
    """A `meridian serve`, asked on its admin API where it sends writes."""

    def writes_go_to(self, region):
        path = "/api/v1/explain?name=kv.example.com&client=192.0.2.1&method=PUT"
        answer = request(self.admin, "GET", path, {"Host": "127.0.0.1"})
        return json.loads(answer.text)["decision"] == [region]


class Client:
    """One user, who comes by any edge and carries a token from one to the other, or forgets it."""

    def __init__(self, edges, token=None, forgets=False):
        self.edges, self.token, self.forgets = edges, token, forgets

    def ask(self, method, path, body=None):
        headers = {"Meridian-Token": self.token} if self.token else {}
        answer = request(random.choice(self.edges).port, method, path, headers, body)
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
        self.marks, self.regions, self.times = Counter(), Counter(), []

    def run(self, edges, writes, seconds, forgets=False):
        until = time.monotonic() + seconds
        clients = [Client(edges, forgets=forgets) for _ in range(CLIENTS)]
        threads = [threading.Thread(target=self.use, args=(client, n, writes, until)) for n, client in enumerate(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def use(self, client, number, writes, until):
        try:
            while self.writes < writes and time.monotonic() < until:
                with self.lock:
                    self.writes += 1
                    value = self.writes
                answer = client.put(f"/kv/client-{number}", str(value))
                if answer.status != 200:
                    self.failed.append(f"PUT {answer.status} {answer.text}")
                    continue
                for pause in PAUSES:
                    time.sleep(pause * random.uniform(0.5, 1.5))
                    self.read(client, f"/kv/client-{number}", value)
        except Exception as error:
            self.failed.append(repr(error))

    def read(self, client, path, value):
        began = time.monotonic()
        answer = client.get(path)
        took = time.monotonic() - began
        region = answer.getheader("Meridian-Region", "no region")
        with self.lock:
            self.times.append(took)
            self.marks[answer.mark] += 1
            self.regions[region] += 1
            if (answer.status, answer.text) != (200, str(value)):
                self.missed.append(f"{answer.status} {answer.text} from {region} after {value} was written")

    def share(self, count):
        return f"{100 * count / len(self.times):.1f} %"

    def percentile(self, percent):
        times = sorted(self.times)
        return f"{1000 * times[len(times) * percent // 100]:.1f} ms"

    def report(self, primary):
        by_standbys = len(self.times) - self.regions[primary]
        regions = ", ".join(f"{region} {count}" for region, count in self.regions.most_common())
        print(f"  {self.writes} writes, {len(self.times)} reads")
        print(f"  stale reads: {len(self.missed)}")
        print(f"  served by standbys: {self.share(by_standbys)} ({regions})")
        print("  " + ", ".join(f"{mark}: {self.share(count)}" for mark, count in self.marks.most_common()))
        print(f"  reads took: p50 {self.percentile(50)}, p95 {self.percentile(95)}")
        check(not self.failed, f"every write was answered {self.failed[:3] or ''}".rstrip())
        check(not self.missed, f"no read missed its client's own write {self.missed[:3] or ''}".rstrip())
        marked = set(self.marks) - {"without a token"}
        check(marked and marked <= GOOD, "every read with a token was marked fresh, routed or waited")
        check(by_standbys > 0, "standbys served reads")


class Example:
    def __init__(self, stack, folder, meridian):
        self.stack, self.folder, self.meridian = stack, folder, meridian
        self.servers, self.apps, self.edges = {}, {}, []
        for number, region in enumerate(REGIONS):
            server = self.servers[region] = Server(region, folder, 5432 + number)
            stack.callback(server.stop)

    def start(self):
        primary, *standbys = self.servers.values()
        primary.create()
        primary.ask((HERE / "meridian.sql").read_text())
        primary.ask("CREATE TABLE kv (key text PRIMARY KEY, value text NOT NULL)")
        primary.ask("CREATE ROLE app LOGIN")
        primary.ask("GRANT SELECT, INSERT, UPDATE ON kv TO app")
        for standby in standbys:
            standby.copy(primary)
        for region, server in self.servers.items():
            self.apps[region] = start_app(self.stack, server, self.folder)
        shutil.copy(HERE / "edge.yaml", self.folder)
        key = secrets.token_hex(16)
        for name in EDGES:
            self.edges.append(start_edge(self.stack, name, self.folder, self.meridian, self.apps, key))

    def name_primary(self, region):
        """What an operator does after a promotion: says where writes go, and reloads the edges.

        Until an edge has, it sends writes to the dead primary's app, whose 503 pins their clients there.
        """
        path = Path(self.folder) / "edge.yaml"
        path.write_text(re.sub(r"primary: [\w-]+", f"primary: {region}", path.read_text()))
        for edge in self.edges:
            edge.process.send_signal(signal.SIGHUP)
        for edge in self.edges:
            eventually(lambda: edge.writes_go_to(region), f"{edge.name} has reloaded")

    def load(self, writes, seconds):
        print("writing and reading, without tokens for comparison")
        without = Load()
        without.run(self.edges, CLIENTS, 5, forgets=True)
        check(without.missed, f"{without.share(len(without.missed))} of the reads missed their client's own write")
        print("writing and reading with tokens")
        load = Load()
        load.run(self.edges, writes, seconds)
        load.report(REGIONS[0])

    def fail_over(self):
        old, new, other = self.servers.values()
        refused = request(self.apps[new.name].port, "PUT", "/kv/kept", body="0")
        check(refused.status == 421, "a standby refuses a write by a status that pins nobody")
        writer, lost = Client(self.edges), Client(self.edges)
        writer.put("/kv/kept", "1")
        kept = writer.token
        lost.put("/kv/lost", "old")
        for standby in (other, new):  # So that who is cut off last has all that the other has.
            standby.has_received(old.flushed())
            standby.follow(None)
        check(lost.put("/kv/lost", "new").status == 200, "a write is acknowledged that no standby will ever receive")
        old.stop()
        self.reads_without_a_primary(kept, lost)
        check(new.received() >= other.received(), f"{new.name} has received as much as the other, and is promoted")
        new.promote()
        print(f"{new.name} is promoted and says: {new.applied()}")
        check(re.fullmatch(r"2:\S+@1:\S+", new.applied()), "it says at once that it is on timeline 2, and where that began")
        other.follow(new)
        self.name_primary(new.name)
        self.reads_of_the_new_timeline(kept, new)
        self.old_primary_returns(lost, old, new)
        self.wrong_standby_is_promoted(new, behind=other, ahead=old)

    def reads_without_a_primary(self, kept, lost):
        print(f"the primary is dead; {REGIONS[1]} and {REGIONS[2]} go on reading")
        answer = eventually(lambda: self.kept_is_read(kept), "a standby has what was replicated")
        check(answer.text == "1", f"a token minted before is served by {answer.getheader('Meridian-Region')}")
        answer = lost.get("/kv/lost")
        check((answer.text, answer.mark) == ("old", "stale"), f"a read of what was not replicated is marked {answer.mark}")

    def reads_of_the_new_timeline(self, kept, new):
        answer = eventually(lambda: self.kept_is_read(kept), "regions of the new timeline answer")
        check(answer.text == "1", f"the token survives in {answer.getheader('Meridian-Region')}: it lies before the fork")
        # A write that an edge still sends to the dead primary may have happened, as far as its client can know: that pins it there.
        writers = []

        def is_written():
            writers.append(Client(self.edges))
            return writers[-1].put("/kv/after", "1").status == 200

        eventually(is_written, "the new primary takes writes")
        writer = writers[-1]
        answer = writer.get("/kv/after")
        told = f"{answer.status} {answer.text}, marked {answer.mark}, from {answer.getheader('Meridian-Region')}"
        check(answer.text == "1" and answer.mark in GOOD, f"a write on the new timeline is read back: {told}")

    def old_primary_returns(self, lost, old, new):
        mark = lost.get("/kv/lost").mark
        check(mark == "stale", f"while {old.name} is away, what it alone had is late and not lost: the read is marked {mark}")
        old.copy(new)
        eventually(lambda: old.applied().startswith("2:"), f"{old.name} is on the new timeline")
        print(f"{old.name} is back as a standby and says: {old.applied()}")
        marks = Counter()

        def read():
            marks[lost.get("/kv/lost").mark] += 1
            return marks["lost"] and sum(marks.values()) >= marks["lost"] + marks["stale"] + 10

        eventually(read, "the lost write is reported")
        check(marks["lost"] == 1, f"the lost write is reported once, to reads of {dict(marks)}")

    def wrong_standby_is_promoted(self, primary, behind, ahead):
        """The one that has received less: then the other may show what the new timeline does not have."""
        behind.follow(None)
        primary.ask("INSERT INTO kv VALUES ('ahead', '1')")
        length = primary.flushed()
        ahead.has_received(length)
        eventually(lambda: ahead.ask("SELECT count(*) FROM kv WHERE key = 'ahead'"), f"{ahead.name} shows the write")
        primary.stop()
        behind.promote()
        ahead.turn_to(behind)
        fork = behind.applied().partition("@")[2]
        print(f"{primary.name} dies, and {behind.name}, which has received less, says: {behind.applied()}")
        said = eventually(lambda: ahead.applied().startswith(f"{fork}@") and ahead.applied(), f"{ahead.name} says {fork}")
        print(f"  ok: {ahead.name}, which cannot follow, says: {said}, nothing past the fork")

    def kept_is_read(self, token):
        """An answer to a read with this very token, as good as it asks for; None: not yet."""
        answer = Client(self.edges, token).get("/kv/kept")
        return answer if answer.status == 200 and answer.mark in GOOD else None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--meridian", required=True, help="the built program")
    parser.add_argument("--writes", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=20)
    arguments = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="meridian-postgres-") as folder, ExitStack() as stack:
        if user := unprivileged():
            os.chown(folder, user["user"], user["group"])
        example = Example(stack, folder, arguments.meridian)
        try:
            print(f"starting a primary and two standbys that keep {DELAY} behind, three apps and two edges")
            example.start()
            example.load(arguments.writes, arguments.seconds)
            print("failing over")
            example.fail_over()
        except (AssertionError, TimeoutError) as error:
            print(f"UNTRUE: {error}")
            sys.exit(1)
    print("all is well")


if __name__ == "__main__":
    main()
