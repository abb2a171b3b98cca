"""Starts and stops what is measured: our server and agents, PyWPS, pygeoapi. Standard library only."""
import glob
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time

import client

PEERS = os.path.join(client.HERE, "peers")
BIN = os.path.join(client.HERE, ".venv", "bin")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def children(pid):
    """A process and all below it."""
    found = [pid]
    for task in glob.glob(f"/proc/{pid}/task/*/children"):
        try:
            with open(task) as f:
                for child in f.read().split():
                    found += children(int(child))
        except OSError:
            pass
    return found


def kib(pid, file, field):
    try:
        with open(f"/proc/{pid}/{file}") as f:
            return next(int(line.split()[1]) for line in f if line.startswith(field + ":"))
    except (OSError, StopIteration):
        return 0


class Process:
    """One program that is measured; ended with everything below it, by process id."""

    def __init__(self, arguments, log, environment=None, cwd=None, stdout=None):
        self.log = log
        self.started = time.perf_counter()
        self.popen = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=stdout or open(log, "ab"), stderr=open(log, "ab"),
                                      env={**os.environ, **(environment or {})}, cwd=cwd, start_new_session=True)
        self.pid = self.popen.pid

    def rss_mb(self):
        return sum(kib(pid, "status", "VmRSS") for pid in children(self.pid)) / 1024

    def pss_mb(self):
        return sum(kib(pid, "smaps_rollup", "Pss") for pid in children(self.pid)) / 1024

    def own_mb(self):
        """Without the pages of executables and libraries, which all processes of one binary share."""
        return sum(kib(pid, "status", "RssAnon") for pid in children(self.pid)) / 1024

    def peak_rss_mb(self):
        """The kernel's own high-water marks: nothing between two samples is missed."""
        return sum(kib(pid, "status", "VmHWM") for pid in children(self.pid)) / 1024

    def cpu_s(self):
        """Of all its processes, those that have ended included."""
        ticks = 0
        for pid in children(self.pid):
            try:
                with open(f"/proc/{pid}/stat") as f:
                    ticks += sum(int(x) for x in f.read().rpartition(") ")[2].split()[11:15])
            except OSError:
                pass
        return ticks / os.sysconf("SC_CLK_TCK")

    def fail(self, why):
        with open(self.log, errors="replace") as f:
            raise SystemExit(f"{why}; the end of {self.log}:\n" + f.read()[-3000:])

    def wait_for(self, path, base, seconds=60):
        """Asks until the answer is 200. -> seconds since the start"""
        while time.perf_counter() - self.started < seconds:
            if self.popen.poll() is not None:
                self.fail(f"{self.popen.args[0]} ended with {self.popen.returncode}")
            try:
                if client.request(base, "GET", path, timeout=10)[0] == 200:
                    return time.perf_counter() - self.started
            except (OSError, client.http.client.HTTPException):
                pass
            time.sleep(0.001)
        self.fail(f"{self.popen.args[0]} did not answer")

    def stop(self):
        known = children(self.pid)
        self.popen.terminate()
        try:
            self.popen.wait(10)
        except subprocess.TimeoutExpired:
            for pid in known:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.popen.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


# Ends by SIGTERM as by an exception, so that nothing keeps running.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


# ---------------------------------------------------------------- ours
# As little as an executable can do: its output is the empty text.
TRUE_SERVICE = """
identifier = "True"
namespace = "default"
title = "Does nothing, successfully"
[outputs.text]
type = "string"
stdout = true
[command]
program = "/bin/true"
arguments = []
[capacity]
runs = 4
"""

# The time at which it was started, in nanoseconds.
CLOCK_SERVICE = """
identifier = "Clock"
namespace = "default"
title = "Says what time it is"
[outputs.text]
type = "string"
stdout = true
[command]
program = "/bin/date"
arguments = ["+%s%N"]
"""


def wps_echo(name, text):
    """A synchronous echo by WPS 1.0.0. -> path, body, headers"""
    body = (
        '<wps:Execute service="WPS" version="1.0.0" xmlns:wps="http://www.opengis.net/wps/1.0.0" xmlns:ows="http://www.opengis.net/ows/1.1">'
        f"<ows:Identifier>echo</ows:Identifier><wps:DataInputs><wps:Input><ows:Identifier>{name}</ows:Identifier>"
        f"<wps:Data><wps:LiteralData>{text}</wps:LiteralData></wps:Data></wps:Input></wps:DataInputs></wps:Execute>"
    )
    return "/wps", body, {"Content-Type": "text/xml"}


def outputs(document):
    """The values of a results document, be they plain or qualified."""
    for value in document.values():
        yield value["value"] if isinstance(value, dict) else value


