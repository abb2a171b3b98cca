"""WPS 1.0.0 (OGC 05-007r7): a test for each requirement that shows from outside within seconds, by KVP and by POST.

Every answer is judged by the schemas of WPS and OWS Common (see harness.py); what they don't say is tested here.
"""

import re
import urllib.parse
import xml.etree.ElementTree as ElementTree

from harness import Skip, Suite, check, until

WPS, OWS, XLINK = "http://www.opengis.net/wps/1.0.0", "http://www.opengis.net/ows/1.1", "http://www.w3.org/1999/xlink"
LANG = "{http://www.w3.org/XML/1998/namespace}lang"
NAMES = {"wps": WPS, "ows": OWS, "xlink": XLINK}
NAMESPACES = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMES.items())


class Subject:
    """The server and what many tests need of it."""

    def __init__(self, server):
        self.server = server

    def valid(self, element):
        """An element of OWS inside of a document: where there is no schema of WPS, the document itself is not judged."""
        self.server.valid(element)
        return element

    def kvp(self, request, **parameters):
        given = {"service": "WPS", "version": "1.0.0", "request": request, **parameters}
        # As written: what is to be encoded stands encoded in the test.
        query = "&".join(f"{name}={value}" for name, value in given.items() if value is not None)
        return self.server.get(f"/wps?{query}", Accept="*/*")

    def post(self, body):
        return self.server.request("POST", "/wps", body, Content_Type="text/xml", Accept="*/*")

    def execute(self, inputs="literalInput=a", **parameters):
        return self.kvp("Execute", identifier="echo", DataInputs=inputs, **parameters)

    def execute_xml(self, inputs, form=""):
        return self.post(
            f'<wps:Execute service="WPS" version="1.0.0" {NAMESPACES}><ows:Identifier>echo</ows:Identifier>'
            f"<wps:DataInputs>{inputs}</wps:DataInputs>{form}</wps:Execute>"
        )

    def document(self, answer, root):
        """A document of WPS: its root."""
        answer.expect(200)
        check(answer.media_type in ("text/xml", "application/xml"), f"content type {answer.media_type}")
        element = ElementTree.fromstring(answer.body)
        check(element.tag == f"{{{WPS}}}{root}", f"{element.tag} instead of wps:{root}")
        check(element.get("service") == "WPS" and element.get("version") == "1.0.0", f"{element.attrib}")
        check(element.get(LANG), "no xml:lang")
        return element

    def refused(self, answer, code, locator=None, status=400):
        """An exception report, valid by its schema."""
        answer.expect(status)
        check(answer.media_type == "text/xml", f"content type {answer.media_type}")
        report = self.valid(ElementTree.fromstring(answer.body))
        check(report.tag == f"{{{OWS}}}ExceptionReport", report.tag)
        found = [(item.get("exceptionCode"), item.get("locator")) for item in report.iterfind("ows:Exception", NAMES)]
        check(any(c == code and (locator is None or l == locator) for c, l in found), f"{found}, not {code} at {locator}")

    def outputs(self, answer):
        """Identifier -> what stands in the output after the description, of a job that has succeeded."""
        root = self.document(answer, "ExecuteResponse")
        check(root.find("wps:Status/wps:ProcessSucceeded", NAMES) is not None, "not succeeded")
        found = {}
        for output in root.iterfind("wps:ProcessOutputs/wps:Output", NAMES):
            last = output[-1]
            found[text(output, "ows:Identifier")] = last[0] if last.tag == f"{{{WPS}}}Data" else last
        return found


SUITE = Suite("WPS 1.0.0, requirements", Subject)
STANDARD = {"GetCapabilities", "DescribeProcess", "Execute"}
RAW = {"RawDataOutput": "literalOutput"}
LITERAL = "<wps:Input><ows:Identifier>literalInput</ows:Identifier>{}</wps:Input>"
DATA = LITERAL.format("<wps:Data><wps:LiteralData>a</wps:LiteralData></wps:Data>")


