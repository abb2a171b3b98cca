"""Clients that others wrote, each doing a person's work against the server."""

import contextlib
import io
import subprocess
import time
import warnings

import openapi_spec_validator
from birdy import WPSClient
from ogc_api_processes_client import models
from ogc_api_processes_client.api_client_wrapper import ApiClientWrapper
from ogc_api_processes_client.configuration import Configuration
from owslib.ogcapi.processes import Processes
from owslib.util import ServiceException
from owslib.wps import ASYNC, SYNC, BoundingBoxDataInput, ComplexDataInput, WebProcessingService

from harness import WAIT_S_MAX, Suite, check, until

warnings.filterwarnings("ignore", module="owslib|birdy")


class Subject:
    def __init__(self, server):
        self.server, self.wps_url = server, f"{server.url}/wps"
        self.wps = WebProcessingService(self.wps_url)


SUITE = Suite("foreign clients", Subject)


@SUITE.test("OWSLib, WPS: capabilities")
def _(s):
    check(s.wps.identification.type == "WPS" and s.wps.identification.version == "1.0.0", "identification")
    found = [process.identifier for process in s.wps.processes]
    check({"echo", "simplify_douglas_peucker"} <= set(found), f"{found}")
    check({operation.name for operation in s.wps.operations} >= {"DescribeProcess", "Execute"}, "operations")


@SUITE.test("OWSLib, WPS: describe")
def _(s):
    process = s.wps.describeprocess("echo")
    kinds = {put.identifier: put.dataType for put in process.dataInputs}
    check(kinds["literalInput"].endswith("string") and kinds["complexInput"] == "ComplexData", f"{kinds}")
    check(kinds["boundingBoxInput"] == "BoundingBoxData", f"{kinds}")
    choice = next(put for put in process.dataInputs if put.identifier == "choiceInput")
    check([str(value) for value in choice.allowedValues] == ["1", "2", "3", "5", "8"], f"{choice.allowedValues}")
    check(process.storeSupported and process.statusSupported, "store or status")


def done(execution):
    deadline = time.monotonic() + WAIT_S_MAX
    while not execution.isComplete():
        check(time.monotonic() < deadline, f"{execution.status}: not within {WAIT_S_MAX} s")
        execution.checkStatus(sleepSecs=0.05)
    check(execution.isSucceded(), f"{execution.status}: {[error.text for error in execution.errors]}")
    return {output.identifier: output for output in execution.processOutputs}


@SUITE.test("OWSLib, WPS: synchronous execution")
def _(s):
    outputs = done(s.wps.execute("echo", [("literalInput", "ä<&>"), ("doubleInput", "2.5")], mode=SYNC))
    check(outputs["literalOutput"].data == ["ä<&>"], f"{outputs['literalOutput'].data}")
    check(float(outputs["doubleOutput"].data[0]) == 2.5, f"{outputs['doubleOutput'].data}")


@SUITE.test("OWSLib, WPS: asynchronous execution with its percentage")
def _(s):
    # OWSLib asks for an asynchronous answer only where it also names an output.
    execution = s.wps.execute("echo", [("pause", "1"), ("literalInput", "later")], output=[("literalOutput", False)], mode=ASYNC)
    check(execution.statusLocation and not execution.isComplete(), f"{execution.status}")
    seen = set()
    while not execution.isComplete():
        execution.checkStatus(sleepSecs=0.05)
        seen.add(execution.percentCompleted)
    check(any(0 < percent < 100 for percent in seen), f"{seen}")
    check(done(execution)["literalOutput"].data == ["later"], "the output")


@SUITE.test("OWSLib, WPS: complex data, inline and by reference")
def _(s):
    inline = ComplexDataInput("<a><b>1</b></a>", mimeType="text/xml")
    outputs = done(s.wps.execute("echo", [("complexInput", inline)], mode=SYNC))
    check("<b>1</b>" in str(outputs["complexOutput"].data[0]), f"{outputs['complexOutput'].data}")
    reference = ComplexDataInput(f"{s.server.files_url}/text.txt", mimeType="text/plain")
    outputs = done(s.wps.execute("echo", [("complexInput", reference)], mode=SYNC))
    check("by reference" in str(outputs["complexOutput"].data[0]), f"{outputs['complexOutput'].data}")


@SUITE.test("OWSLib, WPS: bounding box")
def _(s):
    # OWSLib writes corners as they are given, and reads them as x and y: turned round where the CRS has latitude first.
    for crs, wanted in (("EPSG:4326", [7.0, 51.9, 7.1, 52.0]), ("http://www.opengis.net/def/crs/OGC/1.3/CRS84", [51.9, 7.0, 52.0, 7.1])):
        box = BoundingBoxDataInput([51.9, 7.0, 52.0, 7.1], crs=crs)
        data = done(s.wps.execute("echo", [("boundingBoxInput", box)], mode=SYNC))["boundingBoxOutput"].data[0]
        found = [float(value) for value in (data.minx, data.miny, data.maxx, data.maxy)]
        check(found == wanted, f"{crs}: {found}")


