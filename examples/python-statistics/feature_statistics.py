#!/usr/bin/env python3
"""Statistics of a GeoJSON file: feature_statistics.py FEATURES RESULT

Prints "progress: PERCENT" lines and at last "length: METRES". Needs nothing but Python itself.
"""

import collections
import json
import math
import sys

EARTH_RADIUS_M = 6371008.8


def distance_m(a, b):
    """Great-circle distance of two positions (haversine)."""
    lon_a, lat_a, lon_b, lat_b = map(math.radians, (*a[:2], *b[:2]))
    h = math.sin((lat_b - lat_a) / 2) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_b - lon_a) / 2) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(h))


def parts(geometry):
    """The geometry, or the members of a collection."""
    if geometry is None:
        return
    if geometry["type"] == "GeometryCollection":
        for member in geometry["geometries"]:
            yield from parts(member)
    else:
        yield geometry


def lines(geometry):
    """The lines of a geometry."""
    if geometry["type"] == "LineString":
        yield geometry["coordinates"]
    elif geometry["type"] == "MultiLineString":
        yield from geometry["coordinates"]


def positions(coordinates):
    """How many positions there are."""
    if not coordinates:
        return 0
    if isinstance(coordinates[0], (int, float)):
        return 1
    return sum(map(positions, coordinates))


def main(source, target):
    with open(source, encoding="utf-8") as file:
        document = json.load(file)
    features = document["features"] if document["type"] == "FeatureCollection" else [document]
    kinds = collections.Counter()
    total_positions, length_m = 0, 0.0
    for index, feature in enumerate(features, 1):
        for part in parts(feature["geometry"] if feature["type"] == "Feature" else feature):
            kinds[part["type"]] += 1
            total_positions += positions(part["coordinates"])
            for line in lines(part):
                length_m += sum(map(distance_m, line, line[1:]))
        if index % 1000 == 0 or index == len(features):
            print(f"progress: {100 * index / len(features):.1f}", flush=True)
    result = {
        "features": len(features),
        "geometries": dict(sorted(kinds.items())),
        "positions": total_positions,
        "length_m": round(length_m, 3),
    }
    with open(target, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=2)
    print(f"length: {length_m:.3f}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
