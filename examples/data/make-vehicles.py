#!/usr/bin/env python3
"""Writes roads.geojson, a town of 20 roads, and vehicles.geojson, where five vehicles were every five seconds as their receivers saw it:
some metres beside the road. The numbers are made up, and the same each time."""
import json
import math
import pathlib
import random

WEST, SOUTH, STEP = -84.21, 36.30, 0.004  # degrees
COUNT = 10  # roads in each direction
VEHICLES, FIXES, SECONDS = 5, 100, 5
NOISE = 0.00006  # degrees, about 6 m
folder = pathlib.Path(__file__).parent
chance = random.Random(2012)


def bend(a, b):
    """Roads are not quite straight."""
    return round(0.0006 * math.sin(a * 1.7 + b * 0.9), 5)


def node(column, row):
    return [round(WEST + column * STEP + bend(column, row), 5), round(SOUTH + row * STEP + bend(row, column), 5)]


def feature(identifier, properties, kind, coordinates):
    return {"type": "Feature", "id": identifier, "properties": properties,
            "geometry": {"type": kind, "coordinates": coordinates}}


def write(name, features):
    lines = ",\n".join(json.dumps(f, separators=(",", ":")) for f in features)
    (folder / name).write_text('{"type":"FeatureCollection","features":[\n' + lines + "\n]}\n")


write("roads.geojson", [
    feature(f"{kind}-{n + 1}", {"name": f"{kind.title()} {n + 1}"}, "LineString",
            [node(*((k, n) if kind == "street" else (n, k))) for k in range(COUNT)])
    for kind in ("street", "avenue") for n in range(COUNT)])

fixes = []
for vehicle in range(VEHICLES):
    at, before, share = (2 * vehicle % COUNT, 3), None, 0.0
    to = (at[0], at[1] + 1)
    for fix in range(FIXES):
        (x0, y0), (x1, y1) = node(*at), node(*to)
        position = [round(a + (b - a) * share + chance.gauss(0, NOISE), 6) for a, b in ((x0, x1), (y0, y1))]
        seconds = fix * SECONDS
        time = f"2026-05-04T08:{seconds // 60:02}:{seconds % 60:02}Z"
        fixes.append((fix, vehicle, feature(f"{vehicle + 1}-{fix + 1}", {"vehicle": f"bus {vehicle + 1}", "time": time},
                                            "Point", position)))
        share += chance.uniform(0.08, 0.2)
        if share >= 1:
            share -= 1
            before, at = at, to
            ways = [(at[0] + dx, at[1] + dy) for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1))]
            to = chance.choice([w for w in ways if w != before and all(0 <= part < COUNT for part in w)])
write("vehicles.geojson", [f for _, _, f in sorted(fixes, key=lambda entry: entry[:2])])
