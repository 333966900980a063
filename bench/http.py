#!/usr/bin/env python3
"""HTTPS side by side: nginx and HAProxy against Meridian as proxies in front of one nginx origin, 1 KiB bodies.

Each proxy is alone on CPU 0, with one worker; origin and h2load share CPU 1. Meridian is measured plain, and with
session affinity and read-your-writes switched on.
"""

import os
import re
import subprocess
import tempfile
from pathlib import Path

from measure import CLIENT_CPU, MERIDIAN, build, client, cpu_seconds, find, free_port, install, server, table

REQUESTS, CLIENTS = 60_000, 32


def certificate(folder):
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
         "-subj", "/CN=www.example.com", "-addext", "subjectAltName=DNS:www.example.com", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )
    (folder / "both.pem").write_text(cert.read_text() + key.read_text())
    return cert, key


def nginx_config(folder, http):
    # As root, workers would change to a user that cannot read the bench's folder.
    user = "user root;" if os.getuid() == 0 else ""
    return f"""{user} daemon off; worker_processes 1; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  {http} }}
"""


def origin(folder, port):
    folder.mkdir()
    (folder / "1k").write_text("x" * 1024)
    (folder / "health").write_text("ok")
    config = folder / "nginx.conf"
    config.write_text(nginx_config(folder, f"server {{ listen 127.0.0.1:{port}; root {folder}; }}"))
    return [find("nginx"), "-c", config]


def nginx(folder, port, back):
    cert, key = certificate(folder)
    config = folder / "nginx.conf"
    config.write_text(
        nginx_config(
            folder,
            f"""upstream origin {{ server 127.0.0.1:{back}; keepalive 256; keepalive_requests 1000000; }}
  server {{ listen 127.0.0.1:{port} ssl http2; ssl_certificate {cert}; ssl_certificate_key {key};
    location / {{ proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }}""",
        )
    )
    return [find("nginx"), "-c", config]


def haproxy(folder, port, back):
    certificate(folder)
    config = folder / "haproxy.cfg"
    config.write_text(
        f"""global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  option forwardfor
  http-reuse always
frontend f
  bind 127.0.0.1:{port} ssl crt {folder}/both.pem alpn h2,http/1.1
  default_backend b
backend b
  server o 127.0.0.1:{back}
"""
    )
    return [find("haproxy"), "-f", config, "-db"]


def meridian(more):
    def configure(folder, port, back):
        cert, key = certificate(folder)
        config = folder / "edge.yaml"
        config.write_text(
            f"""node: {{ name: bench }}
listen: {{ https: ["127.0.0.1:{port}"] }}
tls: {{ certificates: [{{ cert: {cert}, key: {key} }}] }}
keys: [{{ id: 1, secret: 0123456789abcdef0123456789abcdef }}]
regions: {{ us-east-1: {{ origins: ["http://127.0.0.1:{back}"] }} }}
services: {{ www: {{ hosts: [www.example.com]{more} }} }}
"""
        )
        return [MERIDIAN, "serve", "--config", config]

    return configure


def get(port):
    command = ["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "--resolve",
               f"www.example.com:{port}:127.0.0.1", f"https://www.example.com:{port}/1k"]
    return subprocess.run(command, capture_output=True, text=True).stdout == "200"


def measure(configure, protocol):
    """Requests per second, and CPU per request in µs."""
    with tempfile.TemporaryDirectory() as name:
        folder, back, port = Path(name), free_port(), free_port()
        behind = subprocess.Popen(["taskset", "-c", CLIENT_CPU, *map(str, origin(folder / "o", back))])
        try:
            with server(configure(folder, port, back), lambda: get(port)) as pid:
                load = ["h2load", "-t", 1, "-c", CLIENTS, f"--connect-to=127.0.0.1:{port}"]
                load += ["--h1"] if protocol == "h1" else ["-m", 8]
                url = f"https://www.example.com:{port}/1k"
                client([*load, "-n", 2_000, url])
                before = sum(cpu_seconds(pid))
                said = client([*load, "-n", REQUESTS, url])
                spent = sum(cpu_seconds(pid)) - before
        finally:
            behind.terminate()
            behind.wait()
    done = int(re.search(r"(\d+) succeeded", said)[1])
    if done != REQUESTS:
        raise SystemExit(f"only {done} of {REQUESTS} requests succeeded:\n{said}")
    rate = float(re.search(r"finished in [\d.]+m?s, ([\d.]+) req/s", said)[1])
    return rate, spent / done * 1e6


def main():
    install({"h2load": "nghttp2-client", "nginx": "nginx-light", "haproxy": "haproxy", "curl": "curl", "openssl": "openssl"})
    build()
    more = ", affinity: { by: cookie }, consistency: { read_your_writes: true }"
    proxies = [
        ("nginx", nginx),
        ("haproxy", haproxy),
        ("meridian", meridian("")),
        ("meridian, affinity and tokens", meridian(more)),
    ]
    for protocol in ["h1", "h2"]:
        results = [(label, *measure(configure, protocol)) for label, configure in proxies]
        best = min(cpu for label, _, cpu in results if not label.startswith("meridian"))
        print(f"\n{protocol} from the client, h1 to the origin")
        rows = [("proxy", "requests/s", "CPU µs per request", "CPU to the best peer")]
        rows += [(label, f"{rate:,.0f}", f"{cpu:.1f}", f"{cpu / best:.2f}") for label, rate, cpu in results]
        table(rows)


if __name__ == "__main__":
    main()
