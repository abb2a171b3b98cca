"""Snapping and NDWI, without a server: our built-ins beside what Python's users write with shapely and rasterio, on the same files."""
import glob
import json
import math
import os
import random
import subprocess
import sys

import client

PYTHON = os.environ.get("PEER_PYTHON") or os.path.join(client.HERE, ".venv/bin/python")
TARGET = os.environ.get("CARGO_TARGET_DIR") or os.path.join(client.HERE, "../target")
PROGRAM = os.path.join(TARGET, "release/examples/run_algorithm")
LINES, VERTICES, CHUNKS, POINTS, DISTANCE, SIDE = 100_000, 50, 1_000, 1_000, 0.002, 10_000
folder = client.work_folder("algorithms")




# A process begins with the peak of the one that it was forked from: a small one stands between.
LAUNCH = """import json, resource, subprocess, sys
printed = subprocess.run(sys.argv[1:], check=True, stdout=subprocess.PIPE).stdout
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({**(json.loads(printed) or {}), "cpu_s": usage.ru_utime + usage.ru_stime, "peak_rss_mb": usage.ru_maxrss / 1024}))"""


def run(command, **environment):
    """What a command prints, its processor time and its peak of memory."""
    launched = [sys.executable, "-c", LAUNCH, *command]
    return json.loads(subprocess.run(launched, check=True, stdout=subprocess.PIPE, env={**os.environ, **environment}).stdout)


def ours(*arguments, threads):
    return run([PROGRAM, *arguments], RAYON_NUM_THREADS=str(threads))


def theirs(*arguments):
    return run([PYTHON, os.path.join(client.HERE, "peers/geo.py"), *arguments])


def generate():
    """Random walks over 10 x 10 degrees, and points on them give or take a little: about half are near enough. Fixed seed."""
    rnd = random.Random(42)
    lines = os.path.join(folder, "lines.geojson")
    vertices = []
    with open(lines, "w") as f:
        f.write('{"type":"FeatureCollection","features":[\n')
        for i in range(LINES):
            x, y, heading = rnd.uniform(0, 10), rnd.uniform(40, 50), rnd.uniform(0, 2 * math.pi)
            line = []
            for _ in range(VERTICES):
                line.append("[%.6f,%.6f]" % (x, y))
                heading += rnd.gauss(0, 0.3)
                x, y = x + 0.002 * math.cos(heading), y + 0.002 * math.sin(heading)
            vertices.append((x, y))
            f.write('%s{"type":"Feature","id":%d,"properties":{"name":"line %d"},"geometry":{"type":"LineString","coordinates":[%s]}}\n'
                    % ("," if i else "", i, i, ",".join(line)))
        f.write("]}\n")
    chunks = os.path.join(folder, "chunks")
    os.makedirs(chunks)
    for chunk in range(CHUNKS):
        with open(os.path.join(chunks, "%06d.geojson" % chunk), "w") as f:
            f.write('{"type":"FeatureCollection","features":[\n')
            for i in range(POINTS):
                x, y = rnd.choice(vertices)
                f.write('%s{"type":"Feature","id":%d,"properties":{"speed":%d},"geometry":{"type":"Point","coordinates":[%.6f,%.6f]}}\n'
                        % ("," if i else "", chunk * POINTS + i, i % 90, x + rnd.gauss(0, 0.002), y + rnd.gauss(0, 0.002)))
            f.write("]}\n")
    return lines, chunks


def count(pattern):
    """Features in the files."""
    total = 0
    for name in glob.glob(pattern):
        with open(name, "rb") as f:
            total += f.read().count(b'"Point"')
    return total


met, limits = True, [f"memory copy {client.memcpy_gb_s():.1f} GB/s", f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"]

lines, chunks = generate()
snapped, of_peer = os.path.join(folder, "snapped"), os.path.join(folder, "of_peer")
a = ours("snap_points_to_lines", snapped, "--chunks", "points", chunks, f"lines=@{lines}", f"max_distance={DISTANCE}", threads=1)
b = theirs("snap", lines, chunks, str(DISTANCE), of_peer)
a["features"], ratio = count(snapped + ".*"), b["cpu_s"] / a["cpu_s"]
of_chunks = (b["seconds"] - b["prepared_s"]) / (a["seconds"] - a["prepared_s"])
met &= client.report(f"snap {CHUNKS * POINTS:,} points in {CHUNKS:,} chunks to {LINES:,} lines x {VERTICES} vertices (peer: shapely STRtree)", [
    ("all, processor time, s", a["cpu_s"], b["cpu_s"], ratio, ">= 5 x", ratio >= 5),
    ("index of the lines, once, s", a["prepared_s"], b["prepared_s"], b["prepared_s"] / a["prepared_s"], "", None),
    ("a chunk, ms", (a["seconds"] - a["prepared_s"]) * 1e3 / CHUNKS, (b["seconds"] - b["prepared_s"]) * 1e3 / CHUNKS, of_chunks, ">= 5 x", of_chunks >= 5),
    ("peak RSS, MiB", a["peak_rss_mb"], b["peak_rss_mb"], b["peak_rss_mb"] / a["peak_rss_mb"], "", None),
    ("points on lines", a["features"], b["features"], None, "the same", a["features"] == b["features"]),
], limits, {"ours": a, "shapely": b})

theirs("make_bands", folder, str(SIDE))
nir, swir = os.path.join(folder, "nir.tif"), os.path.join(folder, "swir.tif")
results = {}
for threads in (1, 2):
    results[threads] = ours("ndwi", os.path.join(folder, f"ndwi-{threads}.tif"), f"nir=@{nir}", f"swir=@{swir}", threads=threads)
one, two = results[1], results[2]
b = theirs("ndwi", nir, swir, os.path.join(folder, "ndwi-peer.tif"))
same = theirs("same_raster", os.path.join(folder, "ndwi-2.tif"), os.path.join(folder, "ndwi-peer.tif"))["same"]
sizes = [os.path.getsize(os.path.join(folder, name)) / 1e6 for name in ("ndwi-2.tif", "ndwi-peer.tif")]
per_core, on_two = b["seconds"] / one["seconds"], b["seconds"] / two["seconds"]
memory = max(one["peak_rss_mb"], two["peak_rss_mb"])
met &= client.report(f"ndwi {SIDE:,} x {SIDE:,}, uint16 Deflate in, float32 Deflate out (peer: rasterio + numpy, a row of tiles at a time)", [
    ("one thread, s", one["seconds"], b["seconds"], per_core, ">= 1.4 x", per_core >= 1.4),
    ("two threads, s", two["seconds"], b["seconds"], on_two, ">= 2 x", on_two >= 2),
    ("processor time, s", one["cpu_s"], b["cpu_s"], b["cpu_s"] / one["cpu_s"], "", None),
    ("peak RSS, MiB", memory, b["peak_rss_mb"], b["peak_rss_mb"] / memory, "< 200", memory < 200),
    ("result, MB", sizes[0], sizes[1], sizes[1] / sizes[0], "", None),
    ("every cell", 1, 1, None, "the same", same),
], limits, {"one thread": one, "two threads": two, "rasterio": b})
sys.exit(not met)
