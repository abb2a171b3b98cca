"""A page of the list of 1,000,000 jobs, by every filter and several at once; the peer has as many as it bears.

The store is made by the server's own schema: the server makes an empty one, this script fills it with finished jobs, and the
server starts again on it. The peer, pygeoapi, keeps its jobs in TinyDB, which reads its whole file for
each request: it gets 10,000.
"""
import datetime
import json
import os
import random
import sqlite3
import statistics
import sys
import time
import uuid

import client
import peer

JOBS = int(os.environ.get("BENCH_JOBS", "1000000"))
PEER_JOBS = 10_000
REQUESTS = 60
TARGET_MS = 20
#: Share of each state: 2 succeeded, 3 failed, 4 dismissed.
STATES, SHARES = (2, 3, 4), (0.979, 0.02, 0.001)
PROCESSES, PROCESS_SHARES = ("echo", "simplify_douglas_peucker", "default:Contour", "default:Rare"), (0.6, 0.3, 0.0999, 0.0001)
BEGUN_US = 1_750_000_000_000_000
folder = client.work_folder("job_list")


def jobs():
    """One job in 10 s, durations from milliseconds to days, most of them about two seconds."""
    choice = random.Random(1)
    failed = json.dumps({"finished": {"failed": {"process_failed": {"message": "exit code 1", "detail": ""}}}})
    dismissed = json.dumps({"finished": {"dismissed": "client"}})
    details = {2: None, 3: failed, 4: dismissed}
    for n in range(JOBS):
        state, = choice.choices(STATES, SHARES)
        process, = choice.choices(PROCESSES, PROCESS_SHARES)
        created = BEGUN_US + n * 10_000_000
        finished = created + int(choice.lognormvariate(0.7, 2) * 1e6)
        yield (n + 1, uuid.UUID(int=choice.getrandbits(128), version=4).bytes, process, state, created, created, finished,
               finished, 4_000_000_000_000_000, 1, 0, details[state], "[]")


def fill(data):
    database = sqlite3.connect(os.path.join(data, "jobs.sqlite"))
    database.execute("PRAGMA synchronous=OFF")
    with database:
        database.executemany("INSERT INTO jobs (sequence, id, process, state, created, started, finished, updated, expires, attempt, "
                             "sync, detail, outputs) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)", jobs())
    database.close()


def at(n):
    return datetime.datetime.fromtimestamp(BEGUN_US / 1e6 + n * 10, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def page_ms(base, query):
    """-> median and 95th percentile of the requests, jobs of the last answer"""
    times, body = [], b""
    for _ in range(REQUESTS):
        begun = time.perf_counter()
        status, _headers, body = client.request(base, "GET", f"/jobs?{query}", headers={"Accept": "application/json"})
        times.append((time.perf_counter() - begun) * 1e3)
        if status != 200:
            raise SystemExit(f"{query}: HTTP {status}: {body[:300]}")
    return statistics.median(times), statistics.quantiles(times, n=20)[-1], json.loads(body)["jobs"]


QUERIES = [
    ("no filter", ""),
    ("status", "status=failed"),
    ("status, rare", "status=dismissed"),
    ("status, none there", "status=running"),
    ("processID", "processID=echo"),
    ("processID, rare", "processID=default:Rare"),
    ("processID, none there", "processID=unknown"),
    ("datetime, in the middle", f"datetime={at(JOBS // 2)}/{at(JOBS // 2 + 1000)}"),
    ("datetime, the oldest", f"datetime=../{at(50)}"),
    ("minDuration", "minDuration=2"),
    ("minDuration, rare", "minDuration=2000"),
    ("minDuration, none there", "minDuration=100000000"),
    ("maxDuration", "maxDuration=2"),
    ("maxDuration, rare", "maxDuration=0"),
    ("maxDuration, at the edge of a class", "maxDuration=4"),
    ("minDuration, at the edge of a class", "minDuration=16"),
    ("durations between", "minDuration=100&maxDuration=110"),
    ("type", "type=process"),
    ("status, processID", "status=failed&processID=default:Rare"),
    ("status, processID, duration", "status=failed,dismissed&processID=echo&minDuration=60"),
    ("all of them", f"type=process&status=successful&processID=echo,default:Contour&datetime={at(JOBS // 2)}/..&minDuration=10&maxDuration=1000"),
    ("1,000 jobs on the page", "limit=1000"),
]

data = os.path.join(folder, "ours")
with peer.Anabranch(data):
    pass
begun = time.perf_counter()
fill(os.path.join(data, "data"))
filled_s = time.perf_counter() - begun
rows, details = [], {"jobs": JOBS, "filled_s": filled_s}
with peer.Anabranch(data) as server:
    rows.append(("start to the first answer, ms", server.start_s * 1e3, None, None, "< 2000", server.start_s < 2))
    details["start_s"] = server.start_s
    # The deepest page: by cursor, it costs as much as the first.
    status, _, body = client.request(server.base, "GET", f"/jobs?datetime=../{at(JOBS // 10)}")
    next_page = next(link["href"] for link in json.loads(body)["links"] if link["rel"] == "next").partition("?")[2]
    for name, query in [*QUERIES, ("a page far down, by cursor", next_page)]:
        page_ms(server.base, query)
        median, p95, jobs_found = page_ms(server.base, query)
        rows.append((f"{name}: p50 ms ({len(jobs_found)} jobs)", median, None, None, "", None))
        rows.append((f"{name}: p95 ms", p95, None, None, f"< {TARGET_MS}", p95 < TARGET_MS))
        details[name] = [median, p95, len(jobs_found)]

peer_folder = os.path.join(folder, "pygeoapi")
os.makedirs(peer_folder)
with open(os.path.join(peer_folder, "jobs.db"), "w") as f:
    one = {"type": "process", "process_id": "echo", "created": at(0), "started": at(0), "finished": at(1), "updated": at(1), "status": "successful",
           "location": None, "mimetype": "application/json", "message": "Job complete", "progress": 100}
    json.dump({"_default": {str(n): {**one, "identifier": str(uuid.UUID(int=n))} for n in range(1, PEER_JOBS + 1)}}, f)
with peer.PyGeoApi(peer_folder, "tinydb") as server:
    REQUESTS = 10
    for name, query in (("no filter", "f=json&limit=100"),):
        median, p95, jobs_found = page_ms(server.base, query)
        rows.append((f"pygeoapi with {PEER_JOBS:,} jobs, {name}: p50 ms ({len(jobs_found)} jobs)", None, median, median / details[name][0], "", None))
        details[f"pygeoapi, {name}"] = [median, p95]

ok = client.report(f"a page of the list of {JOBS:,} jobs, 100 a page (peer: pygeoapi, TinyDB, {PEER_JOBS:,} jobs)", rows,
                   [f"making 4 KiB durable takes {client.fsync_ms(folder):.2f} ms"], details)
sys.exit(not ok)
