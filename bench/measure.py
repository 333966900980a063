"""What the benches share: packages, processes, CPU time, ports, tables."""

import glob
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MERIDIAN = Path(os.environ.get("MERIDIAN", ROOT / "target/release/meridian"))
TICKS = os.sysconf("SC_CLK_TCK")
SERVER_CPU, CLIENT_CPU = "0", "1"


def install(packages):
    """Installs the Debian packages that are missing: {program or pattern of a file: package}."""
    missing = [package for program, package in packages.items() if not is_there(program)]
    if missing:
        root = [] if os.getuid() == 0 else ["sudo"]
        subprocess.run([*root, "apt-get", "update", "-q"], check=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(
            [*root, "apt-get", "install", "-qy", "--no-install-recommends", *missing],
            check=True,
            env=environment,
        )


def is_there(program):
    return glob.glob(program) if program.startswith("/") else find(program)


def find(program):
    return shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")


def build():
    subprocess.run(["cargo", "build", "--release", "--locked"], cwd=ROOT, check=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def processes(parent):
    """A process and all below it."""
    found = [parent]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(stat[1]) == parent:
            found += processes(int(pid))
    return found


def cpu_seconds(parent):
    """User and system time of a process and all below it."""
    user = system = 0
    for pid in processes(parent):
        try:
            stat = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        user, system = user + int(stat[11]), system + int(stat[12])
    return user / TICKS, system / TICKS


def memory(parent):
    """Resident bytes of a process and all below it; what several share is counted once (Pss)."""
    rollups = (Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in processes(parent))
    return sum(int(re.search(r"^Pss:\s+(\d+) kB", rollup, re.M)[1]) * 1024 for rollup in rollups)


@contextmanager
def server(command, ready, patience=20, cpu=SERVER_CPU, **options):
    """Runs a server on its own CPU until the block ends; `ready` says whether it answers within seconds."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            ["taskset", "-c", cpu, *map(str, command)],
            stdout=log,
            stderr=subprocess.STDOUT,
            **options,
        )
        try:
            deadline = time.monotonic() + patience
            while not ready():
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    sys.exit(f"{command[0]} did not start:\n{log.read().decode()}")
                time.sleep(0.05)
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def client(command, patience=None):
    """Runs a load generator on the other CPU, for so many seconds at most; what it printed."""
    words = ["taskset", "-c", CLIENT_CPU, *map(str, command)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=patience)
    except subprocess.TimeoutExpired:
        sys.exit(f"{' '.join(words)} did not end within {patience} s")
    if done.returncode:
        sys.exit(f"{' '.join(words)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def table(rows):
    """Rows of text as Markdown; the first is the head."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for number, row in enumerate(rows):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
