"""Attacks and a kill, the same against each server, as a table: what each of them makes of it.

    probes.py BINARY [--peers]

Everything listens on free loopback ports and ends with this program. What is measured is what an outsider sees: answers, times, who was
asked to come (a canary), and the memory of the server's processes.
"""

import argparse
import concurrent.futures
import contextlib
import http.server
import json
import os
import re
import resource
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

import launch

#: Longest wait for one answer, seconds; who takes longer counts as hanging.
ANSWER_S_MAX = 20
JOBS = 20
#: How long a job runs that is killed, seconds, and how long a restarted server has to bring it to an end.
PAUSE_S, END_S_MAX = 20, 45
HALF_OPEN = 1000
INNER = ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "017700000001", "0", "0.0.0.0", "localhost", "a.localhost",
         "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "%31%32%37.0.0.1"]
OWS, WPS = "http://www.opengis.net/ows/1.1", "http://www.opengis.net/wps/1.0.0"


class Target:
    """A server that can be killed and started again in the same place."""

    def __init__(self, name, command, ready, port, ogcapi, wps, environment=None, place=None):
        self.name, self.command, self.ready, self.port = name, command, ready, port
        self.environment, self.place, self.process = environment, place, None
        base = f"http://127.0.0.1:{port}"
        self.ogcapi, self.wps = base if ogcapi else None, f"{base}/wps" if wps else None

    def start(self):
        log = open(os.path.join(self.place, "log"), "ab")
        self.process = subprocess.Popen(self.command, env={**os.environ, **(self.environment or {})}, cwd=self.place,
                                        stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 60
        while not launch.answers(self.port, self.ready):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{self.name} did not start; see {self.place}/log")
            time.sleep(0.1)

    def kill(self):
        """`kill -9` of all of it: workers belong to its session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def memory_mib(self):
        """Resident memory of its session's processes."""
        pages = 0
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError, ProcessLookupError):
                if os.getsid(int(pid)) == self.process.pid:
                    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
                        pages += int(file.read().split()[1])
        return pages * resource.getpagesize() / 2**20

    def ask(self, url, body=None, headers=None):
        """Status and text of the answer; status 0 where there is none in time."""
        try:
            request = urllib.request.Request(url, data=body, headers=headers or {})
            with urllib.request.urlopen(request, timeout=ANSWER_S_MAX) as answer:
                return answer.status, answer.read().decode(errors="replace"), answer.headers
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace"), error.headers
        except (OSError, ValueError) as error:
            return 0, str(error), {}

    def post_wps(self, document):
        return self.ask(self.wps, document.encode(), {"Content-Type": "text/xml"})

    def execute(self, inputs, asynchronous=False):
        headers = {"Content-Type": "application/json", **({"Prefer": "respond-async"} if asynchronous else {})}
        body = inputs if isinstance(inputs, bytes) else json.dumps({"inputs": inputs}).encode()
        return self.ask(f"{self.ogcapi}/processes/echo/execution", body, headers)

    def is_alive(self):
        if self.ogcapi:
            return self.execute({"literalInput": "hello"})[0] == 200
        return self.post_wps(wps_execute(literal("literalInput", "hello")))[0] == 200


def literal(name, value):
    data = f"<wps:Data><wps:LiteralData>{value}</wps:LiteralData></wps:Data>"
    return f"<wps:Input><ows:Identifier>{name}</ows:Identifier>{data}</wps:Input>"


def wps_execute(inputs, head="", form=""):
    return (f'{head}<wps:Execute xmlns:wps="{WPS}" xmlns:ows="{OWS}" xmlns:xlink="http://www.w3.org/1999/xlink" service="WPS" '
            f'version="1.0.0"><ows:Identifier>echo</ows:Identifier><wps:DataInputs>{inputs}</wps:DataInputs>{form}</wps:Execute>')


@contextlib.contextmanager
def canary():
    """A server that nobody should be led to: its port, and who came."""
    visits = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            visits.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", "6")
            self.end_headers()
            self.wfile.write(b"secret")

        do_POST = do_GET

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1], visits
    finally:
        server.shutdown()


