"""Douglas-Peucker on 100,000 lines of 50 vertices, GeoJSON by reference over loopback, answered raw."""
import json
import os
import statistics
import sys
import time

import client
import peer
from lines import LINES, VERTICES, generate

TOLERANCE, OURS, PEER = 0.001, 5, 3
folder = client.work_folder("simplify")
source = os.path.join(folder, "lines.geojson")


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
    client.fetch(f"http://{files.address}/lines.geojson")
    floor = statistics.median(client.fetch(f"http://{files.address}/lines.geojson") for _ in range(5))
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
