"""MariaDB servers: a primary, and a replica that keeps behind.

They run in a folder of their own, as the user `mysql` if root starts them, and listen on loopback for each other.
"""

import os
import shutil
import socket
import subprocess
import time

import pymysql

PATIENCE = 60  # seconds for anything to come about
DELAY = 1  # seconds that the replica keeps behind, so that there is something to see; whole ones

# What a crash must not lose within an epoch, and SEQ must be counted by the whole cluster.
SETTINGS = ["--log-bin", "--log-slave-updates", "--gtid-strict-mode=ON", "--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1"]
SMALL = ["--innodb-buffer-pool-size=32M", "--innodb-log-file-size=8M", "--skip-name-resolve", "--bind-address=127.0.0.1"]


def eventually(condition, what):
    """Waits for a condition; what it returned."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if result := condition():
            return result
        time.sleep(0.02)
    raise TimeoutError(f"it never came about that {what}")


def program(name):
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise FileNotFoundError(f"{name} is missing: install MariaDB (Debian: apt-get install mariadb-server)")
    return found


def unprivileged():
    """MariaDB refuses to run as root unless it is told a user."""
    return ["--user=mysql"] if os.geteuid() == 0 else []


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """One server. `folder` must be the unprivileged user's."""

    def __init__(self, name, folder, number):
        self.name, self.number, self.port, self.process = name, number, free_port(), None
        self.data, self.socket = f"{folder}/{name}", f"{folder}/{name}.sock"
        self.log = open(f"{folder}/{name}.log", "ab")

    def start(self, *words):
        make = [program("mariadb-install-db"), "--no-defaults", *unprivileged(), f"--datadir={self.data}"]
        make += ["--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(make, check=True, stdout=self.log, stderr=self.log)
        words = [f"--datadir={self.data}", f"--socket={self.socket}", f"--port={self.port}", f"--server-id={self.number}", *words]
        command = [program("mariadbd"), "--no-defaults", *unprivileged(), *SETTINGS, *SMALL, *words]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        eventually(self.is_up, f"{self.name} takes connections")

    def is_up(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} has ended:\n{open(self.log.name).read()[-2000:]}")
        try:
            return self.ask("SELECT 1")
        except pymysql.OperationalError:
            return False

    def ask(self, query, database=None):
        """The first row that a statement gives, if it gives one."""
        connection = pymysql.connect(unix_socket=self.socket, user="root", database=database, autocommit=True)
        with connection, connection.cursor(pymysql.cursors.DictCursor) as cursor:
            cursor.execute(query)
            return cursor.fetchone()

    def run(self, script, database=None):
        for statement in filter(str.strip, script.split(";")):
            self.ask(statement, database)

    def follow(self, primary):
        self.ask(
            f"CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {primary.port}, MASTER_USER = 'replica', "
            f"MASTER_USE_GTID = slave_pos, MASTER_DELAY = {DELAY}"
        )
        self.ask("START SLAVE")
        eventually(lambda: self.replication()["Slave_IO_Running"] == "Yes", f"{self.name} follows {primary.name}")

    def replication(self):
        return self.ask("SHOW SLAVE STATUS")

    def position(self):
        return self.ask("SELECT @@gtid_current_pos AS position")["position"]

    def has_received(self, gtid):
        eventually(lambda: self.replication()["Gtid_IO_Pos"] == gtid, f"{self.name} has received {gtid}")

    def promote(self):
        """Begins an epoch; the old primary must be dead or fenced off."""
        self.ask("STOP SLAVE IO_THREAD")
        received = self.replication()["Gtid_IO_Pos"]
        self.ask(f"SELECT MASTER_GTID_WAIT('{received}')")
        self.run("STOP SLAVE; RESET SLAVE ALL")
        fork = "SUBSTRING_INDEX(@@gtid_current_pos, '-', -1)"
        self.ask(f"INSERT INTO meridian_epoch SELECT MAX(epoch) + 1, {fork} FROM meridian_epoch", "app")
        self.ask("SET GLOBAL read_only = 0")

    def stop(self):
        """As in a crash."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
