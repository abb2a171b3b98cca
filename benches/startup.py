"""Start to first answered request, and what a server and an agent take while they have nothing to do."""
import os
import statistics
import sys
import time

import client
import peer

RUNS = 5
folder = client.work_folder("startup")


def median_start(make, ready=lambda server: server.start_s):
    times = []
    for i in range(RUNS):
        with make(i) as server:
            times.append(ready(server))
    return statistics.median(times) * 1e3


# A fresh folder each time makes keys and databases too; "again" starts on what the first left behind.
fresh = median_start(lambda i: peer.Anabranch(os.path.join(folder, f"fresh{i}")))
again = median_start(lambda i: peer.Anabranch(os.path.join(folder, "fresh0")))


def make_pywps(i):
    os.makedirs(os.path.join(folder, f"pywps{i}"))
    return peer.PyWps(os.path.join(folder, f"pywps{i}"))


pywps = median_start(make_pywps)

services = os.path.join(folder, "services")
os.makedirs(services)
with open(os.path.join(services, "true.toml"), "w") as f:
    f.write(peer.TRUE_SERVICE)
with peer.Anabranch(os.path.join(folder, "idle")) as server, server.agent("idle", services) as agent:
    server.wait_for_process("default:True")
    time.sleep(3)
    memory = {f"{who}_{what}": getattr(process, what + "_mb")() for who, process in (("server", server), ("agent", agent))
              for what in ("rss", "pss", "own")}
with make_pywps("-idle") as server:
    time.sleep(3)
    memory |= {f"pywps_{what}": getattr(server, what + "_mb")() for what in ("rss", "pss", "own")}

ok = client.report("start and idle memory (peer: PyWPS, gunicorn, 4 workers)", [
    ("start to first answer, fresh folder, ms", fresh, pywps, pywps / fresh, "< 100", fresh < 100),
    ("start to first answer, again, ms", again, pywps, pywps / again, "< 100", again < 100),
    ("server idle, RSS MiB", memory["server_rss"], memory["pywps_rss"], memory["pywps_rss"] / memory["server_rss"], "< 25", memory["server_rss"] < 25),
    ("server idle, PSS MiB", memory["server_pss"], memory["pywps_pss"], memory["pywps_pss"] / memory["server_pss"], "", None),
    ("server idle, without the executable's pages, MiB", memory["server_own"], memory["pywps_own"], memory["pywps_own"] / memory["server_own"], "", None),
    ("agent idle, RSS MiB", memory["agent_rss"], None, None, "< 12", memory["agent_rss"] < 12),
    ("agent idle, PSS MiB", memory["agent_pss"], None, None, "", None),
    ("agent idle, without the executable's pages, MiB", memory["agent_own"], None, None, "", None),
], [f"starting /bin/true takes {client.spawn_ms('/bin/true'):.1f} ms", f"making 4 KiB durable takes {client.fsync_ms(folder):.2f} ms"], memory)
sys.exit(not ok)
