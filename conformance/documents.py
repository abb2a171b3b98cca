"""Requests that others wrote: the examples of the standards, and what clients have sent. Every one of them has to be understood.

They ask for processes, jobs and languages that are not here, and that is all that may be wrong with them. Read from the npm
package `ogc-schemas`, and from the folder of the schemas where there are examples in it; nothing is copied into this project.
"""

import glob
import os

from lxml import etree

from harness import Suite, check

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDERS = (os.path.join(HERE, ".cache/ogc-schemas/package/tests/WPS"), "wps10/examples", "wps20/xml-examples")
SUITE = Suite("requests that others wrote")

#: Code of the exception, and its locator where the code says too little.
NO_PROCESS_1 = {("InvalidParameterValue", "Identifier"), ("InvalidParameterValue", "identifier")}
NO_LANGUAGE = {("InvalidParameterValue", "language")}
NO_PROCESS_2, NO_JOB = {("NoSuchProcess", None)}, {("NoSuchJob", None)}
WPS_1 = {"GetCapabilities": NO_LANGUAGE, "DescribeProcess": NO_PROCESS_1 | NO_LANGUAGE, "Execute": NO_PROCESS_1}
WPS_2 = {"GetCapabilities": set(), "DescribeProcess": NO_PROCESS_2, "Execute": NO_PROCESS_2, "GetStatus": NO_JOB, "GetResult": NO_JOB, "Dismiss": NO_JOB}


def understood(server, namespace, operations):
    seen = set()
    for folder in FOLDERS:
        for path in sorted(glob.glob(os.path.join(server.schemas.folder, folder, "**/*.xml"), recursive=True)):
            root = etree.QName(etree.parse(path).getroot())
            # Answers are among the documents, and requests in SOAP, which is not offered.
            if root.namespace != namespace or root.localname not in operations:
                continue
            with open(path, "rb") as file:
                answer = server.request("POST", "/wps", file.read(), Content_Type="text/xml", Accept="*/*")
            found = {(fault.get("exceptionCode"), fault.get("locator")) for fault in etree.fromstring(answer.body).findall("{*}Exception")}
            allowed = operations[root.localname]
            wrong = {(code, locator) for code, locator in found if not {(code, locator), (code, None)} & allowed}
            check(not wrong and (found or answer.status == 200), f"{os.path.basename(path)}: HTTP {answer.status}: {answer.body[:400]!r}")
            seen.add(root.localname)
    check(seen, "there are no documents")


@SUITE.test("WPS 1.0.0")
def _(server):
    understood(server, "http://www.opengis.net/wps/1.0.0", WPS_1)


@SUITE.test("WPS 2.0")
def _(server):
    understood(server, "http://www.opengis.net/wps/2.0", WPS_2)
