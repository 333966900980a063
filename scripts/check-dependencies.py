#!/usr/bin/env python3
"""Holds the dependencies to deny.toml: licences, banned crates, sources.

Reads `cargo tree` and Cargo.lock. A licence expression is allowed if one side of every OR and both sides of
every AND are.
"""

import re
import subprocess
import sys
import tomllib

RULES = tomllib.load(open("deny.toml", "rb"))
ALLOWED = set(RULES["licenses"]["allow"])
BANNED = {entry["crate"]: entry["reason"] for entry in RULES["bans"]["deny"]}


def is_allowed(expression):
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))

    def alternatives():
        result = conjunction()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            result = conjunction() | result
        return result

    def conjunction():
        result = term()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            result = term() & result
        return result

    def term():
        token = tokens.pop(0)
        if token == "(":
            result = alternatives()
            tokens.pop(0)
            return result
        if tokens and tokens[0] == "WITH":
            tokens.pop(0), tokens.pop(0)
        return token in ALLOWED

    return alternatives()


def main():
    command = ["cargo", "tree", "--locked", "--edges", "normal,build,dev", "--prefix", "none", "--format", "{p}|{l}"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    packages = sorted({line.removesuffix(" (*)") for line in lines if line})
    wrong = []
    for package in packages:
        name, licence = package.rsplit("|", 1)
        crate = name.split()[0]
        if crate in BANNED:
            wrong.append(f"{name} is banned: {BANNED[crate]}")
        if not is_allowed(licence or "none"):
            wrong.append(f"{name} has the licence {licence or 'none'}")
    for locked in tomllib.load(open("Cargo.lock", "rb"))["package"]:
        if not locked.get("source", "registry+").startswith("registry+"):
            wrong.append(f"{locked['name']} comes from {locked['source']}")
    print("\n".join(wrong) or f"{len(packages)} packages are as deny.toml wants them")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
