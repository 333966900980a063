"""Holds configurations to the JSON Schema, by a validator that is nobody's friend.

    schema.py PROGRAM FILE...
"""

import json
import subprocess
import sys

import jsonschema_rs
import yaml

program, *files = sys.argv[1:]
schema = json.loads(subprocess.run([program, "schema"], check=True, capture_output=True).stdout)
jsonschema_rs.meta.validate(schema)
validator = jsonschema_rs.validator_for(schema)

for file in files:
    with open(file) as text:
        document = yaml.safe_load(text)
    for error in validator.iter_errors(document):
        sys.exit(f"{file}: {'.'.join(map(str, error.instance_path))}: {error.message}")

REGION = {"location": ["${LATITUDE}", 8], "addresses": ["192.0.2.1"]}
SERVICE = {"hosts": ["www.example.com"], "steering": {"policy": "geo"}}


def takes(region, service):
    return validator.is_valid({"regions": {"a": REGION | region}, "services": {"www": SERVICE | service}})


assert takes({}, {})
assert takes({"location": None}, {"steering": {"policy": "${POLICY}"}, "writes": {"to": "${TO}"}})
assert takes({}, {"steering": {"policy": None}})
assert not takes({}, {"steering": {"policy": "nearest"}})
assert not takes({"addresses": [None]}, {})
assert not takes({"location": ["north", 8]}, {})
assert not takes({}, {"hostss": []})
print("all is well")
