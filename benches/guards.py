"""What the guards cost: synchronous echo by 16 connections, with and without login, rights, limits, address limits and the audit log."""
import os
import statistics
import subprocess
import sys

import client
import peer

ROUNDS, SECONDS, TEXT = 5, 4, "water flows"
MORE_MAX = 1.10
LIMITS = """parallel_jobs_max = 64
queued_jobs_max = 1000
hourly_jobs_max = 100_000_000
input_bytes_max = 1_073_741_824
output_bytes_max = 1_073_741_824
stored_bytes_max = 1_099_511_627_776
run_s_max = 86_400
queue_s_max = 86_400
"""
# Requests that a trusted proxy passes on cost more than connections: each is counted by the address that it names.
GUARDED = f"""[http]
trusted_proxies = ["127.0.0.0/8"]
[[login.rights]]
role = "anonymous"
processes = ["default:*"]
allow = ["see"]
[[login.rights]]
role = "forest"
processes = ["echo", "ndwi"]
allow = ["execute", "dismiss"]
[limits.each_user]
{LIMITS}
[roles.forest.limits]
{LIMITS}
[processes."echo".limits]
{LIMITS}
"""


def user(server, *arguments):
    """Runs `anabranch user`. -> what it prints"""
    command = [peer.binary(), "user", *arguments, "--data", os.path.join(server.folder, "data")]
    environment = {**os.environ, "ANABRANCH_PASSWORD": "correct horse"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


folder = client.work_folder("guards")
open_data = os.path.join(folder, "open", "data")
os.makedirs(open_data)
# The audit log can't be turned off: here its lines go nowhere.
os.symlink("/dev/null", os.path.join(open_data, "audit.jsonl"))

with peer.Anabranch(os.path.join(folder, "open")) as without, \
        peer.Anabranch(os.path.join(folder, "guarded"), GUARDED, ready="/healthz") as guarded:
    user(guarded, "add", "anna", "--role", "forest")
    token = user(guarded, "token", "anna", "--label", "bench").splitlines()[-1]
    path, body, headers = client.execution("echo", {"literalInput": TEXT})
    headers["X-Forwarded-For"] = "198.51.100.7"
    anna = "Basic YW5uYTpjb3JyZWN0IGhvcnNl"
    what = {
        "without": (without, headers),
        "by token": (guarded, {**headers, "Authorization": f"Bearer {token}"}),
        "by password": (guarded, {**headers, "Authorization": anna}),
    }
    for server, sent in what.values():
        client.wrk(server.base, path, body, sent, TEXT, seconds=2)  # warm up
    runs = {name: [] for name in what}
    # By turns, so that all of them see the same minute.
    for _ in range(ROUNDS):
        for name, (server, sent) in what.items():
            before = server.cpu_s()
            with client.Others(server) as others:
                run = client.wrk(server.base, path, body, sent, TEXT, seconds=SECONDS)
            run["cpu_us"] = (server.cpu_s() - before) * 1e6 / run["requests"]
            runs[name].append({**run, "others_cores": others.cores})

middle = {name: {key: statistics.median(run[key] for run in some) for key in ("per_s", "p50_ms", "p99_ms", "cpu_us")}
          for name, some in runs.items()}
wrong = sum(run["wrong"] + run["socket_errors"] for some in runs.values() for run in some)
others = max(run["others_cores"] for some in runs.values() for run in some)
rows = []
for name in ("by token", "by password"):
    for key, what in (("cpu_us", "processor time, us"), ("p50_ms", "median, ms"), ("p99_ms", "p99, ms"), ("per_s", "answers/s")):
        ours, free = middle[name][key], middle["without"][key]
        ratio = free / ours if key == "per_s" else ours / free
        aimed = key in ("cpu_us", "p50_ms")
        rows.append((f"{what}, {name} (peer: without guards)", ours, free, ratio, f"< {MORE_MAX} x" if aimed else "",
                     ratio < MORE_MAX if aimed else None))
ok = client.report("all guards on a synchronous echo, 16 connections", [*rows, ("wrong answers", wrong, None, None, "0", wrong == 0)],
                   [f"others used up to {others:.2f} of {os.cpu_count()} cores"], runs)
sys.exit(not ok)
