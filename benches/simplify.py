"""Douglas-Peucker on 100,000 lines of 50 vertices, GeoJSON by reference over loopback, answered raw."""
import json
import math
import os
import random
import socket
import statistics
import sys
import time
from urllib.parse import urlsplit

import client
import peer

LINES, VERTICES, TOLERANCE, OURS, PEER = 100_000, 50, 0.001, 5, 3
folder = client.work_folder("simplify")
source = os.path.join(folder, "lines.geojson")


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


def fetch(base):
    """Only receives the file: the floor under every answer here."""
    u = urlsplit(base)
    t = time.perf_counter()
    with socket.create_connection((u.hostname, u.port)) as s:
        s.sendall(b"GET /lines.geojson HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        buffer = bytearray(1 << 20)
        while s.recv_into(buffer):
            pass
    return time.perf_counter() - t


def run(server, process, members, n):
    href = {"href": f"http://{files.address}/lines.geojson", "type": "application/geo+json"}
    path, body, headers = client.execution(process, {"data": href, "tolerance": TOLERANCE}, **members)
    headers["Accept"] = "application/geo+json, application/json"
    times = []
    with client.Others(server) as others:
        for _ in range(n):
            t = time.perf_counter()
            status, _, answer = client.request(server.base, "POST", path, body, headers)
            times.append(time.perf_counter() - t)
            if status != 200:
                raise SystemExit(f"{server.name}: HTTP {status} {answer[:500]!r}")
    return {"times_s": times, "median_s": statistics.median(times), "answer_mb": len(answer) / 1e6, "check": check(answer),
            "peak_rss_mb": server.peak_rss_mb(), "others_cores": others.cores}


def check(answer):
    """Features, vertices, and the sum of the coordinates: what a wrong answer can hardly keep."""
    lines = [feature["geometry"]["coordinates"] for feature in json.loads(answer)["features"]]
    return [len(lines), sum(map(len, lines)), round(sum(abs(x) + abs(y) for line in lines for x, y in line), 1)]


generate(source)
os.makedirs(os.path.join(folder, "pygeoapi"))
with client.FileServer(folder) as files:
    config = f'[egress]\nallow = ["{files.address}"]\n'
    fetch(f"http://{files.address}")
    floor = statistics.median(fetch(f"http://{files.address}") for _ in range(5))
    with peer.Anabranch(os.path.join(folder, "ours"), config) as server:
        ours = run(server, "simplify_douglas_peucker", {"response": "raw", "outputs": {"result": {}}}, OURS)
    with peer.PyGeoApi(os.path.join(folder, "pygeoapi"), "dummy") as server:
        theirs = run(server, "simplify", {}, PEER)

same = ours["check"] == theirs["check"]
ratio = theirs["median_s"] / ours["median_s"]
size = os.path.getsize(source)
ok = client.report(f"simplify {LINES:,} lines x {VERTICES} vertices, {size / 1e6:.0f} MB by reference (peer: pygeoapi + shapely)", [
    ("request to last byte, median, s", ours["median_s"], theirs["median_s"], ratio, ">= 20 x", ratio >= 20),
    ("peak RSS of the server, MiB", ours["peak_rss_mb"], theirs["peak_rss_mb"], theirs["peak_rss_mb"] / ours["peak_rss_mb"], "< 100", ours["peak_rss_mb"] < 100),
    ("vertices left", ours["check"][1], theirs["check"][1], None, "the same", same),
], [f"receiving the file alone takes {floor * 1e3:.0f} ms ({size / floor / 1e9:.1f} GB/s over loopback)", f"memory copy {client.memcpy_gb_s():.1f} GB/s",
    f"others used up to {max(ours['others_cores'], theirs['others_cores']):.2f} of {os.cpu_count()} cores"], {"ours": ours, "pygeoapi": theirs})
sys.exit(not ok)
