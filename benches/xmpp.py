"""XMPP servers side by side: messages a second with 50 agents, and what 1,000 idle agents take of the embedded one."""
import glob
import json
import os
import subprocess
import sys
import time

import client
import peer

AGENTS, IDLE, ROUNDS = 50, 1000, 3
ACCOUNTS = ("orch", "ann")
TARGET = os.environ.get("CARGO_TARGET_DIR") or os.path.join(client.HERE, "..", "target")
EXAMPLES = os.path.join(TARGET, "release", "examples")
folder = client.work_folder("xmpp")


def certificate(at):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost", "-keyout", f"{at}/key.pem", "-out", f"{at}/cert.pem"], check=True, capture_output=True)


class Embedded(peer.Process):
    """The server that `anabranch serve` embeds, by itself."""
    name = "anabranch"

    def __init__(self, at):
        self.port = peer.free_port()
        super().__init__([os.path.join(EXAMPLES, "standalone_server"), str(peer.free_port()), str(self.port)], f"{at}/log")
        listens(self)


class Prosody(peer.Process):
    name = "Prosody"

    def __init__(self, at):
        self.port = peer.free_port()
        certificate(at)
        os.makedirs(f"{at}/data")
        with open(f"{at}/prosody.cfg.lua", "w") as f:
            f.write(f"""pidfile = "{at}/pid"
data_path = "{at}/data"
log = {{ warn = "{at}/prosody.log" }}
run_as_root = true
authentication = "internal_hashed"
c2s_ports = {{ {peer.free_port()} }}
c2s_direct_tls_ports = {{ {self.port} }}
c2s_interfaces = {{ "127.0.0.1" }}
c2s_direct_tls_interfaces = {{ "127.0.0.1" }}
s2s_ports = {{}}
storage = "internal"
modules_enabled = {{ "saslauth", "tls", "disco", "ping", "roster" }}
modules_disabled = {{ "s2s" }}
ssl = {{ certificate = "{at}/cert.pem", key = "{at}/key.pem" }}
VirtualHost "localhost"
Component "conference.localhost" "muc"
""")
        for account in ACCOUNTS:
            subprocess.run(["prosodyctl", "--config", f"{at}/prosody.cfg.lua", "register", account, "localhost", f"{account}-password"],
                           env={**os.environ, "PROSODY_CONFIG": f"{at}/prosody.cfg.lua"}, check=True, capture_output=True)
        super().__init__(["prosody", "--config", f"{at}/prosody.cfg.lua", "-F"], f"{at}/log")
        listens(self)


class Ejabberd(peer.Process):
    name = "ejabberd"

    def __init__(self, at):
        self.port = peer.free_port()
        certificate(at)
        with open(f"{at}/both.pem", "w") as f:
            for part in ("key.pem", "cert.pem"):
                f.write(open(f"{at}/{part}").read())
        with open(f"{at}/ejabberd.yml", "w") as f:
            f.write(f"""hosts: [localhost]
loglevel: warning
certfiles: ["{at}/both.pem"]
listen:
- {{port: {self.port}, ip: "127.0.0.1", module: ejabberd_c2s, tls: true, max_stanza_size: 262144}}
auth_method: internal
auth_password_format: scram
modules:
  mod_disco: {{}}
  mod_ping: {{}}
  mod_muc: {{host: conference.localhost}}
""")
        register = ",".join(f'ejabberd_auth:try_register(<<"{a}">>,<<"localhost">>,<<"{a}-password">>)' for a in ACCOUNTS)
        libraries = os.path.dirname(glob.glob("/usr/lib/*/ejabberd-*")[0])
        super().__init__(["erl", "-noinput", "-mnesia", "dir", f'"{at}/mnesia"', "-s", "ejabberd", "-eval",
                          f'{register},file:write_file("{at}/ready",<<>>).'], f"{at}/log",
                         {"EJABBERD_CONFIG_PATH": f"{at}/ejabberd.yml", "EJABBERD_LOG_PATH": f"{at}/ejabberd.log", "ERL_LIBS": libraries,
                          "HOME": at}, cwd=at)
        while not os.path.exists(f"{at}/ready"):
            time.sleep(0.05)
        listens(self)


def listens(server, seconds=60):
    end = time.time() + seconds
    while time.time() < end:
        try:
            peer.socket.create_connection(("127.0.0.1", server.port)).close()
            return
        except OSError:
            time.sleep(0.02)
    server.fail(f"{server.name} does not listen")


def load(server, *arguments):
    """The load generator, when its agents are all there."""
    command = [os.path.join(EXAMPLES, "load"), str(server.port), "localhost", *map(str, arguments)]
    running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if running.stdout.readline() != "begun\n":
        server.fail(f"the load on {server.name} did not begin")
    return running


def talk(maker, rooms, at):
    """-> messages/s, microseconds of the server's processor time for each"""
    os.makedirs(at)
    with maker(at) as server:
        running = load(server, "talk", AGENTS, rooms)
        before = server.cpu_s()
        said = json.loads(running.stdout.readline())
        cpu = server.cpu_s() - before
        running.stdin.close()
        running.wait()
    return said["messages"] / said["seconds"], cpu * 1e6 / said["messages"]


measured = {}
for at_round in range(ROUNDS):  # by turns, so that all have the same weather
    for rooms in (1, AGENTS):
        for maker in (Embedded, Prosody, Ejabberd):
            got = talk(maker, rooms, os.path.join(folder, f"{maker.name}-{rooms}-{at_round}"))
            measured.setdefault((maker.name, rooms), []).append(got)
median = {key: sorted(rounds)[ROUNDS // 2] for key, rounds in measured.items()}

os.makedirs(os.path.join(folder, "idle"))
with Embedded(os.path.join(folder, "idle")) as server:
    empty = server.rss_mb()
    running = load(server, "idle", IDLE)
    time.sleep(5)
    idle, peak = server.rss_mb(), server.peak_rss_mb()
    running.stdin.close()
    running.wait()

rows = []
for rooms, name in ((1, "one room"), (AGENTS, f"{AGENTS} rooms")):
    ours = median["anabranch", rooms]
    for other in ("Prosody", "ejabberd"):
        theirs = median[other, rooms]
        ratio = ours[0] / theirs[0]
        wanted = (">= 2", ratio >= 2) if other == "Prosody" else ("", None)
        rows.append((f"messages/s, {AGENTS} agents in {name}, beside {other}", ours[0], theirs[0], ratio, *wanted))
        rows.append(("    the server's processor time for each, us", ours[1], theirs[1], theirs[1] / ours[1], "", None))
rows += [(f"{IDLE} idle agents in one room, RSS MiB", idle, None, None, "< 100", idle < 100),
         ("    before they came", empty, None, None, "", None), ("    at most", peak, None, None, "", None)]
ok = client.report("XMPP servers (peers: Prosody and ejabberd of Debian)", rows, [f"loopback round trip {client.loopback_us():.0f} us"],
                   {f"{name}-{rooms}": rounds for (name, rooms), rounds in measured.items()} | {"idle_mb": [empty, idle, peak]})
sys.exit(not ok)
