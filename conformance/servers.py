"""Starts the servers under test on free loopback ports, each with a folder of its own, and ends them."""

import contextlib
import http.server
import os
import select
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

from harness import WAIT_S_MAX, Server
from schemas import Schemas, folder as schemas_folder

HERE = os.path.dirname(os.path.abspath(__file__))
FILES = {"/text.txt": b"by reference", "/number.txt": b"no number"}


@contextlib.contextmanager
def file_server():
    """What inputs refer to; its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = FILES.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()


@contextlib.contextmanager
def program(command, log, environment=None, **options):
    """A program for as long as the block lasts; asked to end first, killed after that."""
    with open(log, "wb") as file:
        process = subprocess.Popen(command, stderr=file, env={**os.environ, **(environment or {})}, **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(WAIT_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def log_of(path):
    with open(path, encoding="utf-8", errors="replace") as log:
        return log.read()[-3000:]


@contextlib.contextmanager
def anabranch(binary):
    with tempfile.TemporaryDirectory(prefix="anabranch-conformance.") as place, file_server() as files:
        config, log = os.path.join(place, "server.toml"), os.path.join(place, "server.log")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f'[egress]\nallow = ["{files}"]\n')
        command = [binary, "serve", "--config", config, "--data", os.path.join(place, "data")]
        for option in ("--listen", "--xmpp-listen", "--xmpp-tls-listen"):
            command += [option, "127.0.0.1:0"]
        with program(command, log, stdout=subprocess.PIPE) as process:
            url = listening(process, log)
            yield Server(url, f"{url}/wps", f"http://{files}", Schemas(schemas_folder()), strict=True)


def listening(process, log):
    """The address that the server prints when it is ready."""
    deadline = time.monotonic() + WAIT_S_MAX
    while time.monotonic() < deadline:
        if select.select([process.stdout], [], [], 0.5)[0]:
            line = process.stdout.readline().decode()
            if line.startswith("listening on "):
                return line.split()[-1]
            if not line:
                break
    raise SystemExit(f"the server did not start:\n{log_of(log)}")
