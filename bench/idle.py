#!/usr/bin/env python3
"""Memory for idle TLS connections, side by side: nginx and Meridian as proxies in front of one nginx origin.

Every connection has had one request, over HTTP/1.1, and stays open. Both servers have one worker's certificate and
the same origin; what counts is resident memory, of all processes of a server, per connection.
"""

import resource
import socket
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path

from http import get, meridian, nginx, origin

from measure import CLIENT_CPU, build, free_port, install, processes, server, table

CONNECTIONS, A_SOURCE = 10_000, 1_000
REQUEST = b"GET /1k HTTP/1.1\r\nHost: www.example.com\r\n\r\n"


def resident_kib(parent):
    total = 0
    for pid in processes(parent):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1])
    return total


def patient(configure):
    """The same server, but nobody is idle for too long and there is room for everybody."""

    def configured(folder, port, back):
        command = configure(folder, port, back)
        config = Path(command[-1])
        text = config.read_text()
        text = text.replace("worker_connections 4096;", "worker_connections 65536;")
        text = text.replace("access_log off;", "access_log off; keepalive_timeout 600s;")
        text = text.replace(
            "listen: {", f"listen: {{ timeouts: {{ idle: 10m }}, limits: {{ connections: 0, requests: 0 }},"
        )
        config.write_text(text)
        return command

    return configured


def connect(context, port, number):
    source = (f"127.0.0.{number // A_SOURCE + 2}", 0)
    raw = socket.create_connection(("127.0.0.1", port), source_address=source)
    secure = context.wrap_socket(raw, server_hostname="www.example.com")
    secure.sendall(REQUEST)
    head, _, body = secure.recv(65536).partition(b"\r\n\r\n")
    while len(body) < 1024:
        body += secure.recv(65536)
    if not head.startswith(b"HTTP/1.1 200"):
        sys.exit(f"connection {number}: {head!r}")
    return secure


def measure(configure):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with tempfile.TemporaryDirectory() as name:
        folder, back, port = Path(name), free_port(), free_port()
        behind = subprocess.Popen(["taskset", "-c", CLIENT_CPU, *map(str, origin(folder / "o", back))])
        try:
            with server(patient(configure)(folder, port, back), lambda: get(port)) as pid:
                before = resident_kib(pid)
                held = [connect(context, port, number) for number in range(CONNECTIONS)]
                grown = resident_kib(pid) - before
                for connection in held:
                    connection.close()
        finally:
            behind.terminate()
            behind.wait()
    return before, grown


def main():
    install({"nginx": "nginx-light", "curl": "curl", "openssl": "openssl"})
    build()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    results = [(label, *measure(configure)) for label, configure in [("nginx", nginx), ("meridian", meridian(""))]]
    peer = results[0][2]
    rows = [("proxy", "before, MiB", f"more for {CONNECTIONS:,}, MiB", "KiB per connection", "to nginx")]
    for label, before, grown in results:
        each = grown / CONNECTIONS
        rows.append((label, f"{before / 1024:.0f}", f"{grown / 1024:.0f}", f"{each:.1f}", f"{grown / peer:.2f}"))
    table(rows)


if __name__ == "__main__":
    main()
