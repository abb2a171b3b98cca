"""What the workloads share on the client's side: HTTP, wrk, what the machine can do at best, the table. Standard library only."""
import http.client
import json
import os
import platform
import re
import selectors
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HERE = os.path.dirname(os.path.abspath(__file__))
TERMINAL = ("successful", "failed", "dismissed")


# ---------------------------------------------------------------- requests
def request(base, method, path, body=None, headers=None, timeout=300):
    """-> status, headers, body"""
    u = urlsplit(base)
    connection = http.client.HTTPConnection(u.hostname, u.port, timeout=timeout)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def execution(process, inputs, *, respond_async=False, **members):
    """-> path, body, headers of an OGC API execute request"""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if respond_async:
        headers["Prefer"] = "respond-async"
    return f"/processes/{process}/execution", json.dumps({"inputs": inputs, **members}), headers


def raw_request(base, method, path, body="", headers=None):
    lines = [f"{method} {path} HTTP/1.1", f"Host: {urlsplit(base).netloc}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if method == "POST":
        lines.append(f"Content-Length: {len(body.encode())}")
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def _parse(buffer):
    """-> (status, head, body) of one whole answer, or None when some of it is still missing"""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head, body = bytes(buffer[:end]), buffer[end + 4:]
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.I)
    if length:
        if len(body) < int(length[1]):
            return None
    elif re.search(rb"\r\ntransfer-encoding: *chunked", head, re.I):
        if not body.endswith(b"0\r\n\r\n"):
            return None
        whole = b""
        while body:
            size, _, body = body.partition(b"\r\n")
            whole, body = whole + body[:int(size, 16)], body[int(size, 16) + 2:]
        body = whole
    return int(head[9:12]), head, bytes(body)


def burst(base, requests, in_flight, deadline=120):
    """Sends requests with so many in flight. One thread and no HTTP library: the client must not be what is measured.

    Connections are open before the clock starts. -> (clock at the first byte sent, answers in order of requests; None = lost)
    """
    u = urlsplit(base)
    selector = selectors.DefaultSelector()
    todo = iter(enumerate(requests))
    answers = [None] * len(requests)

    def connect():
        s = socket.create_connection((u.hostname, u.port), 30)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    sockets = [connect() for _ in range(min(in_flight, len(requests)))]
    started, waiting = time.time(), 0

    def send(s, i, data, again=False):
        nonlocal waiting
        s.sendall(data)
        waiting += 1
        selector.register(s, selectors.EVENT_READ, (i, bytearray(), data, again))

    def send_next(s):
        i, data = next(todo, (None, None))
        if data is None:
            s.close()
        else:
            send(s, i, data)

    for s in sockets:
        send_next(s)
    while waiting and time.time() - started < deadline:
        for key, _ in selector.select(1):
            s, (i, buffer, data, again) = key.fileobj, key.data
            try:
                piece = s.recv(1 << 16)
            except ConnectionError:
                piece = b""
            buffer += piece
            answer = _parse(buffer)
            if answer is None and piece:
                continue
            selector.unregister(s)
            waiting -= 1
            if not buffer and not again and data.startswith(b"GET "):
                # A server may close an idle connection at any time; asking again is safe for GET only.
                s.close()
                send(connect(), i, data, again=True)
                continue
            answers[i] = answer
            if answer is None or re.search(rb"\r\nconnection: *close", answer[1], re.I):
                s.close()
                s = connect()
            send_next(s)
    return started, answers


def submit_all(base, requests, in_flight, deadline=120):
    """Submits asynchronously, then asks for every job until it is done. -> what happened, as numbers"""
    started, answers = burst(base, requests, in_flight, deadline)
    submitted = time.time()
    accepted, refused = [], {}
    for answer in answers:
        location = answer and re.search(rb"\r\nlocation: *([^\r\n]+)", answer[1], re.I)
        if answer and answer[0] == 201 and location:
            u = urlsplit(location[1].decode().strip())
            accepted.append(u.path)
        else:
            reason = f"HTTP {answer[0]}" if answer else "no answer"
            refused[reason] = refused.get(reason, 0) + 1

    # From the last one backwards: the last submitted is the likeliest to be unfinished.
    states, finishes, rest = {}, [], accepted[::-1]
    while rest and time.time() - started < deadline:
        gets = [raw_request(base, "GET", path, headers={"Accept": "application/json"}) for path in rest]
        _, answers = burst(base, gets, 16, deadline)
        unfinished = []
        for path, answer in zip(rest, answers):
            try:
                status = json.loads(answer[2])
                state = status["status"]
            except (TypeError, ValueError, KeyError):
                state = None
            if state in TERMINAL:
                states[state] = states.get(state, 0) + 1
                finishes.append(status.get("finished"))
            else:
                unfinished.append(path)
        rest = unfinished
        if rest:
            time.sleep(0.005)
    seen = time.time()
    done = states.get("successful", 0)
    recorded = max((t for t in map(timestamp, finishes) if t), default=None)
    return {
        "submitted": len(requests), "accepted": len(accepted), "refused": refused, "states": states,
        "lost": len(accepted) - sum(states.values()), "submit_s": submitted - started, "seen_s": seen - started,
        "per_s": done / (seen - started),
        # By the jobs' own records: without the time the client takes to ask.
        "recorded_per_s": done / (recorded - started) if recorded and recorded > started else None,
    }


def timestamp(text):
    """RFC 3339 with a fraction -> seconds; None when it has whole seconds only and would say nothing"""
    m = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)(?:Z|\+00:00)", text or "")
    return m and datetime.fromisoformat(m[1]).replace(tzinfo=timezone.utc).timestamp() + float(m[2])


