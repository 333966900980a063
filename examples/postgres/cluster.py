"""PostgreSQL servers of one cluster: a primary and standbys by streaming replication.

They run as an unprivileged user in a folder of their own and listen on Unix sockets there: their ports are only names.
"""

import glob
import os
import pwd
import shutil
import signal
import subprocess
import time

import psycopg

PATIENCE = 60  # seconds for anything to come about
DELAY = "300ms"  # how far standbys keep behind, so that there is something to see

SETTINGS = f"""
listen_addresses = ''
max_connections = 200
wal_keep_size = 64MB
recovery_min_apply_delay = {DELAY}
wal_retrieve_retry_interval = 100ms
"""


def eventually(condition, what):
    """Waits for a condition; what it returned."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if result := condition():
            return result
        time.sleep(0.02)
    raise TimeoutError(f"it never came about that {what}")


def program(name):
    """A program of PostgreSQL's; Debian keeps those of each version apart, and out of the path."""
    versions = glob.glob(f"/usr/lib/postgresql/*/bin/{name}")
    newest = max(versions, key=lambda path: float(path.split("/")[4]), default=shutil.which(name))
    if newest is None:
        raise FileNotFoundError(f"{name} is missing: install PostgreSQL (Debian: apt-get install postgresql)")
    return newest


def unprivileged():
    """PostgreSQL refuses to run as root: then it runs as the user that its package has made."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class Server:
    """One server. `folder` must be the unprivileged user's."""

    def __init__(self, name, folder, port):
        self.name, self.folder, self.port = name, folder, port
        self.data, self.process = f"{folder}/{name}", None
        self.log = open(f"{folder}/{name}.log", "ab")

    def conninfo(self, user):
        return f"host={self.folder} port={self.port} dbname=postgres user={user}"

    def run(self, name, *words):
        subprocess.run([program(name), *words], check=True, stdout=self.log, stderr=self.log, **unprivileged())

    def create(self):
        """Makes the first server of a cluster."""
        self.run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        with open(f"{self.data}/postgresql.conf", "a") as file:
            file.write(SETTINGS)
        self.start()

    def copy(self, source):
        """Makes this a standby of another server, from a fresh copy of it."""
        shutil.rmtree(self.data, ignore_errors=True)
        self.run("pg_basebackup", "-d", source.conninfo("postgres"), "-D", self.data, "-c", "fast", "--no-sync")
        open(f"{self.data}/standby.signal", "w").close()
        self.start()
        self.follow(source)

    def start(self):
        words = ["-D", self.data, "-p", str(self.port), "-k", self.folder]
        self.process = subprocess.Popen([program("postgres"), *words], stdout=self.log, stderr=self.log, **unprivileged())
        eventually(self.is_up, f"{self.name} takes connections")

    def is_up(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} has ended:\n{open(self.log.name).read()[-2000:]}")
        try:
            return self.ask("SELECT true")
        except psycopg.OperationalError:
            return False

    def ask(self, query, *values):
        """The value that a query gives, if it gives one."""
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
            cursor = connection.execute(query, values or None)
            return cursor.fetchone()[0] if cursor.description else None

    def turn_to(self, source):
        """Asks another server for its log, or none at all: then this one is cut off."""
        conninfo = source.conninfo("postgres") if source else ""
        self.ask(f"ALTER SYSTEM SET primary_conninfo = '{conninfo}'")
        self.ask("SELECT pg_reload_conf()")

    def follow(self, source):
        """The same, and waits until it streams, or does not any more."""
        self.turn_to(source)
        streaming = "SELECT count(*) = %s FROM pg_stat_wal_receiver WHERE status = 'streaming'"
        eventually(lambda: self.ask(streaming, 1 if source else 0), f"{self.name} follows {source and source.name}")

    def flushed(self):
        """How long a primary's log is."""
        return self.ask("SELECT pg_current_wal_flush_lsn() - '0/0'")

    def received(self):
        """How much of the log has arrived at a standby, replayed or not."""
        return self.ask("SELECT pg_last_wal_receive_lsn() - '0/0'")

    def has_received(self, length):
        eventually(lambda: self.received() >= length, f"{self.name} has received all")

    def applied(self):
        return self.ask("SELECT meridian.applied()")

    def promote(self):
        self.ask("SELECT pg_promote(true)")

    def stop(self, how=signal.SIGQUIT):
        """SIGQUIT is PostgreSQL's immediate shutdown: it ends as in a crash."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait()
