"""Starts the servers under test on free loopback ports, each with a folder of its own, and ends them."""

import collections
import contextlib
import http.server
import json
import os
import select
import subprocess
import tempfile
import threading
import time

from harness import WAIT_S_MAX, Server
from launch import PYGEOAPI, PYGEOAPI_READY, PYWPS, PYWPS_READY, answers, free_port, peer_command, program
from schemas import Schemas, folder as schemas_folder

#: `/large.txt` is one byte larger than what `limitedInput` takes.
FILES = {"/text.txt": b"by reference", "/number.txt": b"no number", "/large.txt": b"x" * (2**20 + 1)}


@contextlib.contextmanager
def file_server():
    """What inputs refer to; its address. What is posted to `/callbacks/…` is given back by GET: a list of bodies."""
    posted = collections.defaultdict(list)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            posted[self.path].append(body.decode())
            # What comes back shows what was posted, and with which header.
            self.answer(self.headers.get("X-Asked", "").encode() + b" " + body)

        def do_GET(self):
            is_callback = self.path.startswith("/callbacks/")
            self.answer(json.dumps(posted[self.path]).encode() if is_callback else FILES.get(self.path))

        def answer(self, body):
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


@contextlib.contextmanager
def running(url, wps):
    """A server that somebody else has started; it should be able to fetch from this machine's loopback."""
    with file_server() as files:
        yield Server(url, wps, f"http://{files}", Schemas(schemas_folder()), strict=False)


@contextlib.contextmanager
def peer(application, worker_class, templates, environment, ready):
    """A Python peer: its address and that of the file server."""
    with tempfile.TemporaryDirectory(prefix="conformance-peer.") as place, file_server() as files:
        port = free_port()
        command, environment = peer_command(application, worker_class, templates, environment, port, place)
        log = os.path.join(place, "server.log")
        with program(command, log, environment, cwd=place, stdout=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + WAIT_S_MAX
            while not answers(port, ready):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{application} did not start:\n{log_of(log)}")
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}", f"http://{files}"


@contextlib.contextmanager
def pywps():
    with peer(*PYWPS, PYWPS_READY) as (url, files):
        yield Server(None, f"{url}/wps", files, Schemas(schemas_folder()), strict=False)


@contextlib.contextmanager
def pygeoapi():
    with peer(*PYGEOAPI, PYGEOAPI_READY) as (url, files):
        yield Server(url, None, files, Schemas(schemas_folder()), strict=False)
