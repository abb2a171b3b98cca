"""A GeoTIFF of 1 GB: inline as base64 in a WPS 1.0.0 Execute, by reference, and fetched. What memory does it take?

    ANABRANCH_BENCH_MB=100 benches/run.sh big_data     smaller, for a look

Each row has a server of its own, for the kernel's high-water mark can't be set back. All bytes of all answers are compared.
"""
import base64
import http.client
import json
import mmap
import os
import shutil
import socket
import struct
import sys
import time
from urllib.parse import urlsplit

import client
import peer

MB = int(os.environ.get("ANABRANCH_BENCH_MB", "1000"))
# The peer is tried with these until one is answered rightly.
PEER_MB = [MB, 100, 7]
PEAK_MIB_MAX = 100
MEDIA_TYPE = "image/tiff; application=geotiff"
BLOCK = 1 << 20
folder = client.work_folder("big_data")


# ---------------------------------------------------------------- what is sent
def geotiff(path, megabytes):
    """Writes an uncompressed GeoTIFF: 16 bits a pixel, in strips, EPSG:32632."""
    width, rows_of_strip = 10_000, 50
    strips = megabytes * 1_000_000 // (width * 2 * rows_of_strip)
    strip = width * 2 * rows_of_strip
    values = {  # tag: (type, values), in ascending order
        256: ("H", [width]), 257: ("I", [strips * rows_of_strip]), 258: ("H", [16]), 259: ("H", [1]), 262: ("H", [1]),
        273: ("I", None), 277: ("H", [1]), 278: ("I", [rows_of_strip]), 279: ("I", [strip] * strips), 339: ("H", [1]),
        33550: ("d", [10.0, 10.0, 0.0]), 33922: ("d", [0.0, 0.0, 0.0, 500_000.0, 5_200_000.0, 0.0]),
        34735: ("H", [1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32632]),
    }
    directory = 2 + 12 * len(values) + 4
    sizes = {"H": 2, "I": 4, "d": 8}
    outside = sum(sizes[kind] * len(v) for kind, v in ((k, v or [0] * strips) for k, v in values.values()) if sizes[kind] * len(v) > 4)
    first = 8 + directory + outside
    values[273] = ("I", [first + i * strip for i in range(strips)])
    head, tail = struct.pack("<2sHIH", b"II", 42, 8, len(values)), b""
    for tag, (kind, numbers) in values.items():
        data = struct.pack(f"<{len(numbers)}{kind}", *numbers)
        if len(data) > 4:
            data, tail = struct.pack("<I", 8 + directory + len(tail)), tail + data
        head += struct.pack("<HHI4s", tag, {"H": 3, "I": 4, "d": 12}[kind], len(numbers), data)
    with open(path, "wb") as f:
        f.write(head + struct.pack("<I", 0) + tail)
        pixels = os.urandom(strip)
        for _ in range(strips):
            f.write(pixels)
    return path


def execute(process, given, received, data):
    """The parts of an Execute request around `data`, answered with the raw output."""
    return [
        ('<wps:Execute service="WPS" version="1.0.0" xmlns:wps="http://www.opengis.net/wps/1.0.0" '
         'xmlns:ows="http://www.opengis.net/ows/1.1" xmlns:xlink="http://www.w3.org/1999/xlink">'
         f"<ows:Identifier>{process}</ows:Identifier><wps:DataInputs><wps:Input><ows:Identifier>{given}</ows:Identifier>").encode(),
        data,
        ("</wps:Input></wps:DataInputs><wps:ResponseForm>"
         f'<wps:RawDataOutput mimeType="{MEDIA_TYPE}"><ows:Identifier>{received}</ows:Identifier></wps:RawDataOutput>'
         "</wps:ResponseForm></wps:Execute>").encode(),
    ]


def inline(path, tiff, process, given, received):
    """Writes the request with the file in it."""
    begin, _, end = execute(process, given, received, None)
    with open(path, "wb") as out, open(tiff, "rb") as f:
        out.write(begin + f'<wps:Data><wps:ComplexData mimeType="{MEDIA_TYPE}" encoding="base64">'.encode())
        while block := f.read(3 * BLOCK):
            out.write(base64.b64encode(block))
        out.write(b"</wps:ComplexData></wps:Data>" + end)
    return path


# ---------------------------------------------------------------- sending and comparing
def ask(base, method, path, body=None):
    """Sends a file, or bytes, in the cheapest way. -> the answer, not read yet"""
    u = urlsplit(base)
    s = socket.create_connection((u.hostname, u.port), 600)
    size = os.path.getsize(body) if isinstance(body, str) else len(body or b"")
    s.sendall(f"{method} {path} HTTP/1.1\r\nHost: {u.netloc}\r\nContent-Type: text/xml\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n".encode())
    if isinstance(body, str):
        with open(body, "rb") as f:
            s.sendfile(f)
    elif body:
        s.sendall(body)
    answer = http.client.HTTPResponse(s, method=method)
    answer.begin()
    return answer


