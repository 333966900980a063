#!/usr/bin/env python3
"""What health checks cost: the CPU of an edge that does nothing but probe 1,000 origins every 10 s over http."""

import os
import subprocess
import tempfile
import time
from pathlib import Path

from measure import CLIENT_CPU, MERIDIAN, build, cpu_seconds, find, free_port, install, server

ORIGINS, SECONDS = 1_000, 30


def origin(folder, port):
    """One nginx on every address of loopback."""
    (folder / "health").write_text("ok")
    user = "user root;" if os.getuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(
        f"""{user} daemon off; worker_processes 1; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; server {{ listen {port}; root {folder}; }} }}
"""
    )
    return [find("nginx"), "-c", config]


def meridian(folder, port, admin):
    origins = ", ".join(f'"http://127.1.{i // 250}.{i % 250 + 1}:{port}"' for i in range(ORIGINS))
    config = folder / "edge.yaml"
    config.write_text(
        f"""listen: {{ admin: "127.0.0.1:{admin}" }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions: {{ here: {{ origins: [{origins}] }} }}
services: {{ www: {{ hosts: [www.example.com] }} }}
"""
    )
    return [MERIDIAN, "serve", "--config", config]


def is_ready(admin):
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://127.0.0.1:{admin}/readyz"]
    return subprocess.run(command, capture_output=True, text=True).stdout == "200"


def main():
    install({"nginx": "nginx-light", "curl": "curl"})
    build()
    with tempfile.TemporaryDirectory() as name:
        folder, port, admin = Path(name), free_port(), free_port()
        behind = subprocess.Popen(["taskset", "-c", CLIENT_CPU, *map(str, origin(folder, port))])
        try:
            with server(meridian(folder, port, admin), lambda: is_ready(admin)) as pid:
                time.sleep(15)  # Past the burst at the start.
                before = cpu_seconds(pid)
                time.sleep(SECONDS)
                user, system = (after - b for after, b in zip(cpu_seconds(pid), before))
        finally:
            behind.terminate()
            behind.wait()
    probes = ORIGINS * SECONDS / 10
    share = (user + system) / SECONDS * 100
    print(
        f"{ORIGINS} checks every 10 s: {share:.1f} % of one core, "
        f"{(user + system) / probes * 1e6:.0f} µs a probe (user {user / probes * 1e6:.0f}, system {system / probes * 1e6:.0f})"
    )


if __name__ == "__main__":
    main()