class Anabranch(Process):
    name = "anabranch"

    def __init__(self, folder, config="", ready="/processes"):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        arguments = [binary(), "serve", "--data", os.path.join(folder, "data"), "--listen", "127.0.0.1:%d" % free_port(),
                     "--xmpp-listen", "127.0.0.1:%d" % free_port(), "--xmpp-tls-listen", "127.0.0.1:%d" % free_port()]
        if config:
            with open(os.path.join(folder, "config.toml"), "w") as f:
                f.write(config)
            arguments += ["--config", os.path.join(folder, "config.toml")]
        self.base = "http://" + arguments[5]
        super().__init__(arguments, os.path.join(folder, "server.log"))
        self.start_s = self.wait_for(ready, self.base)

    def agent(self, name, services, alone=False):
        """An agent, ready when it has been started; its processes appear a little later. `alone` takes the program that is nothing else."""
        program = [agent_binary()] if alone else [binary(), "agent"]
        arguments = [*program, "--data", os.path.join(self.folder, "data"), "--services", services, "--name", name]
        return Process(arguments, os.path.join(self.folder, f"agent-{name}.log"))

    def jobs_recorded(self):
        """Jobs in the store on disk, whose work has ended well."""
        with sqlite3.connect(f"file:{self.folder}/data/jobs.sqlite?mode=ro", uri=True) as store:
            return store.execute("SELECT count(*) FROM jobs WHERE state = 2").fetchone()[0]

    def wait_for_process(self, identifier, seconds=30):
        end = time.time() + seconds
        while time.time() < end:
            if client.request(self.base, "GET", f"/processes/{identifier}")[0] == 200:
                return
            time.sleep(0.02)
        self.fail(f"no process {identifier}")


def binary():
    return _program("ANABRANCH_BIN", "release/anabranch", "cargo build --release --bin anabranch")


def agent_binary():
    return _program("ANABRANCH_AGENT_BIN", "agent/anabranch-agent", "make agent")


def _program(variable, built, how):
    path = os.environ.get(variable) or os.path.join(client.HERE, "..", "target", built)
    if not os.access(path, os.X_OK):
        raise SystemExit(f"{path} is missing: {how}")
    return path


# ---------------------------------------------------------------- peers
def _fill(template, folder, **values):
    """Writes a template of peers/ into the folder with its @NAMES@ replaced."""
    with open(os.path.join(PEERS, template)) as f:
        text = f.read()
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    path = os.path.join(folder, template)
    with open(path, "w") as f:
        f.write(text)
    return path


class Gunicorn(Process):
    """A Python peer as its documentation deploys it."""

    def __init__(self, folder, port, application, worker_class, environment, ready, workers=4):
        self.folder, self.base = folder, f"http://127.0.0.1:{port}"
        arguments = [os.path.join(BIN, "gunicorn"), "--bind", f"127.0.0.1:{port}", "--workers", str(workers), "--worker-class", worker_class,
                     "--timeout", "600", "--no-control-socket", "--pythonpath", PEERS, application]
        super().__init__(arguments, os.path.join(folder, "gunicorn.log"), {"PYTHONDONTWRITEBYTECODE": "1", **environment}, cwd=folder)
        self.start_s = self.wait_for(ready, self.base)


class PyWps(Gunicorn):
    """Limits far above the load and job records in memory: its fastest configuration."""

    name = "PyWPS 4.8.1"
    capabilities = "/wps?service=WPS&request=GetCapabilities&version=1.0.0"

    def __init__(self, folder, workers=4):
        os.makedirs(os.path.join(folder, "outputs"), exist_ok=True)
        os.makedirs(os.path.join(folder, "work"), exist_ok=True)
        port = free_port()
        config = _fill("pywps.cfg", folder, FOLDER=folder, PORT=port)
        super().__init__(folder, port, "pywps_app:application", "sync", {"BENCH_PYWPS_CFG": config}, self.capabilities, workers)

    @staticmethod
    def echo(text):
        return wps_echo("text", text)


class PyGeoApi(Gunicorn):
    """manager: "dummy" (its default: keeps no jobs, runs nothing asynchronously) or "tinydb"."""

    name = "pygeoapi 0.21.0"

    def __init__(self, folder, manager, workers=4):
        os.makedirs(os.path.join(folder, "results"), exist_ok=True)
        port = free_port()
        line = "manager: {name: TinyDB, connection: %s/jobs.db, output_dir: %s/results/}" % (folder, folder) if manager == "tinydb" else ""
        environment = {"PYGEOAPI_CONFIG": _fill("pygeoapi.yml", folder, PORT=port, MANAGER=line),
                       "PYGEOAPI_OPENAPI": os.path.join(folder, "openapi.yml"), "PYTHONPATH": PEERS}
        subprocess.run([os.path.join(BIN, "pygeoapi"), "openapi", "generate", environment["PYGEOAPI_CONFIG"],
                        "--output-file", environment["PYGEOAPI_OPENAPI"]], env={**os.environ, **environment}, check=True, capture_output=True)
        super().__init__(folder, port, "pygeoapi.flask_app:APP", "gevent", environment, "/processes?f=json", workers)