def is_same(answer, tiff):
    """The answer holds the file and nothing else."""
    with open(tiff, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as expected:
        view, at, block = memoryview(expected), 0, bytearray(BLOCK)
        while count := answer.readinto(block):
            if memoryview(block)[:count] != view[at:at + count]:
                break
            at += count
        is_all = count == 0 and at == len(expected)
        view.release()
    return answer.status == 200 and is_all


def has_base64(answer, tiff):
    """The answer holds the file as base64, among other things."""
    with open(tiff, "rb") as f:
        begin = base64.b64encode(f.read(3 * BLOCK))
        pending = b""
        while begin not in pending:
            block = answer.read(BLOCK)
            if not block:
                return False
            pending += block
        pending = pending[pending.index(begin) + len(begin):]
        while block := f.read(3 * BLOCK):
            expected = base64.b64encode(block)
            pending += answer.read(len(expected) - len(pending)) if len(pending) < len(expected) else b""
            if not pending.startswith(expected):
                return False
            pending = pending[len(expected):]
        return answer.status == 200 and answer.read() is not None


def measured(server, check):
    """-> what it took; a wrong answer is fatal to ours and only noted of a peer"""
    with client.Others(server) as others:
        begin, cpu = time.perf_counter(), server.cpu_s()
        right = check()
        seconds = time.perf_counter() - begin
    return {"right": right, "s": seconds, "cpu_s": server.cpu_s() - cpu, "peak_mib": server.peak_rss_mb(), "others_cores": others.cores}


# ---------------------------------------------------------------- ours
tiff = geotiff(os.path.join(folder, "raster.tif"), MB)
size = os.path.getsize(tiff)
runs = {}

with peer.Anabranch(os.path.join(folder, "inline")) as ours:
    idle = ours.rss_mb()
    request = inline(os.path.join(folder, "request.xml"), tiff, "echo", "imageInput", "imageOutput")
    runs["inline"] = measured(ours, lambda: is_same(ask(ours.base, "POST", "/wps", request), tiff))
os.remove(request)
shutil.rmtree(os.path.join(folder, "inline"))

with client.FileServer(folder) as files:
    kept = os.path.join(folder, "reference")
    with peer.Anabranch(kept, f'[egress]\nallow = ["{files.address}"]\n') as ours:
        href = f'<wps:Reference mimeType="{MEDIA_TYPE}" xlink:href="http://{files.address}/raster.tif"/>'.encode()
        request = b"".join(execute("echo", "imageInput", "imageOutput", href))
        runs["reference"] = measured(ours, lambda: is_same(ask(ours.base, "POST", "/wps", request), tiff))
        job = json.loads(client.request(ours.base, "GET", "/jobs", headers={"Accept": "application/json"})[2])["jobs"][0]["jobID"]
with peer.Anabranch(kept) as ours:
    runs["raw"] = measured(ours, lambda: is_same(ask(ours.base, "GET", f"/jobs/{job}/results/imageOutput"), tiff))
with peer.Anabranch(kept) as ours:
    runs["document"] = measured(ours, lambda: has_base64(ask(ours.base, "GET", f"/wps/status/{job}"), tiff))
shutil.rmtree(kept)

# ---------------------------------------------------------------- the peer, the same request
other, other_mb = None, 0
for other_mb in dict.fromkeys(mb for mb in PEER_MB if mb <= MB):
    small = geotiff(os.path.join(folder, f"{other_mb}.tif"), other_mb)
    request = inline(os.path.join(folder, "request.xml"), small, "echo_raster", "raster", "raster")
    at = os.path.join(folder, f"pywps{other_mb}")
    os.makedirs(at)
    with peer.PyWps(at, workers=1) as pywps:
        other = measured(pywps, lambda: is_same(ask(pywps.base, "POST", "/wps", request), small))
    runs[f"PyWPS, {other_mb} MB"] = other
    if other["right"]:
        break

# ---------------------------------------------------------------- what the machine can do
begin = time.perf_counter()
with open(tiff, "rb") as source, open(os.path.join(folder, "copy"), "wb") as copy:
    shutil.copyfileobj(source, copy, BLOCK)
    os.fdatasync(copy.fileno())
copy_s = time.perf_counter() - begin
with client.FileServer(folder) as files:
    begin = time.perf_counter()
    is_same(ask("http://" + files.address, "GET", "/raster.tif"), tiff)
    receive_s = time.perf_counter() - begin

rows = []
for name, run in runs.items():
    if name.startswith("PyWPS"):
        continue
    theirs = other if name == "inline" and other and other["right"] else None
    rate, peer_rate = size / run["s"] / 1e6, theirs and other_mb / theirs["s"]
    what = {"inline": "inline base64, raw answer", "reference": "by reference, raw answer", "raw": "fetching a raw output",
            "document": "fetching it inside an ExecuteResponse"}[name]
    rows.append((f"{what}, peak RSS MiB", run["peak_mib"], theirs and theirs["peak_mib"], theirs and theirs["peak_mib"] / run["peak_mib"],
                 f"< {PEAK_MIB_MAX}, all bytes right", run["right"] and run["peak_mib"] < PEAK_MIB_MAX))
    rows.append((f"{what}, s", run["s"], theirs and theirs["s"], None, "", None))
    rows.append((f"{what}, MB/s", rate, peer_rate, peer_rate and rate / peer_rate, "", None))
refused = [name for name, run in runs.items() if not run["right"]]
ok = client.report(f"a GeoTIFF of {size / 1e6:,.0f} MB (peer: {pywps.name}, {other_mb} MB)", rows, [
    f"copying the file to disk takes {copy_s:.2f} s, receiving and comparing it alone {receive_s:.2f} s",
    f"the idle server takes {idle:.1f} MiB", f"not answered rightly: {', '.join(refused) or 'none'}",
    f"others used up to {max(run['others_cores'] for run in runs.values()):.2f} of {os.cpu_count()} cores",
], runs)
sys.exit(not ok)
