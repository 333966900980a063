"""A regional app on its region's own PostgreSQL, primary or standby, that tells Meridian what it needs to know.

GET and PUT /kv/KEY are the app. The rest of this file is what any backend needs: `Meridian-Committed` after a write,
`Meridian-Applied` on every answer, and 409 to a read that asks for more than this region has yet.
"""

import argparse
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import psycopg

PATIENCE = 0.02  # seconds that a read waits here for the standby; then 409, and the edge decides
POLL = 0.01  # seconds between looks at the standby's position


class Database(threading.local):
    """One connection for each thread; a thread serves one connection of the edge."""

    connection = None

    def rows(self, query, *values):
        """Runs one statement in a transaction of its own."""
        if self.connection is None:
            # `on` or more: a commit that returned is flushed, which `meridian.committed` relies on.
            options = "-c synchronous_commit=on"
            self.connection = psycopg.connect(arguments.database, autocommit=True, options=options)
        try:
            return self.connection.execute(query, values).fetchall()
        except psycopg.OperationalError:
            self.connection = None
            raise

    def applied(self):
        """What this server's readers see, for `Meridian-Applied`."""
        return self.rows("SELECT meridian.applied()")[0][0]


def position(text):
    """`TIMELINE:HIGH/LOW` as a pair that compares."""
    timeline, lsn = text.split(":")
    high, low = lsn.split("/")
    return int(timeline), int(high, 16) << 32 | int(low, 16)


def entry(vector):
    """The position of the cluster's log in a vector `REGION=POSITION,...`; None: the vector does not ask for it."""
    entries = dict(item.strip().split("=") for item in vector.split(",") if "=" in item)
    found = entries.get(arguments.log)
    return found and position(found.partition("@")[0])


def includes(applied, wanted):
    """Whether all up to `wanted` is applied: on this timeline, or on its parent up to the fork.

    What lies on older timelines is left to the edge, which remembers every fork.
    """
    reached = dict(position(text) for text in applied.split("@"))
    return wanted is None or wanted[0] <= max(reached) and wanted[1] <= reached.get(wanted[0], wanted[1])


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        self.guarded({"kv": self.read, "health": self.health, "follow": self.follow})

    def do_PUT(self):
        self.guarded({"kv": self.write})

    def guarded(self, routes):
        """Runs the route of the first segment; a database that is away is a 503, which says no position."""
        url = urlsplit(self.path)
        _, route, *self.rest = url.path.split("/")
        self.query = parse_qs(url.query)
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            routes.get(route, lambda: self.answer(404, "no such path"))()
        except psycopg.errors.ReadOnlySqlTransaction:
            # Known not to have been written: a 4xx pins nobody. A 503 would, because it leaves the outcome open.
            self.answer(421, "this region's database is a standby")
        except psycopg.OperationalError as error:
            self.answer(503, f"database: {error}")

    def read(self):
        wanted = entry(self.headers.get("Meridian-Require", ""))
        applied = self.wait(PATIENCE, lambda applied: includes(applied, wanted))  # before the data
        if not includes(applied, wanted):
            return self.answer(409, "not yet", applied)
        rows = database.rows("SELECT value FROM kv WHERE key = %s", "/".join(self.rest))
        self.answer(200 if rows else 404, rows[0][0] if rows else "no such key", applied)

    def write(self):
        database.rows(
            "INSERT INTO kv VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET value = excluded.value RETURNING key",
            "/".join(self.rest),
            self.body.decode(),
        )
        # After the commit, and from the same server: another one's position says nothing of this write.
        committed, applied = database.rows("SELECT meridian.committed(), meridian.applied()")[0]
        self.answer(200, "written", applied, committed)

    def health(self):
        self.answer(200, "ok", database.applied())

    def follow(self):
        """The edge's long poll: answers once the position is another than `after`, or when `wait` is over."""
        after = entry(self.query.get("after", [""])[0])
        seconds = min(60, float(self.query.get("wait", ["0s"])[0].removesuffix("s")))
        self.answer(200, "ok", self.wait(seconds, lambda applied: position(applied.partition("@")[0]) != after))

    def wait(self, seconds, enough):
        """What is applied, as soon as that is enough or the time is over."""
        until = time.monotonic() + seconds
        while True:
            applied = database.applied()
            if enough(applied) or time.monotonic() >= until:
                return applied
            time.sleep(POLL)

    def answer(self, status, body, applied=None, committed=None):
        self.send_response(status)
        if applied:
            self.send_header("Meridian-Applied", f"{arguments.log}={applied}")
        if committed:
            self.send_header("Meridian-Committed", f"{arguments.log}={committed}")
        body = body.encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--database", required=True, help="this region's own server, as libpq takes it")
parser.add_argument("--log", required=True, help="what the cluster's log is called in vectors, in every region the same")
parser.add_argument("--port", type=int, default=0)
arguments = parser.parse_args()
database = Database()
server = ThreadingHTTPServer(("127.0.0.1", arguments.port), App)
server.daemon_threads = True
print(f"listening on {server.server_port}", flush=True)
server.serve_forever()
