"""Streams: the simplify of 140 MB whole and in pieces; the first tile of NDWI; how long a chunk takes from one stream to the next; many
streams at once.

The peers of the first are ogr2ogr and geopandas, which read the same file. The others have none that can be run: the limits are the poll period and the loopback.
"""
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import client
import peer
from lines import generate

RATE, CHUNKS, POLL_MS, MANY, SHORT = 100, 500, 1000, 500, 40
TOLERANCE, RUNS, SIDE = 0.001, 3, 10_000
PYTHON = os.environ.get("PEER_PYTHON") or os.path.join(client.HERE, ".venv/bin/python")
GEOTIFF = "image/tiff; application=geotiff"
GEOJSON = "application/geo+json"
PLAYLIST = "application/x-ogc-playlist+" + GEOJSON
folder = client.work_folder("streams")


def submit(server, process, inputs, media_type=None):
    """-> path of the job"""
    members = {"outputs": {"result": {"format": {"mediaType": media_type}}}} if media_type else {}
    path, body, headers = client.execution(process, inputs, respond_async=True, **members)
    status, headers, answer = client.request(server.base, "POST", path, body, headers)
    if status != 201:
        raise SystemExit(f"{process}: HTTP {status} {answer[:500]!r}")
    return urlsplit(headers["Location"]).path


def events(server, job):
    """The time of each chunk of a stream, and of its end, as a listener sees them."""
    u = urlsplit(server.base)
    connection = HTTPConnection(u.hostname, u.port, timeout=300)
    connection.request("GET", f"{job}/results/result/playlist", headers={"Accept": "text/event-stream"})
    answer = connection.getresponse()
    times, name = [], None
    while line := answer.fp.readline():
        if line.startswith(b"event: "):
            name = line[7:].strip().decode()
            if name == "chunk":
                times.append(time.perf_counter())
            elif name == "end":
                break
    connection.close()
    return times, time.perf_counter()


class Growing:
    """A playlist that gets a chunk every so often, from a server of its own."""

    def __init__(self, rate, chunks):
        self.published, growing = [], self
        feature = '{"type":"FeatureCollection","features":[{"type":"Feature","properties":{},"geometry":{"type":"Point","coordinates":[1,2]}}]}'

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                if self.path == "/list":
                    n = len(growing.published)
                    end = "#PLAYLIST-END\n" if n == chunks else ""
                    body = "#SPATIAL-DATA-PLAYLIST\n" + "".join(f"/chunk{i}\n" for i in range(n)) + end
                else:
                    body = feature
                self.send_response(200)
                self.send_header("Content-Type", "text/plain" if self.path == "/list" else GEOJSON)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = "127.0.0.1:%d" % self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.grow = lambda: [(self.published.append(time.perf_counter()), time.sleep(1 / rate)) for _ in range(chunks)]

    def start(self):
        threading.Thread(target=self.grow, daemon=True).start()


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


# ---------------------------------------------------------------- whole and in pieces
source = os.path.join(folder, "lines.geojson")
generate(source)
size = os.path.getsize(source)

with client.FileServer(folder) as files:
    inputs = {"data": {"href": f"http://{files.address}/lines.geojson", "type": GEOJSON}, "tolerance": TOLERANCE}
    with peer.Anabranch(os.path.join(folder, "ours"), f'[egress]\nallow = ["{files.address}"]\n') as server:
        whole, pieces, first, counts = [], [], [], []
        for _ in range(RUNS):
            path, body, headers = client.execution("simplify_douglas_peucker", inputs, response="raw", outputs={"result": {}})
            t = time.perf_counter()
            status, _, answer = client.request(server.base, "POST", path, body, headers)
            whole.append(time.perf_counter() - t)
            assert status == 200, answer[:300]
            t = time.perf_counter()
            times, end = events(server, submit(server, "OutputStreamingSimplifyDouglasPeucker", inputs))
            pieces.append(end - t)
            first.append(times[0] - t)
            counts.append(len(times))
        floor = client.fetch(f"http://{files.address}/lines.geojson")
        peak = server.peak_rss_mb()
out = os.path.join(folder, "ogr.geojsonl")
t = time.perf_counter()
subprocess.run([shutil.which("ogr2ogr") or "ogr2ogr", "-f", "GeoJSONSeq", "-simplify", str(TOLERANCE), out, source], check=True)
ogr = time.perf_counter() - t
arguments = ["simplify", source, str(TOLERANCE), os.path.join(folder, "geopandas.geojson")]
geopandas = json.loads(subprocess.run([PYTHON, os.path.join(client.HERE, "peers/geo.py"), *arguments], check=True, stdout=subprocess.PIPE).stdout)["seconds"]
whole, pieces, first = map(statistics.median, (whole, pieces, first))
ok = client.report(f"simplify {size / 1e6:.0f} MB, whole and in {counts[-1]} pieces (peer: ogr2ogr -simplify)", [
    ("whole, request to last byte, s", whole, ogr, ogr / whole, ">= 40 x", ogr / whole >= 40),
    ("the same (peer: geopandas)", whole, geopandas, geopandas / whole, ">= 20 x", geopandas / whole >= 20),
    ("in pieces, request to end, s", pieces, ogr, ogr / pieces, "<= 1.1 x whole", pieces <= 1.1 * whole),
    ("first chunk seen after, s", first, ogr, ogr / first, f"fetching ({floor * 1e3:.0f} ms) + 0.05", first <= floor + 0.05),
    ("peak RSS of the server, MiB", peak, None, None, "< 64", peak < 64),
], [f"receiving the file alone takes {floor * 1e3:.0f} ms; a stream is cut meanwhile, the whole is fetched first", f"memory copy {client.memcpy_gb_s():.1f} GB/s"],
    {"whole_s": whole, "pieces_s": pieces, "first_s": first, "chunks": counts, "ogr2ogr_s": ogr, "geopandas_s": geopandas})

