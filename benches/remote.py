"""Executables on agents: how soon one starts, and whether 1,000 runs on four agents all arrive."""
import json
import os
import statistics
import sys
import time

import client
import peer

STARTS, RUNS, AGENTS = 200, 1000, 4
folder = client.work_folder("remote")
services = os.path.join(folder, "services")
os.makedirs(services)
for name, text in (("true", peer.TRUE_SERVICE), ("clock", peer.CLOCK_SERVICE)):
    with open(os.path.join(services, name + ".toml"), "w") as f:
        f.write(text)

with peer.Anabranch(os.path.join(folder, "ours")) as server:
    # One agent, one run after another: date prints its own clock, which on this machine is also the client's.
    with server.agent("a0", services):
        server.wait_for_process("default:Clock")
        path, body, headers = client.execution("default:Clock", {}, response="document")
        starts, answers = [], []
        for i in range(STARTS + 10):
            before = time.time_ns()
            status, _, answer = client.request(server.base, "POST", path, body, headers)
            after = time.time_ns()
            if status != 200:
                raise SystemExit(f"run {i}: HTTP {status} {answer[:300]!r}")
            began = int(next(iter(peer.outputs(json.loads(answer)))))
            if i >= 10:  # warm
                starts.append((began - before) / 1e6)
                answers.append((after - before) / 1e6)

    agents = [server.agent(f"b{i}", services) for i in range(AGENTS)]
    try:
        server.wait_for_process("default:True")
        time.sleep(1)  # until all four have reported
        path, body, headers = client.execution("default:True", {}, respond_async=True)
        requests = [client.raw_request(server.base, "POST", path, body, headers)] * RUNS
        client.submit_all(server.base, requests[:20], 4)
        with client.Others(server) as others:
            many = client.submit_all(server.base, requests, 100)
        busy = [agent.cpu_s() for agent in agents]
    finally:
        for agent in agents:
            agent.stop()

lost = RUNS - many["states"].get("successful", 0)
spawn = client.spawn_ms("/bin/date")
start = statistics.median(starts)
ok = client.report("remote executables over loopback (no peer: none runs on this machine without GeoServer)", [
    (f"submission to the program's own clock, median of {STARTS}, ms", start, None, None, "< 20", start < 20),
    ("the same, 90th of 100, ms", statistics.quantiles(starts, n=10)[-1], None, None, "", None),
    ("submission to answer, median, ms", statistics.median(answers), None, None, "", None),
    (f"{RUNS} runs of /bin/true on {AGENTS} agents, runs/s", many["per_s"], None, None, "", None),
    ("not successful", lost, None, None, "0", lost == 0),
    ("least busy agent's share of the busiest's processor time", min(busy) / max(max(busy), 1e-9), None, None, "", None),
], [f"starting /bin/date and waiting for its end takes {spawn:.1f} ms", f"making 4 KiB durable takes {client.fsync_ms(folder):.2f} ms",
    f"loopback round trip {client.loopback_us():.0f} us"], {"starts_ms": starts, "many": many, "agents_cpu_s": busy})
sys.exit(not ok)