def text(element, path):
    found = element.find(path, NAMES)
    check(found is not None, f"no {path} in {element.tag}")
    return found.text


@SUITE.test("G1 names of parameters in any case, unknown ones ignored")
def _(s):
    one = "AcceptVersions=1.0.0"
    for query in ("SERVICE=WPS&REQUEST=GetCapabilities&ACCEPTVERSIONS=1.0.0", f"service=WPS&Request=GetCapabilities&other=1&{one}"):
        s.document(s.server.get(f"/wps?{query}", Accept="*/*"), "Capabilities")


@SUITE.test("G2 service is required and must be WPS")
def _(s):
    s.refused(s.kvp("GetCapabilities", service=None), "MissingParameterValue", "service")
    s.refused(s.kvp("GetCapabilities", service="WMS"), "InvalidParameterValue", "service")


@SUITE.test("G3 request is required and must be an operation")
def _(s):
    s.refused(s.kvp(None), "MissingParameterValue", "request")
    s.refused(s.kvp("GetMap"), "OperationNotSupported", "GetMap", status=501)


@SUITE.test("G4 version is required and must be offered")
def _(s):
    for operation in ("DescribeProcess", "Execute"):
        s.refused(s.kvp(operation, identifier="echo", version=None), "MissingParameterValue", "version")
        s.refused(s.kvp(operation, identifier="echo", version="0.9"), "InvalidParameterValue", "version")


@SUITE.test("G5 exception reports: OWS 1.1, version 1.0.0, every fault an exception")
def _(s):
    answer = s.execute("doubleInput=x;integerInput=y")
    s.refused(answer, "InvalidParameterValue", "doubleInput")
    s.refused(answer, "InvalidParameterValue", "integerInput")
    check(ElementTree.fromstring(answer.body).get("version") == "1.0.0", "version")


@SUITE.test("G6 language")
def _(s):
    for operation in ("GetCapabilities", "DescribeProcess", "Execute"):
        s.kvp(operation, identifier="echo", language="en-US", DataInputs="literalInput=a").expect(200)
        s.refused(s.kvp(operation, identifier="echo", language="xx-YY"), "InvalidParameterValue", "language")


@SUITE.test("G7 XML: no DTD, no entities, nothing else than XML, an empty body")
def _(s):
    bomb = '<!DOCTYPE a [<!ENTITY e "x">]><wps:GetCapabilities service="WPS" xmlns:wps="%s">&e;</wps:GetCapabilities>' % WPS
    for body in (bomb, "<a", "a", "<a/>"):
        answer = s.post(body)
        check(answer.status >= 400, f"HTTP {answer.status}")
        s.valid(ElementTree.fromstring(answer.body))
    s.refused(s.server.request("POST", "/wps?service=WPS&request=GetCapabilities", ""), "NoApplicableCode")


@SUITE.test("G9 SOAP: offered, or neither advertised nor supported")
def _(s):
    root = s.document(s.kvp("GetCapabilities"), "Capabilities")
    if root.find("wps:WSDL", NAMES) is not None:
        raise Skip("it has SOAP")
    envelope = '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body/></s:Envelope>'
    s.refused(s.post(envelope), "OperationNotSupported", status=501)


@SUITE.test("C1 GetCapabilities by GET and by POST, both advertised")
def _(s):
    root = s.document(s.kvp("GetCapabilities"), "Capabilities")
    operations = root.findall("ows:OperationsMetadata/ows:Operation", NAMES)
    names = {operation.get("name") for operation in operations}
    check(STANDARD <= names, f"{names}")
    for operation in operations:
        # Operations of a vendor may have one method only.
        methods = ("Get", "Post") if operation.get("name") in STANDARD else ("Get",)
        for method in methods:
            check(operation.find(f"ows:DCP/ows:HTTP/ows:{method}", NAMES) is not None, f"{operation.get('name')}: no {method}")
    s.document(s.post(f'<wps:GetCapabilities service="WPS" {NAMESPACES}/>'), "Capabilities")


