"""What the suites share: the list of tests, the server under test, HTTP, the table."""

import contextlib
import http.client
import http.server
import json
import os
import re
import select
import signal
import subprocess
import tempfile
import threading
import time
import traceback
import urllib.parse

#: Longest wait for one answer and for one job, in seconds: far above what any of them takes.
WAIT_S_MAX = 30


class Skip(Exception):
    """The test does not apply; the text says why."""


class Failure(Exception):
    """The server does not do what the test demands."""


def check(condition, reason):
    """Fails the test with a reason unless the condition holds."""
    if not condition:
        raise Failure(reason)


class Suite:
    """Tests in the order of their definition; `setup(server)` makes what they are called with."""

    def __init__(self, name, setup=lambda server: server):
        self.name, self.setup, self.tests = name, setup, []

    def test(self, identifier):
        def add(function):
            assert identifier not in (known for known, _ in self.tests), identifier
            self.tests.append((identifier, function))
            return function

        return add

    def run(self, server):
        """Yields (identifier, "passed" | "failed" | "skipped", reason)."""
        subject = self.setup(server)
        for identifier, function in self.tests:
            try:
                function(subject)
                yield identifier, "passed", ""
            except Skip as skip:
                yield identifier, "skipped", str(skip)
            except Failure as failure:
                yield identifier, "failed", str(failure)
            except Exception as error:  # A foreign client may raise anything at an answer it can't read.
                where = traceback.extract_tb(error.__traceback__)[-1]
                place = f"{os.path.basename(where.filename)}:{where.lineno}"
                yield identifier, "failed", f"{type(error).__name__}: {str(error)[:300]} ({place})"


class Answer:
    """One HTTP answer, read whole."""

    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def media_type(self):
        return (self.headers.get("Content-Type") or "").split(";")[0].strip().lower()

    @property
    def text(self):
        return self.body.decode("utf-8")

    def json(self):
        check(self.media_type.endswith("json"), f"content type {self.headers.get('Content-Type')} instead of JSON")
        return json.loads(self.body)

    def links(self):
        """The Link headers: relation -> address."""
        found = {}
        for header in self.headers.get_all("Link") or []:
            for href, parameters in re.findall(r"<([^>]*)>([^<]*)", header):
                rel = re.search(r'rel="?([^";]+)', parameters)
                found[rel.group(1) if rel else ""] = href
        return found

    def expect(self, *statuses):
        check(self.status in statuses, f"HTTP {self.status} instead of {statuses}: {self.body[:300]!r}")
        return self


class Server:
    """A server of our own on free loopback ports, and a file server whose address it may fetch from."""

    def __init__(self, binary, folder):
        self.folder = folder
        self.files = {"/text.txt": ("text/plain", b"by reference"), "/number.txt": ("text/plain", b"no number")}
        self._file_server = self._serve_files()
        self.files_url = f"http://127.0.0.1:{self._file_server.server_address[1]}"
        config = os.path.join(folder, "server.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f'[egress]\nallow = ["127.0.0.1:{self._file_server.server_address[1]}"]\n')
        command = [binary, "serve", "--config", config, "--data", os.path.join(folder, "data")]
        for option in ("--listen", "--xmpp-listen", "--xmpp-tls-listen"):
            command += [option, "127.0.0.1:0"]
        self._log = open(os.path.join(folder, "server.log"), "wb")
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._log)
        self.url = self._listening()

    def _serve_files(self):
        files = self.files

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                media_type, body = files.get(self.path, ("text/plain", None))
                self.send_response(200 if body is not None else 404)
                self.send_header("Content-Type", media_type)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def _listening(self):
        deadline = time.monotonic() + WAIT_S_MAX
        while time.monotonic() < deadline:
            if select.select([self._process.stdout], [], [], 0.5)[0]:
                line = self._process.stdout.readline().decode()
                if line.startswith("listening on "):
                    return line.split()[-1]
                if not line:
                    break
        self.stop()
        with open(self._log.name, encoding="utf-8", errors="replace") as log:
            raise SystemExit(f"the server did not start:\n{log.read()[-3000:]}")

    def stop(self):
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(WAIT_S_MAX)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._file_server.shutdown()
        self._log.close()

    def request(self, method, target, body=None, **headers):
        """`target` is a path or an address of this server; header names have `_` for `-`."""
        parts = urllib.parse.urlsplit(urllib.parse.urljoin(self.url, target))
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=WAIT_S_MAX)
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            headers.setdefault("Content_Type", "application/json")
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        with contextlib.closing(connection):
            # Every request of the official suites asks for JSON, whatever it is answered.
            headers.setdefault("Accept", "application/json")
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body.encode() if isinstance(body, str) else body, named)
            return Answer(connection.getresponse())

    def get(self, target, **headers):
        return self.request("GET", target, **headers)


def until(what, ready):
    """Waits until `ready()` is true, and gives it back."""
    deadline = time.monotonic() + WAIT_S_MAX
    while time.monotonic() < deadline:
        if value := ready():
            return value
        time.sleep(0.02)
    raise Failure(f"{what}: not within {WAIT_S_MAX} s")


@contextlib.contextmanager
def running(binary):
    """The server, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="anabranch-conformance.") as folder:
        server = Server(binary, folder)
        try:
            yield server
        finally:
            server.stop()


def table(rows):
    """Prints `suite | tests | passed | failed | skipped`."""
    heads = ("suite", "tests", "passed", "failed", "skipped")
    lines = [heads, *[tuple(str(cell) for cell in row) for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    for number, line in enumerate(lines):
        print(" | ".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths))))
        if number == 0:
            print("-|-".join("-" * width for width in widths))