def verdict(target, begin, status, memory_before=None):
    """How an attack on a parser went."""
    took = time.monotonic() - begin
    grown = f", +{max(0, target.memory_mib() - memory_before):.0f} MiB" if memory_before is not None else ""
    answer = "no answer" if status == 0 else f"HTTP {status}"
    alive = "" if target.is_alive() else "; others get no answer"
    return f"{answer} after {took:.1f} s{grown}{alive}"


def killed_with_jobs(target):
    links = [started(target) for _ in range(JOBS)]
    if None in links:
        return f"only {sum(link is not None for link in links)} of {JOBS} could be started"
    time.sleep(2)
    target.kill()
    target.start()
    deadline = time.monotonic() + END_S_MAX
    states = [state(target, link) for link in links]
    while any(found not in ("successful", "failed") for found in states) and time.monotonic() < deadline:
        time.sleep(1)
        states = [state(target, link) for link in links]
    count = {name: states.count(name) for name in sorted(set(states))}
    return ", ".join(f"{number} {name}" for name, number in count.items())


def started(target):
    if target.ogcapi:
        status, text, headers = target.execute({"pause": PAUSE_S, "literalInput": "x"}, asynchronous=True)
        if status not in (200, 201):
            return None
        location = headers.get("Location") or json.loads(text)["jobID"]
        return location if location.startswith("http") else f"{target.ogcapi}/jobs/{location.rsplit('/', 1)[-1]}"
    form = '<wps:ResponseForm><wps:ResponseDocument storeExecuteResponse="true" status="true"/></wps:ResponseForm>'
    text = target.post_wps(wps_execute(literal("pause", PAUSE_S) + literal("literalInput", "x"), form=form))[1]
    link = re.search(r'statusLocation="([^"]+)"', text)
    return link[1].replace("&amp;", "&") if link else None


def state(target, link):
    status, text, _ = target.ask(link if target.wps and not target.ogcapi else f"{link}?f=json")
    if status != 200:
        return f"lost (HTTP {status})"
    if target.ogcapi:
        return json.loads(text).get("status", "unknown")
    for name, word in (("ProcessSucceeded", "successful"), ("ProcessFailed", "failed"), ("ProcessStarted", "running")):
        if name in text:
            return word
    return "accepted"


def external_entity(target):
    with canary() as (port, visits):
        read = []
        for system in ("file:///etc/passwd", f"http://127.0.0.1:{port}/"):
            head = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "{system}">]>'
            text = target.post_wps(wps_execute(literal("literalInput", "&e;"), head))[1]
            read += [system for secret in ("root:", "secret") if secret in text]
        said = f"told {' and '.join(read)}" if read else "nothing told"
        return f"{said}, canary visited {len(visits)} times"


def entity_bomb(target):
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    head = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "{"ha" * 50}">{entities}]>'
    begin, before = time.monotonic(), target.memory_mib()
    return verdict(target, begin, target.post_wps(wps_execute(literal("literalInput", "&a9;"), head))[0], before)


def deep_xml(target):
    begin, before = time.monotonic(), target.memory_mib()
    document = wps_execute(literal("literalInput", "<a>" * 200_000 + "</a>" * 200_000))
    return verdict(target, begin, target.post_wps(document)[0], before)


def deep_json(target):
    begin, before = time.monotonic(), target.memory_mib()
    body = b'{"inputs":{"literalInput":' + b"[" * 100_000 + b"1" + b"]" * 100_000 + b"}}"
    return verdict(target, begin, target.execute(body)[0], before)


def large_body(target):
    """200 MB of spaces before a request that could be small; the most memory while it is taken."""
    peak, before, done = [0.0], target.memory_mib(), threading.Event()

    def watch():
        while not done.wait(0.05):
            peak[0] = max(peak[0], target.memory_mib())

    watcher = threading.Thread(target=watch)
    watcher.start()
    begin = time.monotonic()
    padding = b" " * 200_000_000
    if target.ogcapi:
        status = target.execute(b'{"inputs":' + padding + b'{"literalInput":"x"}}')[0]
    else:
        status = target.ask(target.wps, wps_execute(literal("literalInput", "x")).encode().replace(b"><", b">" + padding + b"<", 1), {"Content-Type": "text/xml"})[0]
    took = time.monotonic() - begin
    done.set()
    watcher.join()
    answer = "connection closed" if status == 0 else f"HTTP {status}"
    return f"{answer} after {took:.1f} s, +{max(0, peak[0] - before):.0f} MiB"