@SUITE.test("C2 versions are negotiated")
def _(s):
    s.document(s.kvp("GetCapabilities", version=None, AcceptVersions="9.0.0,1.0.0"), "Capabilities")
    s.refused(s.kvp("GetCapabilities", version=None, AcceptVersions="9.0.0"), "VersionNegotiationFailed")


@SUITE.test("C3 updateSequence: equal, lower, higher")
def _(s):
    now = s.document(s.kvp("GetCapabilities"), "Capabilities").get("updateSequence")
    check(not len(s.document(s.kvp("GetCapabilities", updateSequence=now), "Capabilities")), "equal: not short")
    check(len(s.document(s.kvp("GetCapabilities", updateSequence="0"), "Capabilities")), "lower: not whole")
    s.refused(s.kvp("GetCapabilities", updateSequence="999999"), "InvalidUpdateSequence")


@SUITE.test("C4 sections, in order, those of OWS valid by its schemas")
def _(s):
    root = s.document(s.kvp("GetCapabilities"), "Capabilities")
    sections = [element.tag.split("}")[1] for element in root]
    wanted = ["ServiceIdentification", "ServiceProvider", "OperationsMetadata", "ProcessOfferings", "Languages"]
    check(sections == wanted, f"{sections}")
    for section in root[:3]:
        s.valid(section)
    for process in root.iterfind("wps:ProcessOfferings/wps:Process", NAMES):
        check(process.get(f"{{{WPS}}}processVersion"), "no wps:processVersion")
        check(text(process, "ows:Identifier") and text(process, "ows:Title"), "a process without a name")
    default = text(root, "wps:Languages/wps:Default/ows:Language")
    supported = [element.text for element in root.iterfind("wps:Languages/wps:Supported/ows:Language", NAMES)]
    check(default in supported, f"{default} is not among {supported}")


@SUITE.test("C5 ServiceTypeVersion")
def _(s):
    root = s.document(s.kvp("GetCapabilities"), "Capabilities")
    versions = [element.text for element in root.iterfind("ows:ServiceIdentification/ows:ServiceTypeVersion", NAMES)]
    check("1.0.0" in versions, f"{versions}")


@SUITE.test("C6 capabilities are valid, with a process at least")
def _(s):
    root = s.document(s.kvp("GetCapabilities"), "Capabilities")
    check(root.find("wps:ProcessOfferings/wps:Process", NAMES) is not None, "no process")


def describe(s, identifier="ALL"):
    root = s.document(s.kvp("DescribeProcess", identifier=identifier), "ProcessDescriptions")
    return root.findall("ProcessDescription")


@SUITE.test("D1 DescribeProcess of one, of several, of all; the identifier is required")
def _(s):
    check(len(describe(s, "echo")) == 1, "one")
    check(len(describe(s, "echo,simplify_douglas_peucker")) == 2, "two")
    offered = s.document(s.kvp("GetCapabilities"), "Capabilities").findall("wps:ProcessOfferings/wps:Process", NAMES)
    check(len(describe(s)) == len(offered), "not all")
    s.refused(s.kvp("DescribeProcess"), "MissingParameterValue", "identifier")


@SUITE.test("D2 DescribeProcess of what there is not")
def _(s):
    s.refused(s.kvp("DescribeProcess", identifier="echo,none"), "InvalidParameterValue", "identifier")


@SUITE.test("D3 DescribeProcess by POST")
def _(s):
    body = f'<wps:DescribeProcess service="WPS" version="1.0.0" {NAMESPACES}><ows:Identifier>echo</ows:Identifier>'
    root = s.document(s.post(body + "</wps:DescribeProcess>"), "ProcessDescriptions")
    check(len(root) == 1, f"{len(root)} descriptions")