@SUITE.test("OWSLib, WPS: output by reference, fetched")
def _(s):
    execution = s.wps.execute("echo", [("literalInput", "kept")], output=[("literalOutput", True)], mode=SYNC)
    output = done(execution)["literalOutput"]
    check(output.reference, "no reference")
    check(output.retrieveData() == b"kept", f"{output.retrieveData()}")


@SUITE.test("OWSLib, WPS: a fault is an error with its text")
def _(s):
    try:
        s.wps.execute("echo", [("doubleInput", "x")], mode=SYNC)
    except ServiceException as error:
        check("InvalidParameterValue" in str(error) and "doubleInput" in str(error), f"{error}")
    else:
        check(False, "no error")


@SUITE.test("OWSLib, OGC API: processes, description, execution both ways")
def _(s):
    client = Processes(s.server.url)
    check("echo" in [process["id"] for process in client.processes()], "no echo")
    check(client.process("echo")["inputs"]["literalInput"]["schema"] == {"type": "string"}, "description")
    got = client.execute("echo", inputs={"literalInput": "a", "doubleInput": 2.5})
    check(got == {"literalOutput": "a", "doubleOutput": 2.5}, f"{got}")
    job = client.execute("echo", inputs={"literalInput": "b"}, async_=True)
    check(job["jobID"] if isinstance(job, dict) else job, f"{job}")


@SUITE.test("ogc-api-processes-client: landing page to dismissal")
def _(s):
    client = ApiClientWrapper(Configuration(host=s.server.url))
    check(client.get_landing_page().links, "landing page")
    check(client.get_conformance_classes().conforms_to, "conformance")
    check("echo" in [process.id for process in client.get_processes().processes], "no echo")
    check("literalInput" in client.get_process_description("echo").inputs, "description")
    headers = {"Content-Type": "application/json", "Prefer": "respond-async"}
    job = client.execute_simple("echo", execute={"inputs": {"literalInput": "a"}}, _headers=headers)
    ended = until("the job", lambda: (found := client.get_status(job.job_id)).finished and found)
    check(ended.status == models.StatusCode.SUCCESSFUL, f"{ended.status}")
    check(job.job_id in [listed.job_id for listed in client.get_jobs().jobs], "not listed")
    slow = client.execute_simple("echo", execute={"inputs": {"pause": 600}}, _headers=headers)
    check(client.dismiss(slow.job_id).status == models.StatusCode.DISMISSED, "not dismissed")


@SUITE.test("openapi-spec-validator: the API definition")
def _(s):
    openapi_spec_validator.validate(s.server.get("/api").json())


def birdy(s, **options):
    with contextlib.redirect_stdout(io.StringIO()):
        return WPSClient(s.wps_url, **options)


@SUITE.test("birdy: a process is a function")
def _(s):
    client = birdy(s, processes=["simplify_douglas_peucker"])
    line = '{"type":"LineString","coordinates":[[0,0],[1,0.001],[2,0]]}'
    names = {put.identifier for put in s.wps.describeprocess("simplify_douglas_peucker").dataInputs}
    check(names >= {"data", "tolerance"}, f"{names}")
    got = client.simplify_douglas_peucker(data=line, tolerance=0.1).get(asobj=True)[0]
    check("[2" in str(got).replace(" ", "") and "0.001" not in str(got), f"{got}")


@SUITE.test("birdy: every process, bounding boxes included")
def _(s):
    check(birdy(s).echo, "no echo")


def curl(*arguments):
    return subprocess.run(["curl", "-sS", "--fail-with-body", *arguments], check=True, capture_output=True, text=True, timeout=WAIT_S_MAX).stdout


@SUITE.test("curl, as people write it: JSON, key-value pairs, XML, a job followed to its result")
def _(s):
    execution = f"{s.server.url}/processes/echo/execution"
    body = ("-H", "Content-Type: application/json", "-d", '{"inputs": {"literalInput": "a"}}')
    check(curl(execution, *body) == "a", "JSON")
    query = "service=WPS&version=1.0.0&request=Execute&identifier=echo&DataInputs=literalInput=a&RawDataOutput=literalOutput"
    check(curl(f"{s.wps_url}?{query}") == "a", "key-value pairs")
    capabilities = '<wps:GetCapabilities service="WPS" xmlns:wps="http://www.opengis.net/wps/2.0"/>'
    check("<wps:Capabilities" in curl(s.wps_url, "-d", capabilities, "-H", "Content-Type: text/xml"), "XML")
    # curl's own word for the content type of -d, which is wrong for XML and common.
    check("<wps:Capabilities" in curl(s.wps_url, "-d", capabilities), "XML, called a form")
    location = curl(execution, *body, "-H", "Prefer: respond-async", "-o", "/dev/null", "-w", "%header{location}")
    until("the job", lambda: '"successful"' in curl(location))
    check(curl(f"{location}/results") == "a", "the result of the job")