def slow_loris(target):
    sockets = []
    try:
        for _ in range(HALF_OPEN):
            half = socket.create_connection(("127.0.0.1", target.port), timeout=5)
            half.sendall(b"POST /wps HTTP/1.1\r\nHost: x\r\nX-")
            sockets.append(half)
    except OSError:
        pass
    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        served = sum(pool.map(lambda _: target.is_alive(), range(5)))
    took = time.monotonic() - begin
    for half in sockets:
        half.close()
    return f"{len(sockets)} half-open: {served} of 5 others served in {took:.1f} s"


def inner_addresses(target):
    with canary() as (port, visits):
        told = 0
        for host in INNER:
            href = f"http://{host}:{port}/"
            if target.ogcapi:
                text = target.execute({"literalInput": {"href": href}})[1]
            else:
                reference = f'<wps:Reference mimeType="text/plain" xlink:href="{href}"/>'
                item = f"<wps:Input><ows:Identifier>complexInput</ows:Identifier>{reference}</wps:Input>"
                text = target.post_wps(wps_execute(item))[1]
            told += "secret" in text
        return f"{len(visits)} visits by {len(INNER)} spellings of 127.0.0.1, content told {told} times"


PROBES = [
    (f"kill -9 with {JOBS} jobs running, restarted", killed_with_jobs, None),
    ("external entities (XXE)", external_entity, "wps"),
    ("entity bomb", entity_bomb, "wps"),
    ("XML nested 200,000 deep", deep_xml, "wps"),
    ("JSON nested 100,000 deep", deep_json, "ogcapi"),
    ("body of 200 MB", large_body, None),
    ("slow-loris", slow_loris, None),
    ("references to inner addresses", inner_addresses, None),
]


@contextlib.contextmanager
def place():
    with tempfile.TemporaryDirectory(prefix="probes.") as folder:
        yield folder


def ours(binary, folder):
    port = launch.free_port()
    ports = [part for option in ("--xmpp-listen", "--xmpp-tls-listen") for part in (option, f"127.0.0.1:{launch.free_port()}")]
    command = [os.path.abspath(binary), "serve", "--data", os.path.join(folder, "data"), "--listen", f"127.0.0.1:{port}", *ports]
    return Target("Anabranch", command, "/readyz", port, True, True, place=folder)


def peer(name, how, ready, folder, **kinds):
    port = launch.free_port()
    command, environment = launch.peer_command(*how, port, folder)
    return Target(name, command, ready, port, environment=environment, place=folder, **kinds)


def pywps(folder):
    return peer("PyWPS", launch.PYWPS, launch.PYWPS_READY, folder, ogcapi=False, wps=True)


def pygeoapi(folder):
    return peer("pygeoapi", launch.PYGEOAPI, launch.PYGEOAPI_READY, folder, ogcapi=True, wps=False)


def probe(make):
    """Every probe has a server of its own: what one breaks is not blamed on the next."""
    found = []
    for title, attack, needs in PROBES:
        with place() as folder:
            target = make(folder)
            if needs and getattr(target, needs) is None:
                found.append("–")
                continue
            target.start()
            try:
                found.append(attack(target))
            except Exception as error:  # Whatever a half-dead server answers is a finding.
                found.append(f"broke off: {error}")
            finally:
                target.kill()
            print(f"{target.name}: {title}: {found[-1]}", flush=True)
    return target.name, found


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("binary")
    arguments.add_argument("--peers", action="store_true")
    given = arguments.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    makers = [lambda folder: ours(given.binary, folder)] + ([pywps, pygeoapi] if given.peers else [])
    columns = [probe(make) for make in makers]
    print()
    print(f"| probe | {' | '.join(name for name, _ in columns)} |")
    print(f"|---|{'---|' * len(columns)}")
    for row, (title, _, _) in enumerate(PROBES):
        print(f"| {title} | {' | '.join(found[row] for _, found in columns)} |")


if __name__ == "__main__":
    main()