@SUITE.test("D4 elements of descriptions: order and namespaces")
def _(s):
    for process in describe(s):
        names = [element.tag for element in process if not element.tag.startswith(f"{{{OWS}}}Metadata")]
        wanted = [f"{{{OWS}}}Identifier", f"{{{OWS}}}Title", f"{{{OWS}}}Abstract", "DataInputs", "ProcessOutputs"]
        check(names == wanted, f"{names}")
        check(process.get(f"{{{WPS}}}processVersion"), "no wps:processVersion")


@SUITE.test("D5 storeSupported and statusSupported")
def _(s):
    for process in describe(s):
        for name in ("storeSupported", "statusSupported"):
            check(process.get(name) in ("true", "false"), f"{name}: {process.get(name)}")


@SUITE.test("D6 inputs: how often, and their kind")
def _(s):
    for put in (put for process in describe(s) for put in process.iterfind("DataInputs/Input")):
        name = text(put, "ows:Identifier")
        check(int(put.get("minOccurs")) >= 0 and int(put.get("maxOccurs")) >= 1, f"{name}: {put.attrib}")
        kinds = [kind for kind in ("LiteralData", "ComplexData", "BoundingBoxData") if put.find(kind) is not None]
        check(len(kinds) == 1, f"{name}: {kinds}")
        if kinds == ["LiteralData"]:
            values = [v for v in ("ows:AllowedValues", "ows:AnyValue", "ValuesReference") if put.find(f"LiteralData/{v}", NAMES) is not None]
            check(len(values) == 1, f"{name}: {values}")
            for value in put.iterfind("LiteralData/ows:AllowedValues", NAMES):
                s.valid(value)


@SUITE.test("D7 the default format and CRS are among the supported")
def _(s):
    for put in (put for process in describe(s) for put in process.iter() if put.tag in ("Input", "Output")):
        data = next((d for d in put if d.tag.startswith("Complex")), None)
        if data is not None:
            supported = [ElementTree.tostring(element).strip() for element in data.iterfind("Supported/Format")]
            check(ElementTree.tostring(data.find("Default/Format")).strip() in supported, text(put, "ows:Identifier"))
        boxes = next((d for d in put if d.tag.startswith("BoundingBox")), None)
        if boxes is not None:
            check(text(boxes, "Default/CRS") in [e.text for e in boxes.iterfind("Supported/CRS")], "default CRS")


@SUITE.test("E1 Execute by GET and by POST")
def _(s):
    check(s.outputs(s.execute())["literalOutput"].text == "a", "GET")
    check(s.outputs(s.execute_xml(DATA))["literalOutput"].text == "a", "POST")
    both = s.execute(ResponseDocument="literalOutput", **RAW)
    s.refused(both, "InvalidParameterValue")


@SUITE.test("E2 DataInputs: percent signs, attributes, repetition, empty text")
def _(s):
    check(s.execute("literalInput=a%3Bb%3Dc%40d", **RAW).text == "a;b=c@d", "encoded separators")
    whole = urllib.parse.quote("literalInput=a b", safe="")
    check(s.execute(whole, **RAW).text == "a b", "encoded as a whole")
    found = s.outputs(s.execute("complexInput=%7B%7D@mimeType=application/json;literalInput="))
    check(found["complexOutput"].get("mimeType") == "application/json", "mimeType")
    check(not found["literalOutput"].text, "empty text")
    check(s.execute("arrayInput=1;arrayInput=2", RawDataOutput="arrayOutput").text == "[1,2]", "repeated input")


@SUITE.test("E3 Execute of what there is not")
def _(s):
    s.refused(s.kvp("Execute", identifier="none"), "InvalidParameterValue", "Identifier")


@SUITE.test("E4 missing inputs, too many, unknown ones")
def _(s):
    s.refused(s.kvp("Execute", identifier="simplify_douglas_peucker"), "MissingParameterValue")
    s.refused(s.execute("literalInput=a;literalInput=b"), "InvalidParameterValue", "literalInput")
    s.refused(s.execute("noInput=a"), "InvalidParameterValue", "noInput")


