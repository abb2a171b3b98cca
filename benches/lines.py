"""The lines that are simplified. Standard library only."""
import math
import random

LINES, VERTICES = 100_000, 50


def generate(path):
    """Random walks from all over the world: each step 0.002 degrees, the heading changing by 0.3 rad or so. Fixed seed."""
    rnd = random.Random(42)
    with open(path, "w") as f:
        f.write('{"type":"FeatureCollection","features":[\n')
        for i in range(LINES):
            x, y, heading = rnd.uniform(-179, 179), rnd.uniform(-80, 80), rnd.uniform(0, 2 * math.pi)
            line = []
            for _ in range(VERTICES):
                line.append("[%.6f,%.6f]" % (x, y))
                heading += rnd.gauss(0, 0.3)
                x, y = x + 0.002 * math.cos(heading), y + 0.002 * math.sin(heading)
            f.write('%s{"type":"Feature","id":%d,"properties":{"id":%d,"name":"line %d"},"geometry":{"type":"LineString","coordinates":[%s]}}\n'
                    % ("," if i else "", i, i, i, ",".join(line)))
        f.write("]}\n")