# ---------------------------------------------------------------- a raster in tiles
def stored(server, href):
    """A file as a result of the server's own. -> its address, from which it is taken without HTTP and without a copy"""
    job = submit(server, "echo", {"imageInput": {"href": href, "type": GEOTIFF}})
    while (state := json.loads(client.request(server.base, "GET", job)[2])["status"]) not in client.TERMINAL:
        time.sleep(0.01)
    assert state == "successful", state
    return f"{server.base}{job}/results/imageOutput"


subprocess.run([PYTHON, os.path.join(client.HERE, "peers/geo.py"), "make_bands", folder, str(SIDE)], check=True, stdout=subprocess.DEVNULL)
bands = ("nir", "swir")
size = sum(os.path.getsize(os.path.join(folder, f"{band}.tif")) for band in bands)
with client.FileServer(folder) as files:
    elsewhere = {band: f"http://{files.address}/{band}.tif" for band in bands}
    with peer.Anabranch(os.path.join(folder, "tiles"), f'[egress]\nallow = ["{files.address}"]\n') as server:
        here = {band: stored(server, href) for band, href in elsewhere.items()}
        first, fetched, whole, counts = [], [], [], []
        for _ in range(RUNS):
            for hrefs, seen in ((here, first), (elsewhere, fetched)):
                inputs = {band: {"href": href, "type": GEOTIFF} for band, href in hrefs.items()}
                t = time.perf_counter()
                times, end = events(server, submit(server, "OutputStreamingNdwi", inputs))
                seen.append(times[0] - t)
                whole.append(end - t)
                counts.append(len(times))
        floor = sum(client.fetch(href) for href in elsewhere.values())
        peak = server.peak_rss_mb()
first, fetched, whole = map(statistics.median, (first, fetched, whole))
ok &= client.report(f"ndwi {SIDE:,} x {SIDE:,}, uint16 Deflate, as a stream of {counts[-1]} tiles", [
    ("first tile seen, bands at the server, s", first, None, None, "<= 0.05", first <= 0.05),
    ("the same, bands by reference, s", fetched, None, None, "", None),
    ("request to the end, s", whole, None, None, "", None),
    ("peak RSS of the server, MiB", peak, None, None, "", None),
], [f"receiving both bands alone takes {floor * 1e3:.0f} ms ({size / 1e6:.0f} MB): a raster is cut once it is there"],
    {"first_s": first, "fetched_first_s": fetched, "whole_s": whole, "tiles": counts})

# ---------------------------------------------------------------- from one stream to the next
growing, short = Growing(RATE, CHUNKS), Growing(RATE, SHORT)
config = f'[egress]\nallow = ["{growing.address}", "{short.address}"]\n[streaming]\npoll_ms = {POLL_MS}\n'
with peer.Anabranch(os.path.join(folder, "chain"), config) as server:
    process = "FullStreamingSimplifyDouglasPeucker"
    upstream = submit(server, process, {"data": {"href": f"http://{growing.address}/list", "type": PLAYLIST}, "tolerance": 0})
    own = {"href": f"{server.base}{upstream}/results/result/playlist", "type": PLAYLIST}
    downstream = submit(server, process, {"data": own, "tolerance": 0})
    seen = {}
    readers = [threading.Thread(target=lambda job=job: seen.__setitem__(job, events(server, job)[0])) for job in (upstream, downstream)]
    for reader in readers:
        reader.start()
    growing.start()
    for reader in readers:
        reader.join()
    polled = [seen_at - published for seen_at, published in zip(seen[upstream], growing.published)]
    pushed = [later - earlier for earlier, later in zip(seen[upstream], seen[downstream])]
    assert len(polled) == len(pushed) == CHUNKS, (len(polled), len(pushed))
    short.start()
    upstream = submit(server, process, {"data": {"href": f"http://{short.address}/list", "type": PLAYLIST}, "tolerance": 0})
    own = {"href": f"{server.base}{upstream}/results/result/playlist", "type": PLAYLIST}
    before = server.rss_mb()
    t = time.perf_counter()
    with client.Others(server) as others:
        jobs = [submit(server, process, {"data": own, "tolerance": 0}) for _ in range(MANY)]
        counts = []
        for job in jobs:
            times, _ = events(server, job)
            counts.append(len(times))
    many_s = time.perf_counter() - t
    after = server.peak_rss_mb()
rate = MANY * SHORT / many_s
ok &= client.report(f"chunks at {RATE}/s, {CHUNKS} of them; then {MANY} streams of {SHORT} chunks at once", [
    ("published to seen, playlist polled, p99, s", percentile(polled, 0.99), None, None, f"<= {POLL_MS / 1e3:g} + 0.05", percentile(polled, 0.99) <= POLL_MS / 1e3 + 0.05),
    ("from stream to stream of one server, p99, s", percentile(pushed, 0.99), None, None, "<= 0.05", percentile(pushed, 0.99) <= 0.05),
    ("chunks of many streams, /s", rate, None, None, "", None),
    ("all chunks of all streams there", float(sum(counts)), None, None, f"{MANY * SHORT:,}", counts == [SHORT] * MANY),
    ("server's memory before, MiB", before, None, None, "", None),
    ("its peak with many streams, MiB", after, None, None, "", None),
], [f"loopback round trip {client.loopback_us():.0f} us", f"others used up to {others.cores:.2f} of {os.cpu_count()} cores"],
    {"polled_s": polled, "pushed_s": pushed, "many_s": many_s})
sys.exit(not ok)
