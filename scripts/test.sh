#!/usr/bin/env bash
# Installs what the tests talk to, and runs them all.
#
# The tests use real clients: kdig, dig, delv, unbound and DNSViz for DNS, dnssec-keygen for its keys, curl, openssl and
# HAProxy for HTTP, Chromium for the dashboard.
# On Debian and its children they are installed if they are missing (with sudo where that is needed);
# elsewhere the missing ones are named.
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A packages=([kdig]=knot-dnsutils [dig]=bind9-dnsutils [/usr/sbin/unbound]=unbound [dnssec-keygen]=bind9-utils [dnsviz]=dnsviz [curl]=curl [openssl]=openssl [/usr/sbin/haproxy]=haproxy [chromium]=chromium)
missing=()
for tool in "${!packages[@]}"; do
  command -v "$tool" >/dev/null || missing+=("${packages[$tool]}")
done
if ((${#missing[@]})); then
  if ! command -v apt-get >/dev/null; then
    echo "please install the equivalents of these Debian packages: ${missing[*]}" >&2
    exit 1
  fi
  as_root=$([ "$(id -u)" = 0 ] || echo sudo)
  $as_root apt-get update -q
  DEBIAN_FRONTEND=noninteractive $as_root apt-get install -qy --no-install-recommends "${missing[@]}"
fi

if cargo nextest --version >/dev/null 2>&1; then
  exec cargo nextest run --locked "$@"
fi
exec cargo test --locked "$@"
