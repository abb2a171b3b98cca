"""OGC API - Processes - Part 1: Core 1.0: one test for each of the 82 abstract tests of the standard's annex A.

Written from the standard; OGC's own executable suite is not part of this (see README.md). Documents are read by the models of
`ogc-api-processes-client`, which were generated from OGC's schemas, so that we do not judge ourselves by our own reading.
"""

import base64
import email
import json
import re
import urllib.request
import uuid
from html.parser import HTMLParser

import jsonschema
import openapi_spec_validator
from ogc_api_processes_client import models
from openapi_schema_validator import OAS30Validator
from referencing.exceptions import Unresolvable

from harness import Failure, Skip, Suite, check, until

ERRORS = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/"
CONF = "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/"
REL = "http://www.opengis.net/def/rel/ogc/1.0/"
EXECUTION = "/processes/echo/execution"
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(16))).decode()


class Subject:
    """The server and what many tests need of it."""

    def __init__(self, server):
        self.server, self.get, self.request = server, server.get, server.request
        self.classes = self.get("/conformance").json()["conformsTo"]
        definition = next(link for link in self.get("/").json()["links"] if link["rel"] == "service-desc")
        self.definition = definition["href"]
        self.api = self.get(self.definition, Accept=definition["type"]).json()

    def declared(self, name):
        if CONF + name not in self.classes:
            raise Skip(f"the server does not declare the class {name}")

    def execute(self, body, **headers):
        return self.request("POST", EXECUTION, body, **headers)

    def start(self, body):
        """An asynchronous job: its answer."""
        return self.execute(body, Prefer="respond-async").expect(201)

    def start_any(self, body):
        """An asynchronous job, or why there is none."""
        return self.execute(body, Prefer="respond-async")

    def started(self, body):
        """An asynchronous job: its address."""
        location = self.start(body).headers["Location"]
        check(location, "no Location")
        return location

    def finish(self, body):
        """An asynchronous job that has ended: its address."""
        path = self.started(body)
        until(path, lambda: self.get(path).json()["status"] not in ("accepted", "running"))
        return path

    def processes(self):
        for summary in self.get("/processes?limit=1000").json()["processes"]:
            yield self.get(f"/processes/{summary['id']}").expect(200).json()

    def jobs(self, query):
        return self.get(f"/jobs?limit=1000&{query}").expect(200).json()["jobs"]


SUITE = Suite("OGC API - Processes 1.0, abstract tests", Subject)


def at(number, name):
    return SUITE.test(f"A.{number} /conf/{name}")


def schema(model, document):
    """The document as the foreign model reads it; raises where it can't."""
    read = model.from_dict(document)
    check(read is not None, f"{model.__name__}: nothing read")
    return read


def exception(answer, status, name=None):
    problem = answer.expect(status).json()
    schema(models.Exception, problem)
    check(answer.media_type == "application/json", f"content type {answer.media_type}")
    check(name is None or problem["type"] == ERRORS + name, f"type {problem['type']}")


def self_and_alternate(document):
    found = {link["rel"] for link in document["links"]}
    check({"self", "alternate"} <= found, f"links {sorted(found)}: self and alternate are missing")


def parts(answer):
    """The parts of a multipart answer: Content-ID -> part."""
    check(answer.media_type == "multipart/related", f"content type {answer.media_type}")
    head = b"Content-Type: " + answer.headers["Content-Type"].encode() + b"\r\n\r\n"
    whole = email.message_from_bytes(head + answer.body)
    return {part["Content-ID"].strip("<>"): part for part in whole.get_payload()}


@at(1, "core/landingpage-op")
def _(s):
    s.get("/").expect(200)


@at(2, "core/landingpage-success")
def _(s):
    page = s.get("/").json()
    schema(models.LandingPage, page)
    rels = {link["rel"] for link in page["links"]}
    check(rels & {"service-desc", "service-doc"}, "no link to the API definition")
    for name in ("conformance", "processes"):
        check(rels & {name, REL + name}, f"no link to {name}")


def api_links(s):
    return [link for link in s.get("/").json()["links"] if link["rel"] in ("service-desc", "service-doc")]


@at(3, "core/api-definition-op")
def _(s):
    for link in api_links(s):
        s.get(link["href"], Accept=link["type"]).expect(200)


