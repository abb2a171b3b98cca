"""How programs are started on free loopback ports and ended: servers, and the Python peers as their documentation deploys them."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess

#: Longest wait for a program to start or to end, for one answer and for one job, in seconds: far above what any of them takes.
WAIT_S_MAX = 30

HERE = os.path.dirname(os.path.abspath(__file__))
PEERS = os.path.join(HERE, ".cache/peers/bin")

#: What starts each of them, and what it answers when it is ready.
PYWPS = ("pywps_app:application", "sync", ["pywps.cfg"], {"PYWPS_CFG": "@FOLDER@/pywps.cfg", "PYWPS_OUTPUTS": "@FOLDER@/outputs"})
PYWPS_READY = "/wps?service=WPS&request=GetCapabilities&version=1.0.0"
#: With the manager that keeps jobs: without it there is nothing asynchronous to test.
PYGEOAPI = ("pygeoapi.flask_app:APP", "gevent", ["pygeoapi.yml"],
            {"PYGEOAPI_CONFIG": "@FOLDER@/pygeoapi.yml", "PYGEOAPI_OPENAPI": "@FOLDER@/openapi.yml"})
PYGEOAPI_READY = "/processes?f=json"


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


def peer_command(application, worker_class, templates, environment, port, place):
    """What starts a Python peer in a folder of its own, as its documentation deploys it: command and environment.

    `templates`: configuration in `peers/`, of which @PORT@ and @FOLDER@ are filled in; `environment` may name them too.
    """

    def fill(text):
        return text.replace("@PORT@", str(port)).replace("@FOLDER@", place)

    for folder in ("outputs", "work", "results"):
        os.mkdir(os.path.join(place, folder))
    for template in templates:
        with open(os.path.join(HERE, "peers", template), encoding="utf-8") as source:
            with open(os.path.join(place, template), "w", encoding="utf-8") as target:
                target.write(fill(source.read()))
    environment = {name: fill(value) for name, value in environment.items()}
    environment |= {"PYTHONPATH": os.path.join(HERE, "peers"), "PYTHONDONTWRITEBYTECODE": "1"}
    if "PYGEOAPI_OPENAPI" in environment:
        command = [f"{PEERS}/pygeoapi", "openapi", "generate", environment["PYGEOAPI_CONFIG"], "--output-file", environment["PYGEOAPI_OPENAPI"]]
        subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True)
    command = [f"{PEERS}/gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", "2", "--worker-class", worker_class]
    return [*command, "--no-control-socket", application], environment


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def answers(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S_MAX)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", path)
        return connection.getresponse().status == 200
    return False
