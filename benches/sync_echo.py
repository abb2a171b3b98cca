"""Synchronous echo of a string by 16 connections, every body checked: ours records every job, the peers record none on disk."""
import os
import statistics
import sys

import client
import peer

ROUNDS, SECONDS, TEXT = 3, 5, "water flows"
folder = client.work_folder("sync_echo")
for name in ("pywps", "pygeoapi"):
    os.makedirs(os.path.join(folder, name))

with peer.Anabranch(os.path.join(folder, "ours")) as ours, \
        peer.PyWps(os.path.join(folder, "pywps")) as pywps, \
        peer.PyGeoApi(os.path.join(folder, "pygeoapi"), "dummy") as pygeoapi:
    what = [
        (ours, client.execution("echo", {"literalInput": TEXT}), TEXT),
        (pywps, pywps.echo(TEXT), f">{TEXT}<"),
        (pygeoapi, client.execution("echo", {"text": TEXT}), TEXT),
    ]
    runs = {server.name: [] for server, _, _ in what}
    for server, (path, body, headers), expect in what:
        client.wrk(server.base, path, body, headers, expect, seconds=2)  # warm up
    # By turns, so that all of them see the same minute.
    for _ in range(ROUNDS):
        for server, (path, body, headers), expect in what:
            with client.Others(server) as others:
                run = client.wrk(server.base, path, body, headers, expect, seconds=SECONDS)
            runs[server.name].append({**run, "others_cores": others.cores})
    recorded = ours.jobs_recorded()

rate = {name: statistics.median(run["per_s"] for run in some) for name, some in runs.items()}
p99 = {name: statistics.median(run["p99_ms"] for run in some) for name, some in runs.items()}
wrong = sum(run["wrong"] + run["socket_errors"] for some in runs.values() for run in some)
others = max(run["others_cores"] for some in runs.values() for run in some)
mine = rate[ours.name]
fsync = client.fsync_ms(folder)

ok = client.report("synchronous echo, 16 connections", [
    ("answers/s (peer: PyWPS)", mine, rate[pywps.name], mine / rate[pywps.name], ">= 30 x", mine >= 30 * rate[pywps.name]),
    ("answers/s (peer: pygeoapi, records nothing)", mine, rate[pygeoapi.name], mine / rate[pygeoapi.name], "> 1 x", mine > rate[pygeoapi.name]),
    ("p99, ms (peer: PyWPS)", p99[ours.name], p99[pywps.name], p99[pywps.name] / p99[ours.name], "", None),
    ("p99, ms (peer: pygeoapi)", p99[ours.name], p99[pygeoapi.name], p99[pygeoapi.name] / p99[ours.name], "", None),
    ("wrong answers, all servers", wrong, None, None, "0", wrong == 0),
], [f"making 4 KiB durable takes {fsync:.2f} ms, so one connection that waits for the disk twice gets {500 / fsync:,.0f}/s",
    f"loopback round trip {client.loopback_us():.0f} us", f"others used up to {others:.2f} of {os.cpu_count()} cores",
    f"jobs found afterwards: {recorded}"], runs)
sys.exit(not ok)