@SUITE.test("E5 types and allowed values of literals")
def _(s):
    for fault in ("doubleInput=x", "integerInput=1.5", "booleanInput=2", "choiceInput=4", "dateTimeInput=now", "pause=-1"):
        s.refused(s.execute(fault), "InvalidParameterValue", fault.split("=")[0])


@SUITE.test("E5 units of measure: described ones are taken, others refused")
def _(s):
    check(s.execute("pause=0@uom=s;literalInput=a", **RAW).expect(200).text == "a", "the unit of the description")
    s.refused(s.execute("pause=0@uom=fortnight;literalInput=a", **RAW), "InvalidParameterValue", "pause")
    s.refused(s.execute("doubleInput=1@uom=m"), "InvalidParameterValue", "doubleInput")


@SUITE.test("E6 complex data: XML, text, base64; formats that are not supported")
def _(s):
    complex_data = "<wps:Input><ows:Identifier>{}</ows:Identifier><wps:Data><wps:ComplexData {}>{}</wps:ComplexData></wps:Data></wps:Input>"
    found = s.outputs(s.execute_xml(complex_data.format("complexInput", 'mimeType="text/xml"', "<a><b>1</b></a>")))
    check(found["complexOutput"].find("a/b").text == "1", "XML")
    found = s.outputs(s.execute_xml(complex_data.format("complexInput", 'mimeType="application/json"', '<![CDATA[{"a":"<"}]]>')))
    check(found["complexOutput"].text.strip() == '{"a":"<"}', "CDATA")
    image = complex_data.format("imageInput", 'mimeType="image/png" encoding="base64"', "iVBORw0KGgo=")
    found = s.outputs(s.execute_xml(image))["imageOutput"]
    check(found.get("encoding") == "base64" and found.text.strip() == "iVBORw0KGgo=", "base64")
    s.refused(s.execute_xml(complex_data.format("complexInput", 'mimeType="a/b"', "c")), "InvalidParameterValue", "complexInput")


@SUITE.test("E7 maximumMegabytes, inline and downloading")
def _(s):
    put = next(p for process in describe(s, "echo") for p in process.iterfind("DataInputs/Input") if text(p, "ows:Identifier") == "limitedInput")
    check(put.find("ComplexData").get("maximumMegabytes") == "1", f"{put.find('ComplexData').attrib}")
    limited = "<wps:Input><ows:Identifier>limitedInput</ows:Identifier>{}</wps:Input>"
    inline = limited.format("<wps:Data><wps:ComplexData>{}</wps:ComplexData></wps:Data>")
    found = s.outputs(s.execute_xml(inline.format("x" * 2**20)))
    check(len(found["limitedOutput"].text.strip()) == 2**20, "1 MiB was not taken")
    large = s.execute_xml(inline.format("x" * (2**20 + 1)))
    s.refused(large, "FileSizeExceeded", "limitedInput", status=large.status)
    form = "<wps:ResponseForm><wps:RawDataOutput><ows:Identifier>limitedOutput</ows:Identifier></wps:RawDataOutput></wps:ResponseForm>"
    large = s.execute_xml(limited.format(f'<wps:Reference xlink:href="{s.server.files_url}/large.txt"/>'), form)
    s.refused(large, "FileSizeExceeded", "limitedInput", status=large.status)


@SUITE.test("E8 references by POST: headers, Body, BodyReference")
def _(s):
    url = s.server.files_url
    posted = LITERAL.format(
        f'<wps:Reference xlink:href="{url}/posted" method="POST"><wps:Header key="X-Asked" value="header"/>'
        "{}</wps:Reference>"
    )
    found = s.outputs(s.execute_xml(posted.format('<wps:Body><q xmlns="urn:q">1</q></wps:Body>')))["literalOutput"].text
    check(re.fullmatch(r"header <q\b[^>]*>1</q>", found), found)
    found = s.outputs(s.execute_xml(posted.format(f'<wps:BodyReference xlink:href="{url}/text.txt"/>')))["literalOutput"].text
    check(found == "header by reference", found)