# ---------------------------------------------------------------- wrk
def wrk(base, path, body, headers, expect, connections=16, seconds=5):
    """Posts the body; without one, it asks. -> answers per second whose body was right, and percentiles in ms"""
    with tempfile.NamedTemporaryFile() as f:
        f.write((body or "").encode())
        f.flush()
        environment = dict(os.environ, BENCH_METHOD="GET" if body is None else "POST", BENCH_BODY=f.name, BENCH_EXPECT=expect,
                           BENCH_HEADERS="\n".join(f"{k}: {v}" for k, v in headers.items()))
        out = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "--latency",
                              "-s", os.path.join(HERE, "wrk.lua"), base + path],
                             env=environment, capture_output=True, text=True, check=True).stdout
    result = json.loads(next(line for line in out.splitlines() if line.startswith("{")))
    result["per_s"] = (result["requests"] - result["wrong"]) / result["seconds"]
    return result


# ---------------------------------------------------------------- a file server on loopback
class FileServer:
    """Serves the files of a folder by sendfile, so that it costs next to nothing."""

    def __init__(self, folder):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                with open(os.path.join(folder, os.path.basename(self.path)), "rb") as f:
                    self.send_response(200)
                    self.send_header("Content-Type", "application/geo+json")
                    self.send_header("Content-Length", str(os.fstat(f.fileno()).st_size))
                    self.end_headers()
                    self.wfile.flush()
                    self.connection.sendfile(f)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = "127.0.0.1:%d" % self.server.server_port

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


# ---------------------------------------------------------------- what the machine can do at best
def fsync_ms(folder, n=200):
    """Median time of appending 4 KiB and making it durable."""
    times = []
    with tempfile.NamedTemporaryFile(dir=folder) as f:
        for _ in range(n):
            t = time.perf_counter()
            os.write(f.fileno(), b"x" * 4096)
            os.fdatasync(f.fileno())
            times.append(time.perf_counter() - t)
    return statistics.median(times) * 1e3


def loopback_us(n=2000):
    """Median round trip of one byte over loopback between two processes."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    child = os.fork()
    if child == 0:
        s = socket.create_connection(("127.0.0.1", port))
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := s.recv(1):
            s.sendall(data)
        os._exit(0)
    s, _ = listener.accept()
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    times = []
    for _ in range(n):
        t = time.perf_counter()
        s.sendall(b"x")
        s.recv(1)
        times.append(time.perf_counter() - t)
    s.close()
    listener.close()
    os.waitpid(child, 0)
    return statistics.median(times) * 1e6


def spawn_ms(program, n=50):
    """Median time of starting a program and waiting for its end, from this Python."""
    times = []
    for _ in range(n):
        t = time.perf_counter()
        subprocess.run([program], stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - t)
    return statistics.median(times) * 1e3


def memcpy_gb_s(size=256 << 20, n=5):
    source, target = bytearray(size), bytearray(size)
    times = []
    for _ in range(n):
        t = time.perf_counter()
        memoryview(target)[:] = source
        times.append(time.perf_counter() - t)
    return size / min(times) / 1e9


# ---------------------------------------------------------------- what others take of the machine meanwhile
def fetch(url):
    """Only receives a file: the floor under every answer that is made of it. -> seconds"""
    u = urlsplit(url)
    t = time.perf_counter()
    with socket.create_connection((u.hostname, u.port)) as s:
        s.sendall(f"GET {u.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        buffer = bytearray(1 << 20)
        while s.recv_into(buffer):
            pass
    return time.perf_counter() - t


def _busy_s():
    """Processor time of the whole machine so far, without idle and waiting for disks."""
    with open("/proc/stat") as f:
        fields = [int(x) for x in f.readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


class Others:
    """Cores used by processes that are neither the server under test nor this client: above 0.2, measure again."""

    def __init__(self, server):
        self.server = server

    def _now(self):
        return time.time(), _busy_s(), self.server.cpu_s() + sum(os.times()[:4])

    def __enter__(self):
        self.begin = self._now()
        return self

    def __exit__(self, *_):
        wall, busy, known = (b - a for a, b in zip(self.begin, self._now()))
        self.cores = max(0.0, (busy - known) / max(wall, 1e-3))


# ---------------------------------------------------------------- printing
def number(value):
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def report(workload, rows, limits, details):
    """rows: (what, ours, peer, ratio, target as text, met). Prints them, appends everything to out/results.jsonl."""
    print(f"\n{workload}")
    cells = [("", "ours", "peer", "ratio", "target", "met")]
    cells += [(what, number(ours), number(peer), number(ratio), target, {True: "yes", False: "NO", None: ""}[met])
              for what, ours, peer, ratio, target, met in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(6)]
    for row in cells:
        print("  " + "  ".join(c.ljust(w) if i in (0, 4, 5) else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))).rstrip())
    print("  limit: " + "; ".join(limits), flush=True)
    os.makedirs(os.path.join(HERE, "out"), exist_ok=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True).stdout.strip()
    with open(os.path.join(HERE, "out", "results.jsonl"), "a") as f:
        line = {"workload": workload, "at": datetime.now(timezone.utc).isoformat(timespec="seconds"), "commit": commit,
                "cpus": os.cpu_count(), "kernel": platform.release(), "limits": limits, "details": details,
                "rows": [dict(zip(("what", "ours", "peer", "ratio", "target", "met"), row)) for row in rows]}
        f.write(json.dumps(line) + "\n")
    return all(met is not False for *_, met in rows)


def work_folder(name):
    """A fresh folder for one workload."""
    folder = os.path.join(os.environ.get("BENCH_WORK") or os.path.join(HERE, "out", "work"), name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    return folder
