"""A regional app on its region's own MariaDB, primary or replica, that tells Meridian what it needs to know.

GET and PUT /kv/KEY are the app. The rest of this file is what any backend needs: `Meridian-Committed` after a write,
`Meridian-Applied` on every answer, and 409 to a read that asks for more than this region has yet.
"""

import argparse
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pymysql

PATIENCE = 0.02  # seconds that a read waits here for the replica; then 409, and the edge decides
POLL = 0.01  # seconds between looks at the replica's position
READ_ONLY = 1290  # ER_OPTION_PREVENTS_STATEMENT


class Database(threading.local):
    """One connection for each thread; a thread serves one connection of the edge."""

    connection = None

    def row(self, query, *values):
        """The first row of one statement in a transaction of its own; None: there is none."""
        if self.connection is None:
            # Autocommit: a snapshot that is older than the position would let stale data pass for fresh.
            self.connection = pymysql.connect(
                unix_socket=arguments.socket, user="app", database="app", autocommit=True, init_command="SET wait_timeout = 3600"
            )
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(query, values or None)
                return cursor.fetchone()
        except pymysql.OperationalError as error:
            if error.args[0] != READ_ONLY:
                self.connection = None
            raise

    def epoch(self):
        return self.row("SELECT epoch, fork FROM meridian_epoch ORDER BY epoch DESC LIMIT 1")

    def applied(self):
        """What this server's readers see, for `Meridian-Applied`: the position first, then the epoch."""
        position = sequence(self.row("SELECT @@gtid_current_pos")[0])
        epoch, fork = self.epoch()
        if fork is None:
            return f"{epoch}:{position}"
        # Whoever shows the epoch's row has all up to its fork, though the position was read before.
        return f"{epoch}:{max(position, fork)}@{epoch - 1}:{fork}"

    def committed(self):
        """Where the write is that this connection has committed last."""
        return f"{self.epoch()[0]}:{sequence(self.row('SELECT @@last_gtid')[0])}"


def sequence(gtid):
    """SEQ of `DOMAIN-SERVER-SEQ`; there is one domain."""
    return int(gtid.rpartition("-")[2] or 0)


def position(text):
    """`EPOCH:SEQ` as a pair that compares; what is after an `@` is another position."""
    epoch, seq = text.split(":")
    return int(epoch), int(seq)


def entry(vector):
    """The position of the cluster's log in a vector `REGION=POSITION,...`; None: the vector does not ask for it."""
    entries = dict(item.strip().split("=") for item in vector.split(",") if "=" in item)
    found = entries.get(arguments.log)
    return found and position(found.partition("@")[0])


def includes(applied, wanted):
    """Whether all up to `wanted` is applied: in this epoch, or in the one before up to the fork."""
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
        except pymysql.Error as error:
            if error.args[0] == READ_ONLY:
                # Known not to have been written: a 4xx pins nobody. A 503 would, because it leaves the outcome open.
                return self.answer(421, "this region's database is a replica")
            self.answer(503, f"database: {error}")

    def read(self):
        wanted = entry(self.headers.get("Meridian-Require", ""))
        if wanted:
            # Of an older epoch it returns at once; whether that is enough, the fork decides.
            database.row("SELECT MASTER_GTID_WAIT(%s, %s)", f"0-1-{wanted[1]}", PATIENCE)
        applied = database.applied()  # before the data
        if not includes(applied, wanted):
            return self.answer(409, "not yet", applied)
        row = database.row("SELECT value FROM kv WHERE name = %s", "/".join(self.rest))
        self.answer(200 if row else 404, row[0] if row else "no such key", applied)

    def write(self):
        database.row("REPLACE INTO kv VALUES (%s, %s)", "/".join(self.rest), self.body.decode())
        # On the connection that committed: another one's position says nothing of this write.
        self.answer(200, "written", database.applied(), database.committed())

    def health(self):
        self.answer(200, "ok", database.applied())

    def follow(self):
        """The edge's long poll: answers once the position is another than `after`, or when `wait` is over."""
        after = entry(self.query.get("after", [""])[0])
        until = time.monotonic() + min(60, float(self.query.get("wait", ["0s"])[0].removesuffix("s")))
        while True:
            applied = database.applied()
            if position(applied.partition("@")[0]) != after or time.monotonic() >= until:
                return self.answer(200, "ok", applied)
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
parser.add_argument("--socket", required=True, help="of this region's own server")
parser.add_argument("--log", required=True, help="what the cluster's log is called in vectors, in every region the same")
parser.add_argument("--port", type=int, default=0)
arguments = parser.parse_args()
database = Database()
server = ThreadingHTTPServer(("127.0.0.1", arguments.port), App)
server.daemon_threads = True
print(f"listening on {server.server_port}", flush=True)
server.serve_forever()