@SUITE.test("E8 inputs by reference")
def _(s):
    url = s.server.files_url
    check(s.execute(f"literalInput=@href={url}/text.txt", **RAW).text == "by reference", "GET, href")
    check(s.execute(f"literalInput=@xlink:href={url}/text.txt", **RAW).text == "by reference", "GET, xlink:href")
    reference = LITERAL.format(f'<wps:Reference xlink:href="{url}/text.txt"/>')
    check(s.outputs(s.execute_xml(reference))["literalOutput"].text == "by reference", "POST")
    answer = s.execute(f"literalInput=@href={url}/gone", **RAW)
    s.refused(answer, "NoApplicableCode", status=answer.status)
    check("literalInput" in answer.text, "the input is not named")


@SUITE.test("E9 bounding boxes")
def _(s):
    box = s.outputs(s.execute("boundingBoxInput=1,2,3,4,urn:ogc:def:crs:EPSG::4326,2"))["boundingBoxOutput"]
    corners = [float(number) for name in ("Lower", "Upper") for number in text(box, f"ows:{name}Corner").split()]
    check(corners == [1, 2, 3, 4], f"{corners}")
    check(box.get("crs") == "urn:ogc:def:crs:EPSG::4326" and box.get("dimensions") == "2", f"{box.attrib}")
    s.refused(s.execute("boundingBoxInput=1,2,3"), "InvalidParameterValue", "boundingBoxInput")


@SUITE.test("E10 without a response form: every output, in a document")
def _(s):
    check(set(s.outputs(s.execute("literalInput=a;integerInput=1"))) == {"literalOutput", "integerOutput"}, "not both")


@SUITE.test("R1 raw output: bare, one output, nothing stored")
def _(s):
    answer = s.execute("literalInput=%C3%BC", **RAW)
    check(answer.text == "ü" and answer.media_type == "text/plain", f"{answer.media_type}: {answer.text}")
    for name in ("status", "storeExecuteResponse", "lineage"):
        s.refused(s.execute(**RAW, **{name: "true"}), "InvalidParameterValue")
    s.refused(s.execute("doubleInput=x", **RAW), "InvalidParameterValue", "doubleInput")


@SUITE.test("R2 response document: chosen outputs; unknown ones refused")
def _(s):
    found = s.outputs(s.execute("literalInput=a;integerInput=1", ResponseDocument="integerOutput"))
    check(list(found) == ["integerOutput"], f"{list(found)}")
    s.refused(s.execute(ResponseDocument="none"), "InvalidParameterValue", "none")


@SUITE.test("R3 stored answers can be fetched")
def _(s):
    root = s.document(s.execute(storeExecuteResponse="true"), "ExecuteResponse")
    check(root.get("statusLocation"), "no statusLocation")
    check(s.outputs(s.server.get(root.get("statusLocation"), Accept="*/*"))["literalOutput"].text == "a", "stored answer")


