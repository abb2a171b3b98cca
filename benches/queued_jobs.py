"""10,000 asynchronous jobs that wait while one runs: what each takes of the server's memory."""
import os
import sys
import time

import client
import peer

JOBS, IN_FLIGHT = 10_000, 64
LIMIT_MB = 150
CONFIG = f"[limits]\nparallel_runs_max = 1\nqueued_jobs_max = {2 * JOBS}\n"
folder = client.work_folder("queued_jobs")


def submission(server, i):
    path, body, headers = client.execution("echo", {"literalInput": f"job {i}", "pause": 600}, respond_async=True)
    return client.raw_request(server.base, "POST", path, body, headers)


def settled_mb(server):
    """When nothing more comes: what has been written is written, and its buffers are free."""
    time.sleep(3)
    return server.rss_mb()


with peer.Anabranch(os.path.join(folder, "server"), CONFIG) as server:
    idle = settled_mb(server)
    # One that runs, and what a server takes at its first jobs whoever many follow.
    _, answers = client.burst(server.base, [submission(server, i) for i in range(200)], IN_FLIGHT)
    few = settled_mb(server)
    began, answers = client.burst(server.base, [submission(server, i) for i in range(200, JOBS + 1)], IN_FLIGHT)
    took = time.time() - began
    lost = sum(answer is None or answer[0] != 201 for answer in answers)
    many, peak = settled_mb(server), server.peak_rss_mb()

each = (many - few) * 1024 / (JOBS + 1 - 200)
ok = client.report(f"{JOBS:,} asynchronous jobs wait while one runs", [
    ("RSS of the server, MiB, idle", idle, None, None, "", None),
    ("with 200 jobs", few, None, None, "", None),
    ("with all of them", many, None, None, f"< {LIMIT_MB}", many < LIMIT_MB),
    ("peak", peak, None, None, f"< {LIMIT_MB}", peak < LIMIT_MB),
    ("a job that waits, KiB", each, None, None, "< 12", each < 12),
    ("not accepted", lost, None, None, "0", lost == 0),
], [f"accepted at {JOBS / took:,.0f}/s"], {"idle_mb": idle, "few_mb": few, "many_mb": many, "peak_mb": peak, "job_kib": each})
sys.exit(not ok)
