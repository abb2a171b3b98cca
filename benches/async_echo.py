"""500 asynchronous echo jobs, all of them in flight at once, until the last is done; none may be lost."""
import os
import statistics
import sys

import client
import peer

JOBS, ROUNDS = 500, 3
folder = client.work_folder("async_echo")


def run(server, process, name):
    requests = []
    for i in range(JOBS):
        path, body, headers = client.execution(process, {name: f"job {i}"}, respond_async=True)
        requests.append(client.raw_request(server.base, "POST", path, body, headers))
    client.submit_all(server.base, requests[:20], 4)  # warm up
    with client.Others(server) as others:
        result = client.submit_all(server.base, requests, JOBS)
    return {**result, "others_cores": others.cores}


# A fresh server for each round: the peer rewrites all its jobs for each new one, and gets slower with every job it keeps.
ours, theirs = [], []
for i in range(ROUNDS):
    with peer.Anabranch(os.path.join(folder, f"ours{i}")) as server:
        ours.append(run(server, "echo", "literalInput"))
    os.makedirs(os.path.join(folder, f"pygeoapi{i}"))
    with peer.PyGeoApi(os.path.join(folder, f"pygeoapi{i}"), "tinydb") as server:
        theirs.append(run(server, "echo", "text"))

mine = statistics.median(r["per_s"] for r in ours)
their = statistics.median(r["per_s"] for r in theirs)
recorded = [r["recorded_per_s"] for r in ours if r["recorded_per_s"]]
their_recorded = [r["recorded_per_s"] for r in theirs if r["recorded_per_s"]]
lost = max(JOBS - r["states"].get("successful", 0) for r in ours)
their_lost = max(JOBS - r["states"].get("successful", 0) for r in theirs)
fsync = client.fsync_ms(folder)

ok = client.report(f"asynchronous echo, {JOBS} jobs at once (peer: pygeoapi, TinyDB, empty at first)", [
    ("jobs/s, until the client has seen the last one done", mine, their, mine / their, ">= 2,000", mine >= 2000),
    ("jobs/s, until the last finish time on record", statistics.median(recorded) if recorded else None,
     statistics.median(their_recorded) if their_recorded else None, None, "", None),
    ("submission of all, ms", statistics.median(r["submit_s"] for r in ours) * 1e3, statistics.median(r["submit_s"] for r in theirs) * 1e3, None, "", None),
    ("not successful, worst round", lost, their_lost, None, "0", lost == 0),
], [f"making 4 KiB durable takes {fsync:.2f} ms: a server that waits for the disk for every acceptance alone gets {1000 / fsync:,.0f}/s",
    f"others used up to {max(r['others_cores'] for r in ours + theirs):.2f} of {os.cpu_count()} cores"], {"ours": ours, "pygeoapi": theirs})
sys.exit(not ok)
