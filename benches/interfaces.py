"""What every client asks for again and again: capabilities, the list of processes, the state of a job, an echo in XML."""
import json
import os
import statistics
import sys
from urllib.parse import urlsplit

import client
import peer

ROUNDS, SECONDS, JOBS, TEXT = 3, 3, 1500, "water flows"
CAPABILITIES = peer.PyWps.capabilities
JSON = {"Accept": "application/json"}
folder = client.work_folder("interfaces")
for name in ("pywps", "pygeoapi", "tinydb"):
    os.makedirs(os.path.join(folder, name))


def store_full(server, process, name, replicate=None):
    """Submits jobs until so many are in the store. -> path of one of them"""
    path, body, headers = client.execution(process, {name: TEXT}, respond_async=True)
    submit = client.raw_request(server.base, "POST", path, body, headers)
    some = 1 if replicate else JOBS
    result = client.submit_all(server.base, [submit] * some, 16)
    if result["states"].get("successful") != some:
        raise SystemExit(f"{server.name}: {result}")
    if replicate:
        replicate()
    _, _, answer = client.request(server.base, "GET", f"/jobs?limit={JOBS}", headers=JSON)
    link = next(link["href"] for link in json.loads(answer)["jobs"][0]["links"] if "/jobs/" in link["href"])
    return "/jobs/" + urlsplit(link).path.split("/")[2]


def replicate():
    """Copies the one job of pygeoapi's store: it would take minutes to fill, because each new job has it written anew."""
    store = os.path.join(folder, "tinydb", "jobs.db")
    with open(store) as f:
        tables = json.load(f)
    (table, jobs), = tables.items()
    job = next(iter(jobs.values()))
    tables[table] = {str(i): job if i == 1 else {**job, "identifier": f"{job['identifier'][:-4]}{i:04}"} for i in range(1, JOBS + 1)}
    with open(store + ".new", "w") as f:
        json.dump(tables, f)
    os.replace(store + ".new", store)


def compare(connections, *what):
    """what: (server, (path, body, headers), expected text). Measures by turns. -> name of the server -> its rounds"""
    runs = {server.name: [] for server, _, _ in what}
    for server, (path, body, headers), expect in what:
        client.wrk(server.base, path, body, headers, expect, connections, seconds=2)  # warm up
    for _ in range(ROUNDS):
        for server, (path, body, headers), expect in what:
            with client.Others(server) as others:
                run = client.wrk(server.base, path, body, headers, expect, connections, SECONDS)
            runs[server.name].append({**run, "others_cores": others.cores})
    return runs


with peer.Anabranch(os.path.join(folder, "ours")) as ours:
    with peer.PyWps(os.path.join(folder, "pywps")) as pywps:
        get = (CAPABILITIES, None, {})
        capabilities = compare(32, (ours, get, "ProcessOfferings"), (pywps, get, "ProcessOfferings"))
        echoes = compare(16, (ours, peer.wps_echo("literalInput", TEXT), f">{TEXT}<"), (pywps, pywps.echo(TEXT), f">{TEXT}<"))
    with peer.PyGeoApi(os.path.join(folder, "pygeoapi"), "dummy") as pygeoapi:
        get = ("/processes", None, JSON)
        processes = compare(32, (ours, get, '"processes"'), (pygeoapi, get, '"processes"'))
    with peer.PyGeoApi(os.path.join(folder, "tinydb"), "tinydb") as tinydb:
        mine, theirs = store_full(ours, "echo", "literalInput"), store_full(tinydb, "echo", "text", replicate)
        states = compare(16, (ours, (mine, None, JSON), '"successful"'), (tinydb, (theirs, None, JSON), '"successful"'))


def row(what, runs, other, times):
    mine, their = (statistics.median(run["per_s"] for run in runs[name]) for name in (ours.name, other))
    return what, mine, their, mine / their, f">= {times} x", mine >= times * their


every = [run for runs in (capabilities, processes, states, echoes) for some in runs.values() for run in some]
wrong = sum(run["wrong"] + run["socket_errors"] for run in every)
ok = client.report("what every client asks for", [
    row("GetCapabilities 1.0.0/s, 32 connections (peer: PyWPS)", capabilities, pywps.name, 50),
    row("/processes/s, 32 connections (peer: pygeoapi)", processes, pygeoapi.name, 20),
    row(f"states of a job/s, {JOBS} stored, 16 connections (peer: pygeoapi, TinyDB)", states, tinydb.name, 10),
    row("echo by WPS 1.0.0 in XML/s, 16 connections, ours records every job (peer: PyWPS)", echoes, pywps.name, 50),
    ("wrong answers, all servers", wrong, None, None, "0", wrong == 0),
], [f"loopback round trip {client.loopback_us():.0f} us, so a connection alone gets {1e6 / client.loopback_us():,.0f}/s at most",
    f"making 4 KiB durable takes {client.fsync_ms(folder):.2f} ms",
    f"others used up to {max(run['others_cores'] for run in every):.2f} of {os.cpu_count()} cores"],
    {"capabilities": capabilities, "processes": processes, "states": states, "echoes": echoes})
sys.exit(not ok)
