#!/usr/bin/env python3
"""What reloads cost those who ask meanwhile: 10 s at 5,000 queries a second, first in calm, then with a reload each second.

10,000 names and 2,000 services in 20 regions are made anew by every reload, on the two CPUs that also answer.
"""

import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import peers
from measure import MERIDIAN, build, free_port, install, table

SECONDS, RATE, SERVICES, REGIONS = 10, 5_000, 2_000, 20


def configuration(port, first):
    """`first` is the address of the first name, for a reload to have something new."""
    regions = "".join(
        f"  r{i}: {{ addresses: [127.0.9.{i + 1}], location: [{i * 8 - 80}, {i * 17 - 170}] }}\n" for i in range(REGIONS)
    )
    services = "".join(f"  s{i}: {{ hosts: [s{i}.example.com], health: {{ interval: 1h }} }}\n" for i in range(SERVICES))
    records = "".join(f"      h{i}: {{ A: [{peers.address(i)}] }}\n" for i in range(1, peers.NAMES))
    return f"""node: {{ location: [50.11, 8.68] }}
listen: {{ dns: ["127.0.0.1:{port}"] }}
keys: [{{ id: 1, secret: {peers.KEY} }}]
dns: {{ rate_limit: off }}
regions:
{regions}services:
{services}zones:
  example.com:
    nameservers: {{ ns1: [192.0.2.53] }}
    records:
      h0: {{ A: [{peers.address(first)}] }}
{records}"""


def ask(port, queries):
    """How many queries were lost, and their latency in ms: on average and at most."""
    command = ["dnsperf", "-s", "127.0.0.1", "-p", port, "-d", queries, "-c", 4, "-Q", RATE, "-l", SECONDS, "-W"]
    said = subprocess.run([*map(str, command)], check=True, capture_output=True, text=True).stdout
    lost = re.search(r"Queries lost:\s+(\d+)", said)[1]
    average, most = re.search(r"Average Latency \(s\):\s+([\d.]+) \(min [\d.]+, max ([\d.]+)\)", said).groups()
    return lost, f"{float(average) * 1e3:.3f}", f"{float(most) * 1e3:.1f}"


def main():
    install({"dnsperf": "dnsperf"})
    build()
    with tempfile.TemporaryDirectory() as name:
        port, config, queries = free_port(), Path(name) / "edge.yaml", Path(name) / "queries"
        config.write_text(configuration(port, 0))
        queries.write_text("".join(f"h{i}.example.com A\n" for i in range(peers.NAMES)))
        command = [str(MERIDIAN), "serve", "--config", str(config)]
        edge = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = []
        threading.Thread(target=lambda: said.extend(edge.stdout), daemon=True).start()
        # Until every target has been probed once.
        time.sleep(10)
        calm = ask(port, queries)
        done = threading.Event()

        def reload():
            for number in range(1, SECONDS):
                config.write_text(configuration(port, number))
                edge.send_signal(signal.SIGHUP)
                if done.wait(1):
                    return

        reloading = threading.Thread(target=reload)
        reloading.start()
        busy = ask(port, queries)
        done.set()
        reloading.join()
        edge.terminate()
        edge.wait()
    reloads = sum("is in force" in line for line in said) - 1
    rows = [("", "queries lost", "latency ms, average", "at most")]
    table([*rows, ("calm", *calm), (f"{reloads} reloads", *busy)])


if __name__ == "__main__":
    main()
