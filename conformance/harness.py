"""What the suites share: the list of tests, the server under test, HTTP."""

import contextlib
import http.client
import json
import os
import re
import time
import traceback
import urllib.parse
import xml.etree.ElementTree as ElementTree

from lxml import etree

from launch import WAIT_S_MAX
from schemas import Invalid


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
        try:
            subject = self.setup(server)
        except Exception as error:  # What every test needs is not there, whatever it is.
            yield from ((identifier, "failed", f"not begun: {error}"[:300]) for identifier, _ in self.tests)
            return
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
    """A server under test: where its interfaces are, and what its echo process takes.

    Every answer is judged by the schemas, whatever the test. `strict`: one that is not valid fails the test.
    """

    #: What the tests call, if the server under test has it. A test that needs more than that server offers is skipped.
    PROCESSES = ("echo", "simplify_douglas_peucker", "org.n52.javaps.test.EchoProcess")
    INPUTS = ("pause", *(f"{kind}Input" for kind in (
        "literal", "double", "integer", "boolean", "dateTime", "choice", "array", "object", "mixed", "image", "complex", "boundingBox", "features", "limited"
    )))

    def __init__(self, url, wps, files_url, schemas, strict):
        #: Root of OGC API - Processes and address of WPS, without a slash at the end; None where it has none.
        self.url, self.wps = url and url.rstrip("/"), wps
        #: Where `/text.txt`, `/number.txt` and `/large.txt` are, which the server may fetch, and nothing else; what is posted to
        #: `/posted` comes back.
        self.files_url = files_url
        self.schemas, self.strict = schemas, strict
        #: Jobs of which a document of results was asked for.
        self._documents = set()
        self.lacking = frozenset()
        self.lacking = self._lacking()

    def _lacking(self):
        """Of what tests call, the names that the server does not have, by its own descriptions."""
        if self.url is not None:
            listed = [process["id"] for process in self._described("/processes?limit=1000").json()["processes"]]
            inputs = list(self._described("/processes/echo").json()["inputs"])
        else:
            kvp = "/wps?service=WPS&version=1.0.0&request="
            identifier = r"<(?:\w+:)?Identifier>([^<]*)</"
            listed = re.findall(identifier, self._described(f"{kvp}GetCapabilities").text)
            inputs = re.findall(identifier, self._described(f"{kvp}DescribeProcess&identifier=echo").text)
        return frozenset(self.PROCESSES).difference(listed) | frozenset(self.INPUTS).difference(inputs)

    def _described(self, target):
        answer = self._ask("GET", target, None, {"Accept": "*/*" if self.url is None else "application/json"})
        if answer.status != 200:
            raise SystemExit(f"{target}: HTTP {answer.status}: the tests need a process `echo`: {answer.body[:300]!r}")
        return answer

    def address(self, target):
        """`target`: a path below the root, one below `/wps`, or an address that the server has given."""
        if re.match(r"/wps\b", target):
            return self.wps + target.removeprefix("/wps")
        return self.url + target if target.startswith("/") else urllib.parse.urljoin(self.url or self.wps, target)

    def request(self, method, target, body=None, **headers):
        """Header names have `_` for `-`. Skips the test where the server has not got what the request names."""
        document = isinstance(body, dict) and body.get("response") == "document"
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            headers.setdefault("Content_Type", "application/json")
        # Every request of the official suites asks for JSON, whatever it is answered.
        headers.setdefault("Accept", "application/json")
        for name in sorted(self.lacking):
            if re.search(rf"(?<![\w.]){name}(?![\w.])", f"{target} {body}"):
                raise Skip(f"it has no {name}")
        answer = self._ask(method, target, body, {name.replace("_", "-"): value for name, value in headers.items()})
        self._judge(target, answer, document)
        return answer

    def _ask(self, method, target, body, headers):
        parts = urllib.parse.urlsplit(self.address(target))
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=WAIT_S_MAX)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        with contextlib.closing(connection):
            connection.request(method, path, body.encode() if isinstance(body, str) else body, headers)
            return Answer(connection.getresponse())

    def _judge(self, target, answer, document):
        """Judges the answer by the schemas."""
        path = urllib.parse.urlsplit(self.address(target).removeprefix(self.url or "")).path or "/"
        job = re.fullmatch(r"/jobs/([^/]+)/results", path)
        if document and answer.status == 201:
            self._documents.add((answer.headers.get("Location") or "").rsplit("/", 1)[-1])
        try:
            self.schemas.answer(path, answer, document or (job and job[1] in self._documents))
        except Invalid as invalid:
            if self.strict:
                raise Failure(f"{target}: {invalid}") from None

    def valid(self, element):
        """Fails the test where an element (of the standard library's ElementTree) is not as its schema says."""
        try:
            self.schemas.element(etree.fromstring(ElementTree.tostring(element)))
        except Invalid as invalid:
            raise Failure(f"{invalid}") from None

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
