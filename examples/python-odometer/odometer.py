#!/usr/bin/env python3
"""How far each vehicle has come: reads features on standard input, one a line, and prints each with what is known by then.

A run reads the whole stream, however long it goes on, and remembers one position a vehicle. Needs nothing but Python itself.
"""

import datetime
import json
import math
import sys

EARTH_RADIUS_M = 6371008.8


def distance_m(a, b):
    """Great-circle distance of two positions in degrees (haversine)."""
    lon_a, lat_a, lon_b, lat_b = map(math.radians, (*a[:2], *b[:2]))
    h = math.sin((lat_b - lat_a) / 2) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_b - lon_a) / 2) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(h))


def main(vehicle_property, time_property):
    last = {}  # vehicle -> (position, time, metres)
    for number, line in enumerate(sys.stdin, 1):
        feature = json.loads(line)
        properties, geometry = feature["properties"], feature["geometry"]
        if not geometry or geometry["type"] != "Point":
            sys.exit(f"feature {number}: a Point is needed, not {geometry and geometry['type']}")
        if vehicle_property not in properties or time_property not in properties:
            sys.exit(f"feature {number} has no {vehicle_property} or no {time_property}: {properties}")
        vehicle, position = properties[vehicle_property], geometry["coordinates"]
        time = datetime.datetime.fromisoformat(properties[time_property].replace("Z", "+00:00"))
        metres, speed = 0.0, None
        if vehicle in last:
            before, then, metres = last[vehicle]
            step, seconds = distance_m(before, position), (time - then).total_seconds()
            metres += step
            speed = round(3.6 * step / seconds, 1) if seconds > 0 else None
        last[vehicle] = (position, time, metres)
        properties |= {"distance_m": round(metres, 1), "speed_km_h": speed}
        print(json.dumps(feature), flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("odometer.py VEHICLE-PROPERTY TIME-PROPERTY < features, one a line")
    main(*sys.argv[1:])
