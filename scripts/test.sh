#!/usr/bin/env bash
# Installs what the tests talk to, and runs them all.
#
# The tests use real clients: kdig, dig, delv, unbound and DNSViz for DNS, dnssec-keygen for its keys, curl, openssl and
# HAProxy for HTTP, nghttp2's clients and Python's (h2, websockets, grpcio) too, nginx and HAProxy as judges of what is HTTP,
# Schemathesis for the admin API, Prometheus for the metrics, libfaketime for clocks that are wrong, PostgreSQL and MariaDB for their examples,
# Chromium for WebSockets and, by Playwright, for the dashboard, with axe-core as judge
# of who can use it.
# On Debian and its children they are installed if they are missing (with sudo where that is needed);
# elsewhere the missing ones are named.
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A packages=([kdig]=knot-dnsutils [dig]=bind9-dnsutils [/usr/sbin/unbound]=unbound [dnssec-keygen]=bind9-utils [dnsviz]=dnsviz [curl]=curl [faketime]=faketime [openssl]=openssl [/usr/sbin/nginx]=nginx [/usr/sbin/haproxy]=haproxy [chromium]=chromium [h2load]=nghttp2-client [promtool]=prometheus [/usr/sbin/mariadbd]=mariadb-server [python3]=python3)

# Installs packages whose services stay stopped: the tests start nginx, HAProxy and unbound themselves, on ports of their own.
install() {
  local as_root policy=/usr/sbin/policy-rc.d
  as_root=$([ "$(id -u)" = 0 ] || echo sudo)
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod +x "$policy"
    # shellcheck disable=SC2064
    trap "$as_root rm -f '$policy'" EXIT
  fi
  $as_root apt-get update -q
  DEBIAN_FRONTEND=noninteractive $as_root apt-get install -qy --no-install-recommends "$@"
}

missing=()
for tool in "${!packages[@]}"; do
  command -v "$tool" >/dev/null || missing+=("${packages[$tool]}")
done
# Debian keeps the programs of each version apart, and out of the path.
compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || command -v postgres >/dev/null || missing+=(postgresql)
if ((${#missing[@]})); then
  if ! command -v apt-get >/dev/null; then
    echo "please install the equivalents of these Debian packages: ${missing[*]}" >&2
    exit 1
  fi
  # In a shell of its own, which undoes at its end what it did to the services.
  (install "${missing[@]}")
fi

# Python's clients, in an environment of their own that is made anew when what it should hold has changed.
clients=target/clients wanted=(tests/clients/requirements.txt examples/postgres/requirements.txt examples/mariadb/requirements.txt)
if ! cmp -s <(cat "${wanted[@]}") "$clients/made-of"; then
  # Debian has venv in a package of its own, without which `python3 -m venv` makes half an environment and fails.
  python3 -c 'import ensurepip' 2>/dev/null || (install python3-venv)
  python3 -m venv --clear "$clients"
  "$clients/bin/pip" install -q --disable-pip-version-check --only-binary :all: --no-deps "${wanted[@]/#/-r}"
  cat "${wanted[@]}" >"$clients/made-of"
fi

if cargo nextest --version >/dev/null 2>&1; then
  exec cargo nextest run --locked "$@"
fi
exec cargo test --locked "$@"
