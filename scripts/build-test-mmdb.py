#!/usr/bin/env python3
"""Makes the MaxMind-format files of tests/geo.rs: pip install mmdb_writer, then run this.

Each holds the same networks in one of the schemas that are in use: nested with countries (GeoLite2-Country, DB-IP),
nested with locations (GeoLite2-City), flat (IP2Location and ip-location-db), and one without any place (GeoLite2-ASN).
The networks are for documentation (RFC 5737, RFC 3849).
"""

from pathlib import Path

from mmdb_writer import MMDBWriter
from netaddr import IPSet

OUT = Path(__file__).resolve().parent.parent / "tests/data"

# network: country, latitude, longitude; the last has no fields at all.
PLACES = {
    "192.0.2.0/24": ("JP", 35.69, 139.69),
    "198.51.100.0/24": ("DE", 52.52, 13.4),
    "203.0.113.0/25": ("US", 38.9, -77.04),
    "2001:db8:1::/48": ("JP", 35.69, 139.69),
}

SCHEMAS = {
    "country": ("GeoLite2-Country", lambda c, lat, lon: {"country": {"iso_code": c}}),
    "city": (
        "GeoLite2-City",
        lambda c, lat, lon: {"country": {"iso_code": c}, "location": {"latitude": lat, "longitude": lon}},
    ),
    "flat": (
        "flat-city",
        lambda c, lat, lon: {"country_code": c, "latitude": str(lat), "longitude": str(lon)},
    ),
    "asn": ("GeoLite2-ASN", lambda c, lat, lon: {"autonomous_system_number": 64496}),
}


def main():
    OUT.mkdir(exist_ok=True)
    for name, (kind, record) in SCHEMAS.items():
        writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type=kind)
        for network, place in PLACES.items():
            writer.insert_network(IPSet([network]), record(*place))
        if name != "asn":
            writer.insert_network(IPSet(["203.0.113.128/25"]), {"country": {}, "country_code": ""})
        writer.to_db_file(str(OUT / f"{name}.mmdb"))


if __name__ == "__main__":
    main()
