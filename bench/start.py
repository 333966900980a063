#!/usr/bin/env python3
"""From exec to `ready`, with the built-in geography database: Meridian promises less than 500 ms."""

import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from measure import MERIDIAN, build

RUNS = 20

YAML = """
listen: { dns: ["127.0.0.1:0"], https: ["127.0.0.1:0"], admin: "127.0.0.1:0" }
regions:
  us-east-1: { addresses: [192.0.2.10], origins: ["http://127.0.0.1:9"] }
  eu-west-1: { addresses: [198.51.100.10], origins: ["http://127.0.0.1:9"] }
  ap-northeast-1: { addresses: [203.0.113.10], origins: ["http://127.0.0.1:9"] }
services: { www: { hosts: [www.example.com] } }
zones: { example.com: { nameservers: { ns1: [192.0.2.53] } } }
"""


def start(config):
    began = time.monotonic()
    command = [str(MERIDIAN), "serve", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.rstrip().endswith("ready"):
                break
        took = time.monotonic() - began
        process.kill()
    return took * 1000


def main():
    build()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "edge.yaml"
        config.write_text(YAML)
        times = sorted(start(config) for _ in range(RUNS))
    print(
        f"start to ready, ms, {RUNS} runs: "
        f"min {times[0]:.0f}, median {statistics.median(times):.0f}, max {times[-1]:.0f}"
    )


if __name__ == "__main__":
    main()
