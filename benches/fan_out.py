"""One stream over one, two and four agents, each piece 200 ms of work that takes no processor: how much faster it is with more agents.

No peer: neither WPS Remote nor the streaming WPS of 2012 spreads one request over machines.
"""
import os
import sys
import time

import client
import peer

WORK_MS, CHUNKS, AGENTS = 200, 80, (1, 2, 4)
GEOJSON = "application/geo+json"
SERVICE = f"""
identifier = "Work"
namespace = "default"
title = "Waits, and passes on what it got"
idempotent = true
[chunking]
inputs = ["data"]
output = "result"
cut = "features"
[inputs.data]
type = "complex"
formats = ["{GEOJSON}"]
[outputs.result]
type = "complex"
formats = ["{GEOJSON}"]
file = "out.geojson"
[command]
program = "/bin/sh"
arguments = ["-c", 'sleep {WORK_MS / 1000}; cat "$1" > out.geojson', "work", "{{data}}"]
[capacity]
runs = 1
"""
folder = client.work_folder("fan_out")
services = os.path.join(folder, "services")
os.makedirs(services)
with open(os.path.join(services, "work.toml"), "w") as f:
    f.write(SERVICE)

features = [{"type": "Feature", "properties": {"n": n}, "geometry": {"type": "Point", "coordinates": [n, 1]}} for n in range(CHUNKS)]
inputs = {"data": {"value": {"type": "FeatureCollection", "features": features}, "mediaType": GEOJSON}, "NumberOfChunks": CHUNKS}
took = {}
for count in AGENTS:
    with peer.Anabranch(os.path.join(folder, f"ours-{count}")) as server:
        agents = [server.agent(f"a{i}", services) for i in range(count)]
        try:
            server.wait_for_process("default:OutputStreamingWork")
            time.sleep(1)  # until all have reported
            path, body, headers = client.execution("default:OutputStreamingWork", inputs, response="raw", outputs={"result": {}})
            with client.Others(server) as others:
                t = time.perf_counter()
                status, _, answer = client.request(server.base, "POST", path, body, headers)
                took[count] = time.perf_counter() - t
            if status != 200:
                raise SystemExit(f"{count} agents: HTTP {status} {answer[:300]!r}")
            assert answer.count(b"/chunks/") == CHUNKS or answer.count(b'"n"') == CHUNKS, answer[:300]
        finally:
            for agent in agents:
                agent.stop()

rows = [(f"{CHUNKS} chunks, one agent, s", took[1], None, None, "", None)]
for count in AGENTS[1:]:
    faster = took[1] / took[count]
    rows.append((f"{count} agents, s", took[count], None, None, "", None))
    rows.append((f"{count} agents, times as fast as one", faster, None, None, f">= {0.9 * count:g}", faster >= 0.9 * count))
ideal = CHUNKS * WORK_MS / 1000
ok = client.report(f"one stream of {CHUNKS} chunks of {WORK_MS} ms over agents of one slot each", rows, [
    f"the work alone is {ideal:g} s by one", f"starting /bin/date takes {client.spawn_ms('/bin/date'):.1f} ms",
    f"others used up to {others.cores:.2f} of {os.cpu_count()} cores"], {"took_s": took})
sys.exit(not ok)
