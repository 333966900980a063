#!/usr/bin/env python3
"""Builds the world map of the dashboard.

    pip install pycountry
    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
    python3 scripts/build-map.py package data/map

Reads package/countries-110m.json, a TopoJSON file of Natural Earth's country boundaries (1:110m, public domain), and
writes world.json into the last folder: for each country's ISO 3166 code the `d` of an SVG path.

The projection is the plate carrée: x is the longitude and y the latitude southwards, both in fifths of a degree, so that
a page needs no formula to place a point. Points that the rounding brings together are dropped, and Antarctica is left out. What crosses the antimeridian is drawn at both
edges, and reaches over them.
"""

import json
import pathlib
import sys

import pycountry

# Fifths of a degree: 0.2 degrees is half a pixel of a map that is 900 pixels wide.
SCALE = 5

# Natural Earth draws these without a code. Addresses there are registered under the countries' that claim them.
UNCODED = {"Kosovo": "XK", "N. Cyprus": "CY", "Somaliland": "SO"}

LEFT_OUT = {"AQ"}


def arcs(topology):
    """Every arc as absolute points on the grid."""
    (scale_x, scale_y), (move_x, move_y) = topology["transform"]["scale"], topology["transform"]["translate"]
    decoded = []
    for arc in topology["arcs"]:
        x = y = 0
        points = []
        for dx, dy in arc:
            x, y = x + dx, y + dy
            longitude, latitude = x * scale_x + move_x, y * scale_y + move_y
            points.append((round(longitude * SCALE), round(-latitude * SCALE)))
        decoded.append(points)
    return decoded


def ring(indices, decoded):
    """One ring; the first point of an arc is the last of the one before, and ~n is arc n backwards."""
    points = []
    for index in indices:
        arc = decoded[index] if index >= 0 else decoded[~index][::-1]
        points += arc[1:] if points else arc
    return points


def unwrapped(points):
    """A ring that crosses the antimeridian without the jump, and once more at the other edge of the map."""
    turn = 360 * SCALE
    shift, rings, before = 0, [[]], points[0][0]
    for x, y in points:
        if abs(x - before) > turn / 2:
            shift += turn if x < before else -turn
        before = x
        rings[0].append((x + shift, y))
    beyond = [x for x, _ in rings[0] if abs(x) > turn / 2]
    if beyond:
        back = -turn if beyond[0] > 0 else turn
        rings.append([(x + back, y) for x, y in rings[0]])
    return rings


def number(n):
    """As it follows another: a sign separates as well as a space."""
    return str(n) if n < 0 else f" {n}"


def path(points):
    """A closed path in relative steps; none if the rounding leaves no area."""
    steps = []
    (x, y) = first = points[0]
    for nx, ny in points[1:]:
        if (nx, ny) != (x, y):
            steps.append((nx - x, ny - y))
        x, y = nx, ny
    if len(steps) < 3:
        return ""
    if (x, y) == first:
        steps.pop()  # `z` draws it.
    text = "".join(number(n) for step in steps for n in step).lstrip()
    return f"M{first[0]} {first[1]}l{text}z"


def code(country):
    name = country["properties"]["name"]
    if name in UNCODED:
        return UNCODED[name]
    return pycountry.countries.get(numeric=country["id"].zfill(3)).alpha_2


def main(package, folder):
    topology = json.loads((pathlib.Path(package) / "countries-110m.json").read_text())
    decoded = arcs(topology)
    world = {}
    for country in topology["objects"]["countries"]["geometries"]:
        polygons = country["arcs"] if country["type"] == "MultiPolygon" else [country["arcs"]]
        rings = [ring(indices, decoded) for polygon in polygons for indices in polygon]
        shape = "".join(path(part) for points in rings for part in unwrapped(points))
        world[code(country)] = world.get(code(country), "") + shape
    kept = {name: shape for name, shape in sorted(world.items()) if shape and name not in LEFT_OUT}
    text = ",\n".join(f"{json.dumps(name)}:{json.dumps(shape)}" for name, shape in kept.items())
    (pathlib.Path(folder) / "world.json").write_text("{\n" + text + "\n}\n")
    print(f"{len(kept)} countries, {len(text)} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