def states(s, location, seen):
    status = s.document(s.server.get(location, Accept="*/*"), "ExecuteResponse").find("wps:Status", NAMES)
    check(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", status.get("creationTime")), f"{status.attrib}")
    state = status[0].tag.split("}")[1]
    seen[state] = status[0]
    return state in ("ProcessSucceeded", "ProcessFailed")


@SUITE.test("R4 status: accepted, started with its percentage, succeeded; not without storing")
def _(s):
    root = s.document(s.execute("pause=1;literalInput=a", storeExecuteResponse="true", status="true"), "ExecuteResponse")
    location, seen = root.get("statusLocation"), {}
    first = root.find("wps:Status", NAMES)[0].tag.split("}")[1]
    check(first in ("ProcessAccepted", "ProcessStarted"), first)
    until("the job's end", lambda: states(s, location, seen))
    check("ProcessStarted" in seen and "ProcessSucceeded" in seen, f"{list(seen)}")
    check(0 <= int(seen["ProcessStarted"].get("percentCompleted")) <= 99, f"{seen['ProcessStarted'].attrib}")
    s.refused(s.execute(status="true"), "InvalidParameterValue", "status")


@SUITE.test("R5 no percentage on what is accepted or has succeeded")
def _(s):
    root = s.document(s.execute("pause=0.3", storeExecuteResponse="true", status="true"), "ExecuteResponse")
    seen = {}
    until("the job's end", lambda: states(s, root.get("statusLocation"), seen))
    for state in seen.keys() & {"ProcessAccepted", "ProcessSucceeded"}:
        check("percentCompleted" not in seen[state].attrib, state)


@SUITE.test("R6 lineage: inputs and output definitions come back")
def _(s):
    root = s.document(s.execute(lineage="true", ResponseDocument="literalOutput"), "ExecuteResponse")
    check(text(root, "wps:DataInputs/wps:Input/wps:Data/wps:LiteralData") == "a", "inputs")
    check(text(root, "wps:OutputDefinitions/wps:Output/ows:Identifier") == "literalOutput", "output definitions")
    plain = s.document(s.execute(), "ExecuteResponse")
    check(plain.find("wps:DataInputs", NAMES) is None, "lineage that nobody asked for")


@SUITE.test("R7 outputs by reference")
def _(s):
    found = s.outputs(s.execute(ResponseDocument="literalOutput@asReference=true"))["literalOutput"]
    check(found.tag == f"{{{WPS}}}Reference", found.tag)
    check(s.server.get(found.get("href"), Accept="*/*").expect(200).text == "a", "the referenced output")


@SUITE.test("R8 failures after acceptance stand in the stored answer")
def _(s):
    root = s.document(
        s.execute(f"literalInput=@xlink:href={s.server.files_url}/gone", storeExecuteResponse="true", status="true"),
        "ExecuteResponse",
    )
    seen = {}
    until("the job's end", lambda: states(s, root.get("statusLocation"), seen))
    report = seen["ProcessFailed"].find("ows:ExceptionReport", NAMES)
    check(report is not None, "no ows:ExceptionReport")
    s.valid(report)


@SUITE.test("R9 serviceInstance is the address of the capabilities")
def _(s):
    instance = s.document(s.execute(), "ExecuteResponse").get("serviceInstance")
    s.document(s.server.get(instance, Accept="*/*"), "Capabilities")


def execution(s, operation, job, **options):
    return s.kvp(operation, executionId=job, **options)


@SUITE.test("GeoServer's GetExecutionStatus and Dismiss")
def _(s):
    root = s.document(s.kvp("GetCapabilities"), "Capabilities")
    names = {operation.get("name") for operation in root.iterfind("ows:OperationsMetadata/ows:Operation", NAMES)}
    if not {"GetExecutionStatus", "Dismiss"} <= names:
        raise Skip("it does not advertise them")
    accepted = s.document(s.execute("pause=600;literalInput=a", storeExecuteResponse="true", status="true"), "ExecuteResponse")
    job = accepted.get("statusLocation").rsplit("/", 1)[-1]
    status = s.document(execution(s, "GetExecutionStatus", job), "ExecuteResponse")[1]
    check(status[0].tag.split("}")[1] in ("ProcessAccepted", "ProcessStarted"), status[0].tag)
    status = s.document(execution(s, "Dismiss", job), "ExecuteResponse")[1]
    check("dismissed" in text(status, "wps:ProcessFailed/ows:ExceptionReport/ows:Exception/ows:ExceptionText"), "not dismissed")
    again = execution(s, "Dismiss", job)
    s.refused(again, "InvalidParameterValue", "executionId", status=again.status)
    s.refused(s.kvp("Dismiss"), "MissingParameterValue", "executionId")