@at(4, "core/api-definition-success")
def _(s):
    for link in api_links(s):
        answer = s.get(link["href"], Accept=link["type"])
        check(answer.headers["Content-Type"].replace(" ", "").startswith(link["type"]), answer.headers["Content-Type"])
        check(b"openapi" in answer.body or b"OpenAPI" in answer.body, f"{link['href']} is no API definition")


@at(5, "core/conformance-op")
def _(s):
    s.get("/conformance").expect(200)


@at(6, "core/conformance-success")
def _(s):
    schema(models.ConfClasses, s.get("/conformance").json())
    for name in ("core", "json"):
        check(CONF + name in s.classes, f"{name} is not declared")


@at(7, "core/http")
def _(s):
    check(s.get("/nowhere").status == 404, "an unknown path is not 404")
    check(s.request("PUT", "/processes").status == 405, "an unknown method is not 405")
    check(s.get("/processes?limit=x").status == 400, "a bad parameter is not 400")
    check(s.request("HEAD", "/processes").status == 200, "HEAD is not 200")


@at(8, "core/process-list")
def _(s):
    s.get("/processes").expect(200)


@at(9, "core/pl-limit-definition")
def _(s):
    limit_definition(s, "/processes")


def limit_definition(s, path):
    """`limit` is declared an integer with limits and a default, and its style is `form`, not exploded or by default."""
    limit = parameter(s, path, "limit")["schema"]
    check(limit["type"] == "integer" and limit["minimum"] == 1, f"limit: {limit}")
    check(limit["minimum"] <= limit["default"] <= limit["maximum"], f"limit: {limit}")


def parameter(s, path, name):
    for declared in s.api["paths"][path]["get"].get("parameters", []):
        declared = resolve(s, declared)
        if declared["name"] == name:
            check(declared["in"] == "query" and not declared.get("required"), f"{name}: {declared}")
            return declared
    check(False, f"{path}: no parameter {name}")


