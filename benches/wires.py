"""Both wire forms side by side: our own, and that of GeoServer's WPS Remote, as a stock agent speaks it."""
import json
import os
import re
import statistics
import subprocess
import sys
import time
from datetime import datetime
from urllib.parse import unquote

import client
import peer

RUNS, MORE = 12, 200
# With WPS Remote's own server and agent: spec of its protocol, measured by its captured dialogues.
ORIGINAL_S = 14.5

SERVICE = """
identifier = "{name}"
namespace = "default"
title = "Works for a second"
[outputs.text]
type = "string"
stdout = true
[command]
program = "/bin/sh"
arguments = ["-c", "{script}"]
[capacity]
runs = 4
"""
folder = client.work_folder("wires")


def services(kind):
    """A service that works for a second, one that does nothing, and enough others to make fifty."""
    where = os.path.join(folder, kind)
    os.makedirs(where)
    scripts = {f"Second{kind}": "sleep 1; echo done", f"Nothing{kind}": ":"}
    if kind == "Native":
        scripts |= {f"Other{n}": ":" for n in range(48)}
    for name, script in scripts.items():
        with open(os.path.join(where, name + ".toml"), "w") as f:
            f.write(SERVICE.format(name=name, script=script))
    return where


def wps_remote_agent(server):
    """Our agent as it would come to GeoServer: what it says is what a stock agent says."""
    data = os.path.join(server.folder, "data")
    line = subprocess.run([peer.binary(), "invite", "stock", "--host", "127.0.0.1", "--data", data], check=True, capture_output=True, text=True).stdout
    files = {"stock-password": unquote(re.search(r"://[^:@]+:([^@]+)@", line)[1]), "agent.toml": f"""
wire = "wps-remote"
host = "127.0.0.1"
port = {server.popen.args[-3 if "--config" in server.popen.args else -1].rpartition(":")[2]}
tls = "direct"
certificate = "{data}/xmpp/cert.pem"
account = "stock@anabranch.local"
password_file = "stock-password"
rooms = ["default@conference.anabranch.local"]
room_password_file = "{data}/xmpp/room-password"
orchestrator = "orchestrator@anabranch.local"
"""}
    for name, text in files.items():
        with open(os.path.join(server.folder, name), "w") as f:
            f.write(text)
    arguments = [peer.binary(), "agent", "--config", os.path.join(server.folder, "agent.toml"), "--services", services("Stock"), "--name", "stock",
                 "--work", os.path.join(server.folder, "stock-runs"), "--capacity", "8"]
    return peer.Process(arguments, os.path.join(server.folder, "agent-stock.log"))


def run(server, process):
    """-> seconds from the submission to the first message of its run, and to its end"""
    path, body, headers = client.execution(process, {}, respond_async=True)
    status, _, answer = client.request(server.base, "POST", path, body, headers)
    if status != 201:
        raise SystemExit(f"{process}: HTTP {status} {answer[:300]!r}")
    job = json.loads(answer)["jobID"]
    while True:
        seen = json.loads(client.request(server.base, "GET", f"/jobs/{job}")[2])
        if seen["status"] in client.TERMINAL:
            break
        time.sleep(0.005)
    if seen["status"] != "successful":
        raise SystemExit(f"{process}: {seen}")
    at = [datetime.fromisoformat(seen[name].replace("Z", "+00:00")) for name in ("created", "started", "finished")]
    return (at[1] - at[0]).total_seconds(), (at[2] - at[0]).total_seconds()


rows, details = [], {}
with peer.Anabranch(os.path.join(folder, "ours")) as server:
    offered = services("Native")
    with server.agent("native", offered, alone=True) as native, wps_remote_agent(server) as stock:
        for name, agent, form in (("Native", native, "our own form"), ("Stock", stock, "WPS Remote's form")):
            server.wait_for_process(f"default:Second{name}")
            server.wait_for_process(f"default:Nothing{name}")
            run(server, f"default:Second{name}")  # warm
            runs = [run(server, f"default:Second{name}") for _ in range(RUNS)]
            first, end = (statistics.median(times) for times in zip(*runs))
            details[name] = runs
            rows.append((f"{form}: submission to the first message of its run, s", first, None, None, "", None))
            ratio = ORIGINAL_S / end
            rows.append((f"{form}: to the completion of 1 s of work, s", end, ORIGINAL_S, ratio, "", None))
        server.wait_for_process("default:Other47")
        time.sleep(3)
        idle = native.rss_mb()
        # The megabytes of `ps` and of data sheets, not MiB: the stricter reading.
        idle_mb = idle * 1024 ** 2 / 1e6
        rows.append(("anabranch-agent with 50 services, idle, RSS MB", idle_mb, None, None, "< 12", idle_mb < 12))
        before = native.cpu_s()
        path, body, headers = client.execution("default:NothingNative", {}, respond_async=True)
        many = client.submit_all(server.base, [client.raw_request(server.base, "POST", path, body, headers)] * MORE, 4)
        time.sleep(3)  # until the agent has forgotten them
        cpu_ms = (native.cpu_s() - before) / MORE * 1e3
        rows.append((f"the agent's processor time a run, supervisor and /bin/sh included, mean of {MORE}, ms", cpu_ms, None, None, "< 5", cpu_ms < 5))
        after_mb = native.rss_mb() * 1024 ** 2 / 1e6
        rows.append(("its RSS after these runs, MB", after_mb, None, None, "", None))
        rows.append(("not successful", MORE - many["states"].get("successful", 0), None, None, "0", many["states"].get("successful", 0) == MORE))
    with server.agent("whole", offered) as whole:
        server.wait_for_process("default:Other47")
        for _ in range(RUNS + 1):
            run(server, "default:SecondNative")
        time.sleep(3)
        rows.append(("anabranch agent with the same services, idle, RSS MB", whole.rss_mb() * 1024 ** 2 / 1e6, None, None, "", None))

shell = client.spawn_ms("/bin/true")
ok = client.report("wire forms, and what an agent takes", rows, [f"starting /bin/true and waiting for its end takes {shell:.1f} ms",
                   f"loopback round trip {client.loopback_us():.0f} us"], details)
sys.exit(not ok)