def resolve(s, element):
    while "$ref" in element:
        if not element["$ref"].startswith("#"):
            raise Skip(f"its parts are elsewhere on the web: {element['$ref']}")
        found = s.api
        for name in element["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        element = found
    return element


@at(10, "core/process-list-success")
def _(s):
    listed = s.get("/processes").expect(200).json()
    schema(models.ProcessList, listed)
    check(listed["processes"], "no processes")


@at(11, "core/pl-links")
def _(s):
    self_and_alternate(s.get("/processes").json())


@at(12, "core/pl-limit-response")
def _(s):
    for limit in (1, 2, 10, 1000):
        check(len(s.get(f"/processes?limit={limit}").json()["processes"]) <= limit, f"more than {limit}")
    seen, href = [], "/processes?limit=1"
    while href:
        page = s.get(href).json()
        seen += [process["id"] for process in page["processes"]]
        href = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
    everything = [process["id"] for process in s.get("/processes").json()["processes"]]
    check(seen == everything, f"page by page {seen}, at once {everything}")


@at(13, "core/process")
def _(s):
    for process in s.get("/processes").json()["processes"]:
        s.get(f"/processes/{process['id']}").expect(200)
        href = next(link["href"] for link in process["links"] if link["rel"] == "self")
        s.get(href).expect(200)


@at(14, "core/process-success")
def _(s):
    for process in s.processes():
        schema(models.Process, process)


@at(15, "core/process-exception-no-such-process")
def _(s):
    exception(s.get("/processes/no-such-process"), 404, "no-such-process")
    exception(s.request("POST", "/processes/no-such-process/execution", {"inputs": {}}), 404, "no-such-process")


@at(16, "core/job-creation-op")
def _(s):
    s.execute({"inputs": {"literalInput": "a"}}).expect(200)


@at(17, "core/job-creation-auto-execution-mode")
def _(s):
    answer = s.start({"inputs": {"literalInput": "a"}})
    check("respond-async" in (answer.headers["Preference-Applied"] or ""), "no Preference-Applied")


@at(18, "core/job-creation-default-execution-mode")
def _(s):
    s.execute({"inputs": {"literalInput": "a"}}).expect(200)


@at(19, "core/job-creation-request")
def _(s):
    exception(s.execute({"invalid-execute-request": {}}), 400)
    exception(s.execute("{"), 400)
    exception(s.execute("[]"), 400)
    exception(s.execute({"inputs": {}, "response": "other"}), 400)


def echoed(s, name, value, wanted=None):
    """The value comes back, whole, as the output of the same name."""
    body = {"inputs": {f"{name}Input": value}, "outputs": {f"{name}Output": {}}, "response": "document"}
    got = s.execute(body).expect(200).json()[f"{name}Output"]
    wanted = value if wanted is None else wanted
    check(got == wanted, f"{name}: {got!r} instead of {wanted!r}")


@at(20, "core/job-creation-inputs")
def _(s):
    reference = {"href": f"{s.server.files_url}/text.txt", "type": "text/plain"}
    body = {"inputs": {"literalInput": "inline", "complexInput": reference}, "response": "document"}
    got = s.execute(body).expect(200).json()
    check(got["literalOutput"] == "inline" and got["complexOutput"]["value"] == "by reference", f"{got}")


@at(21, "core/job-creation-input-inline")
def _(s):
    echoed(s, "literal", "text")
    echoed(s, "double", 1.5)
    echoed(s, "integer", -7)
    echoed(s, "boolean", True)
    echoed(s, "dateTime", "2026-01-02T03:04:05Z")


@at(22, "core/job-creation-input-ref")
def _(s):
    echoed(s, "literal", {"href": f"{s.server.files_url}/text.txt"}, "by reference")
    check(s.execute({"inputs": {"literalInput": {"href": f"{s.server.files_url}/gone"}}}).status >= 400, "404 was taken")


@at(23, "core/job-creation-input-array")
def _(s):
    for numbers in ([1, 2.5, 3], [1]):
        echoed(s, "array", numbers, {"mediaType": "application/json", "value": numbers})


@at(24, "core/job-creation-input-inline-object")
def _(s):
    value = {"a": [1, {"b": None}], "c": "ü"}
    echoed(s, "object", {"value": value}, {"mediaType": "application/json", "value": value})


@at(25, "core/job-creation-input-inline-mixed")
def _(s):
    for media_type, value in (("application/xml", "<a>1</a>"), ("text/plain", "<"), ("application/json", {"a": 1})):
        echoed(s, "mixed", {"mediaType": media_type, "value": value})


@at(26, "core/job-creation-input-inline-binary")
def _(s):
    echoed(s, "image", {"mediaType": "image/png", "encoding": "base64", "value": PNG})


@at(27, "core/job-creation-input-inline-bbox")
def _(s):
    box = {"bbox": [51.9, 7.0, 52.0, 7.1], "crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"}
    echoed(s, "boundingBox", box)


@at(28, "core/job-creation-input-validation")
def _(s):
    for inputs in (
        {"doubleInput": "abc"},
        {"integerInput": 1.5},
        {"choiceInput": 4},
        {"noSuchInput": 1},
        {"boundingBoxInput": {"bbox": [1, 2, 3]}},
        {"literalInput": ["a", "b"]},
        {"imageInput": {"mediaType": "image/png", "encoding": "base64", "value": "?"}},
    ):
        exception(s.execute({"inputs": inputs}), 400)
    exception(s.execute({"inputs": {"doubleInput": {"href": f"{s.server.files_url}/number.txt"}}}), 400)


TWO = {"inputs": {"literalInput": "a", "doubleInput": 2.5}}


def raw_value_one(answer):
    check(answer.expect(200).media_type == "text/plain" and answer.text == "a", f"{answer.media_type}: {answer.text}")


def raw_value_multi(answer):
    found = parts(answer.expect(200))
    check(found["literalOutput"].get_payload() == "a", "literalOutput")
    check(float(found["doubleOutput"].get_payload()) == 2.5, "doubleOutput")


def raw_ref(s, answer):
    answer.expect(204)
    check(not answer.body, "204 with a body")
    raw_value_one(s.get(answer.links()["literalOutput"]))


def raw_mixed_multi(s, answer):
    found = parts(answer.expect(200))
    check(float(found["doubleOutput"].get_payload()) == 2.5, "doubleOutput")
    reference = found["literalOutput"]
    check(not reference.get_payload().strip(), "a reference with a body")
    raw_value_one(s.get(reference["Content-Location"]))


def document(answer):
    check(answer.expect(200).json() == {"literalOutput": "a", "doubleOutput": 2.5}, answer.text)


ONE = {"inputs": {"literalInput": "a"}, "outputs": {"literalOutput": {"transmissionMode": "value"}}, "response": "raw"}
MULTI = {**TWO, "outputs": {"literalOutput": {}, "doubleOutput": {}}, "response": "raw"}
REFERENCE = {**ONE, "outputs": {"literalOutput": {"transmissionMode": "reference"}}}
MIXED = {**MULTI, "outputs": {"literalOutput": {"transmissionMode": "reference"}, "doubleOutput": {}}}
DOCUMENT = {**MULTI, "response": "document"}


@at(29, "core/job-creation-sync-raw-value-one")
def _(s):
    raw_value_one(s.execute(ONE))


@at(30, "core/job-creation-sync-raw-value-multi")
def _(s):
    raw_value_multi(s.execute(MULTI))


@at(31, "core/job-creation-sync-raw-ref")
def _(s):
    raw_ref(s, s.execute(REFERENCE))


@at(32, "core/job-creation-sync-raw-mixed-multi")
def _(s):
    raw_mixed_multi(s, s.execute(MIXED))


@at(33, "core/job-creation-sync-document")
def _(s):
    document(s.execute(DOCUMENT))


@at(34, "core/job-creation-success-async")
def _(s):
    answer = s.start({"inputs": {"literalInput": "a"}})
    status = answer.json()
    schema(models.StatusInfo, status)
    check(answer.headers["Location"].endswith(f"/jobs/{status['jobID']}"), f"Location {answer.headers['Location']}")
    s.get(answer.headers["Location"]).expect(200)


@at(35, "core/job-op")
def _(s):
    s.get(s.finish(ONE)).expect(200)


@at(36, "core/job-success")
def _(s):
    status = s.get(s.finish(ONE)).json()
    schema(models.StatusInfo, status)
    check(status["status"] == "successful" and status["processID"] == "echo", f"{status}")
    check(any(link["rel"] == REL + "results" for link in status["links"]), "no link to the results")


@at(37, "core/job-exception-no-such-job")
def _(s):
    exception(s.get("/jobs/no-such-job"), 404, "no-such-job")


@at(38, "core/job-results")
def _(s):
    s.get(s.finish(ONE) + "/results").expect(200)


@at(39, "core/job-results-sync")
def _(s):
    for body in (ONE, MULTI, DOCUMENT):
        monitor = s.execute(body).links().get("monitor")
        check(monitor, "no link to the job")
        schema(models.StatusInfo, s.get(monitor).expect(200).json())


@at(40, "core/job-results-async-raw-value-one")
def _(s):
    raw_value_one(s.get(s.finish(ONE) + "/results"))


@at(41, "core/job-results-async-raw-value-multi")
def _(s):
    raw_value_multi(s.get(s.finish(MULTI) + "/results"))


@at(42, "core/job-results-async-raw-ref")
def _(s):
    raw_ref(s, s.get(s.finish(REFERENCE) + "/results"))


@at(43, "core/job-results-async-raw-mixed-multi")
def _(s):
    raw_mixed_multi(s, s.get(s.finish(MIXED) + "/results"))


@at(44, "core/job-results-async-document")
def _(s):
    document(s.get(s.finish(DOCUMENT) + "/results"))


@at(45, "core/job-results-exception-no-such-job")
def _(s):
    exception(s.get("/jobs/no-such-job/results"), 404, "no-such-job")


@at(46, "core/job-results-exception-results-not-ready")
def _(s):
    path = s.started({"inputs": {"pause": 5}})
    exception(s.get(path + "/results"), 404, "result-not-ready")
    s.request("DELETE", path)


@at(47, "core/job-results-failed")
def _(s):
    # A reference is resolved after acceptance: the job fails, and its results say why.
    path = s.finish({"inputs": {"literalInput": {"href": f"{s.server.files_url}/gone"}}})
    check(s.get(path).json()["status"] == "failed", "the job did not fail")
    answer = s.get(path + "/results")
    exception(answer, answer.status)
    check(answer.status >= 400, f"HTTP {answer.status}")


@at(48, "ogc-process-description/json-encoding")
def _(s):
    s.declared("ogc-process-description")
    for process in s.processes():
        schema(models.Process, process)


def described(s, side):
    s.declared("ogc-process-description")
    for process in s.processes():
        check(isinstance(process[side], dict) and process[side], f"{process['id']}: {side}")
        for name, element in process[side].items():
            yield f"{process['id']}: {name}", element


@at(49, "ogc-process-description/inputs-def")
def _(s):
    list(described(s, "inputs"))


def valid_schemas(s, side):
    for name, element in described(s, side):
        check(isinstance(element.get("schema"), dict), f"{name}: no schema")
        OAS30Validator.check_schema(element["schema"])


@at(50, "ogc-process-description/input-def")
def _(s):
    valid_schemas(s, "inputs")


def mixed(s, side, name):
    """Several formats are alternatives, each with its media type."""
    found = dict(described(s, side))[f"echo: {name}"]["schema"]
    check(len(found["oneOf"]) == 3, f"{found}")
    check(all("contentMediaType" in one or "type" in one for one in found["oneOf"]), f"{found}")


@at(51, "ogc-process-description/input-mixed-type")
def _(s):
    mixed(s, "inputs", "mixedInput")


@at(52, "ogc-process-description/outputs-def")
def _(s):
    list(described(s, "outputs"))


@at(53, "ogc-process-description/output-def")
def _(s):
    valid_schemas(s, "outputs")


@at(54, "ogc-process-description/output-mixed-type")
def _(s):
    mixed(s, "outputs", "mixedOutput")


@at(55, "json/definition")
def _(s):
    s.declared("json")
    job = s.finish(DOCUMENT)
    for path in ("/", s.definition, "/conformance", "/processes", "/processes/echo", "/jobs", job, job + "/results"):
        json.dumps(s.get(path).expect(200).json())


class Anchors(HTMLParser):
    """The addresses that a page links to."""

    def __init__(self, text):
        super().__init__()
        self.hrefs = set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "a":
            self.hrefs.add(dict(attributes).get("href"))


PAGES = ("/", "/conformance", "/processes", "/processes/echo", "/jobs")


@at(56, "html/content")
def _(s):
    s.declared("html")
    for path in PAGES:
        hrefs = Anchors(s.get(path, Accept="text/html").text).hrefs
        missing = {link["href"] for link in s.get(path).json()["links"]} - hrefs
        check(not missing, f"{path}: not linked: {sorted(missing)}")


@at(57, "html/definition")
def _(s):
    s.declared("html")
    job = s.finish(ONE)
    for path in (*PAGES, job, job + "/results"):
        answer = s.get(path, Accept="text/html").expect(200)
        check(answer.media_type == "text/html" and answer.text.lstrip().lower().startswith("<!doctype html"), path)


@at(58, "oas30/completeness")
def _(s):
    s.declared("oas30")
    job = s.finish(DOCUMENT)
    for path, template in (
        ("/", "/"),
        ("/conformance", "/conformance"),
        ("/processes", "/processes"),
        ("/processes/echo", "/processes/{processID}"),
        ("/jobs", "/jobs"),
        (job, "/jobs/{jobId}"),
        (job + "/results", "/jobs/{jobId}/results"),
    ):
        fits_declaration(s, "get", template, s.get(path))
    fits_declaration(s, "post", EXECUTION, s.execute(DOCUMENT))
    fits_declaration(s, "post", EXECUTION, s.start(ONE))


def path_of(s, template):
    """The path in the API definition: parameters have the names that it gives them, or are filled in for each process."""
    wanted = re.sub(r"\{[^}]*\}", "echo", template)
    for path in s.api["paths"]:
        if re.sub(r"\{[^}]*\}", "echo", path) == wanted:
            return path
    raise Failure(f"{template} is not declared")


def fits_declaration(s, method, template, answer):
    """Status and media type are declared, and the body is valid by its declared schema."""
    responses = s.api["paths"][path_of(s, template)][method]["responses"]
    check(str(answer.status) in responses, f"{method} {template}: {answer.status} is not declared")
    content = resolve(s, responses[str(answer.status)]).get("content", {})
    check(answer.media_type in content or "*/*" in content, f"{method} {template}: {answer.media_type} is not declared")
    declared = content.get(answer.media_type, {}).get("schema")
    if declared and answer.media_type == "application/json":
        # The components beside it, for its references.
        whole = {**declared, "components": s.api["components"]} if "$ref" not in declared else {
            "allOf": [declared], "components": s.api["components"]
        }
        try:
            OAS30Validator(whole).validate(answer.json())
        except jsonschema.ValidationError as error:
            check(False, f"{method} {template} {answer.status}: {error.json_path}: {error.message[:200]}")


@at(59, "oas30/exceptions-codes")
def _(s):
    s.declared("oas30")
    none = "/jobs/2b4c8a3e-0000-4000-8000-000000000000"
    fits_declaration(s, "get", "/processes", s.get("/processes?limit=0"))
    fits_declaration(s, "get", "/processes/{processID}", s.get("/processes/none"))
    fits_declaration(s, "get", "/jobs", s.get("/jobs?status=x"))
    fits_declaration(s, "get", "/jobs/{jobId}", s.get(none))
    fits_declaration(s, "delete", "/jobs/{jobId}", s.request("DELETE", none))
    fits_declaration(s, "get", "/jobs/{jobId}/results", s.get(none + "/results"))
    fits_declaration(s, "post", EXECUTION, s.execute({"inputs": {"doubleInput": "x"}}))
    fits_declaration(s, "post", EXECUTION, s.execute("x", Content_Type="text/plain"))
    fits_declaration(s, "get", "/processes", s.get("/processes", Accept="image/png"))


@at(60, "oas30/oas-definition-1")
def _(s):
    s.declared("oas30")
    types = {link["type"] for link in api_links(s)}
    check({"application/vnd.oai.openapi+json;version=3.0", "text/html"} <= types, f"{sorted(types)}")


@at(61, "oas30/oas-definition-2")
def _(s):
    s.declared("oas30")
    check(re.fullmatch(r"3\.0\.\d+", s.api["openapi"]), f"openapi {s.api['openapi']}")
    try:
        openapi_spec_validator.validate(s.api)
    except Unresolvable as away:
        raise Skip(f"its parts are elsewhere on the web: {away}") from None


@at(62, "oas30/oas-impl")
def _(s):
    s.declared("oas30")
    for template, operations in s.api["paths"].items():
        path = re.sub(r"\{[^}]*\}", "none", template)
        for method in operations.keys() & {"get", "post", "delete"}:
            answer = s.request(method.upper(), path)
            check(answer.status not in (405, 501), f"{method} {template}: {answer.status}")
            check(str(answer.status) in operations[method]["responses"], f"{method} {template}: {answer.status} undeclared")


@at(63, "oas30/security")
def _(s):
    s.declared("oas30")
    # The server asks nobody who he is, so there is nothing to declare.
    check(all(s.get(path).status == 200 for path in PAGES), "a page asks for a login")
    check("securitySchemes" not in s.api["components"], "security schemes without a login")


@at(64, "job-list/job-list-op")
def _(s):
    s.declared("job-list")
    s.get("/jobs").expect(200)


def list_of(s, name, words=None):
    s.declared("job-list")
    declared = parameter(s, "/jobs", name)["schema"]
    check(declared["type"] == "array" and declared["items"]["type"] == "string", f"{declared}")
    check(words is None or set(declared["items"]["enum"]) == words, f"{declared}")


@at(65, "job-list/type-definition")
def _(s):
    list_of(s, "type")


@at(66, "job-list/processID-definition")
def _(s):
    list_of(s, "processID")


@at(67, "job-list/status-definition")
def _(s):
    list_of(s, "status", {"accepted", "running", "successful", "failed", "dismissed"})


@at(68, "job-list/datetime-definition")
def _(s):
    s.declared("job-list")
    check(parameter(s, "/jobs", "datetime")["schema"]["type"] == "string", "datetime is no string")


@at(69, "job-list/duration-definition")
def _(s):
    s.declared("job-list")
    for name in ("minDuration", "maxDuration"):
        check(parameter(s, "/jobs", name)["schema"]["type"] == "integer", f"{name} is no integer")


@at(70, "job-list/limit-definition")
def _(s):
    s.declared("job-list")
    limit_definition(s, "/jobs")


@at(71, "job-list/job-list-success")
def _(s):
    s.declared("job-list")
    schema(models.JobList, s.get("/jobs").json())


@at(72, "job-list/links")
def _(s):
    s.declared("job-list")
    self_and_alternate(s.get("/jobs").json())


@at(73, "job-list/type-response")
def _(s):
    s.declared("job-list")
    check(s.jobs("type=process") and not s.jobs("type=other"), "type does not filter")


@at(74, "job-list/processID-mandatory")
def _(s):
    s.declared("job-list")
    check(all(job.get("processID") for job in s.jobs("")), "a job without processID")


@at(75, "job-list/processID-response")
def _(s):
    s.declared("job-list")
    check({job["processID"] for job in s.jobs("processID=echo")} == {"echo"}, "other processes, or none")
    check(not s.jobs("processID=simplify_douglas_peucker"), "jobs of another process")


@at(76, "job-list/status-response")
def _(s):
    s.declared("job-list")
    for status in ("successful", "failed", "dismissed"):
        check({job["status"] for job in s.jobs(f"status={status}")} <= {status}, f"not only {status}")
    both = {job["status"] for job in s.jobs("status=successful,failed")}
    check(both == {"successful", "failed"}, f"{both}")


@at(77, "job-list/datetime-response")
def _(s):
    s.declared("job-list")
    path = s.finish(ONE)
    created = s.get(path).json()["created"]
    ids = lambda query: {job["jobID"] for job in s.jobs(query)}
    mine = path.rsplit("/", 1)[1]
    check(mine in ids(f"datetime={created}/.."), "from its creation on")
    check(mine in ids(f"datetime={created}"), "at its creation")
    check(mine not in ids("datetime=../2020-01-01T00:00:00Z"), "before its creation")
    check(mine in ids("datetime=2020-01-01T00:00:00Z/2999-01-01T00:00:00Z"), "in an interval around it")


@at(78, "job-list/duration-response")
def _(s):
    s.declared("job-list")
    slow = s.finish({"inputs": {"pause": 1.2}}).rsplit("/", 1)[1]
    ids = lambda query: {job["jobID"] for job in s.jobs(query)}
    check(slow in ids("minDuration=1") and slow not in ids("maxDuration=1"), "a job of 1.2 s")
    check(slow not in ids("minDuration=2"), "minDuration=2 has a job of 1.2 s")


@at(79, "job-list/limit-response")
def _(s):
    s.declared("job-list")
    page = s.get("/jobs?limit=2").json()
    check(len(page["jobs"]) == 2, f"{len(page['jobs'])} jobs")
    following = s.get(next(link["href"] for link in page["links"] if link["rel"] == "next")).json()
    check(not {job["jobID"] for job in page["jobs"]} & {job["jobID"] for job in following["jobs"]}, "a job twice")


@at(80, "callback/job-callback")
def _(s):
    s.declared("callback")
    succeeded, dismissed = subscriber(s), subscriber(s)
    s.finish({"inputs": {"literalInput": "told", "pause": 1}, "subscriber": succeeded})
    results = told(s, succeeded["successUri"])
    check(results["literalOutput"] in ("told", {"value": "told"}), f"results {results}")
    running = told(s, succeeded["inProgressUri"])
    schema(models.StatusInfo, running)
    check(running["status"] == "running", f"in progress: {running['status']}")
    check(not posts(s, succeeded["failedUri"]), "told of a failure that there was not")

    path = s.started({"inputs": {"pause": 600}, "subscriber": dismissed})
    s.request("DELETE", path).expect(200)
    status = told(s, dismissed["failedUri"])
    schema(models.StatusInfo, status)
    check(status["status"] == "dismissed", f"failed: {status['status']}")
    check(not posts(s, dismissed["successUri"]), "told of a success that there was not")
    refused = s.start_any({"inputs": {}, "subscriber": {"successUri": "http://169.254.169.254/"}})
    check(refused.status == 400, f"a metadata service may be called: HTTP {refused.status}")


def subscriber(s):
    """Addresses of their own for one job, at which nothing has been posted."""
    token = uuid.uuid4().hex
    return {f"{event}Uri": f"{s.server.files_url}/callbacks/{token}/{event}" for event in ("success", "inProgress", "failed")}


def posts(s, address):
    with urllib.request.urlopen(address, timeout=30) as answer:
        return [json.loads(body) for body in json.load(answer)]


def told(s, address):
    """What is posted there; exactly one body."""
    bodies = until(f"a callback to {address}", lambda: posts(s, address))
    check(len(bodies) == 1, f"{len(bodies)} callbacks of one state")
    return bodies[0]


@at(81, "dismiss/job-dismiss-op")
def _(s):
    s.declared("dismiss")
    path = s.started({"inputs": {"pause": 600}})
    s.request("DELETE", path).expect(200)


@at(82, "dismiss/job-dismiss-success")
def _(s):
    s.declared("dismiss")
    path = s.started({"inputs": {"pause": 600}})
    status = s.request("DELETE", path).expect(200).json()
    schema(models.StatusInfo, status)
    check(status["status"] == "dismissed", f"{status['status']}")
    check(s.get(path).json()["status"] == "dismissed", "not dismissed afterwards")
    exception(s.request("DELETE", "/jobs/no-such-job"), 404, "no-such-job")
