"""Judges answers by the schemas of OGC: XML by its root element, JSON by what the resource is to be.

A folder holds them: `OGC_SCHEMAS=DIR`, or `../shared/schemas` beside the checkout, or else `.cache/schemas`, which
`collect_schemas.py` fills from the package registries. No registry has the JSON schemas: without a folder of them JSON is
read by the models of `ogc-api-processes-client`, which were generated from them. Nothing is fetched while tests run.
"""

import os
import re
from collections import Counter

import referencing
import referencing.jsonschema
import yaml
from lxml import etree
from ogc_api_processes_client import models
from openapi_schema_validator import OAS30Validator

HERE = os.path.dirname(os.path.abspath(__file__))

#: Namespace -> what the row of the table is called, and the schema that has every element of it.
XML = {
    "http://www.opengis.net/ows/1.1": ("OWS Common 1.1", "ogc/ows/1.1.0/owsAll.xsd"),
    "http://www.opengis.net/ows/2.0": ("OWS Common 2.0", "ogc/ows/2.0/owsAll.xsd"),
    "http://www.opengis.net/wps/1.0.0": ("WPS 1.0.0", "wps10/wpsAll.xsd"),
    "http://www.opengis.net/wps/2.0": ("WPS 2.0", "wps20/wps.xsd"),
}
JSON = "OGC API - Processes 1.0"

#: Schema of OGC 18-062r2 -> the foreign model of the same.
MODELS = {
    "landingPage": models.LandingPage,
    "confClasses": models.ConfClasses,
    "processList": models.ProcessList,
    "process": models.Process,
    "jobList": models.JobList,
    "statusInfo": models.StatusInfo,
    "exception": models.Exception,
}

#: Path of a resource -> its schema. Errors have their own whatever the path.
RESOURCES = (
    (r"/", "landingPage"),
    (r"/conformance", "confClasses"),
    (r"/processes", "processList"),
    (r"/processes/[^/]+", "process"),
    (r"/jobs", "jobList"),
    (r"/jobs/[^/]+", "statusInfo"),
)


class Invalid(Exception):
    """An answer is not valid; the text says where and why."""


class Schemas:
    """The schemas of one folder. `judged` counts answers: row of the table -> (valid or not) -> how many."""

    def __init__(self, folder):
        self.folder = folder
        self.xml = {namespace: self._compiled(path) for namespace, (_, path) in XML.items()}
        self.yaml = os.path.join(folder, "ogcapi-processes-1.0")
        if not os.path.isdir(self.yaml):
            self.yaml = None
        registry = referencing.Registry(retrieve=self._yaml)
        self.json = {name: OAS30Validator({"$ref": f"{name}.yaml"}, registry=registry) for name in (*MODELS, "results")}
        self.judged = {name: Counter() for name in (*(name for name, _ in XML.values()), JSON)}

    def _compiled(self, path):
        path = os.path.join(self.folder, path)
        if not os.path.exists(path):
            return None
        parser = etree.XMLParser(no_network=True)
        parser.resolvers.add(Local(self.folder))
        return etree.XMLSchema(etree.parse(path, parser))

    def _yaml(self, name):
        with open(os.path.join(self.yaml, name), encoding="utf-8") as file:
            schema = yaml.safe_load(file)
        if name == "inputValueNoObject.yaml":
            # As published it takes no text and no whole number: each is of two of its kinds (text and bytes, number and
            # integer), and "oneOf" wants exactly one.
            schema["anyOf"] = schema.pop("oneOf")
        return referencing.Resource(schema, referencing.jsonschema.DRAFT4)

    def sources(self):
        """Row of the table -> what judges, or None where nothing can."""
        found = {name: (path if self.xml[namespace] else None) for namespace, (name, path) in XML.items()}
        return {**found, JSON: "its schemas" if self.yaml else "the models of ogc-api-processes-client"}

    def element(self, root):
        """Raises Invalid where an XML element of OGC is not as its schema says; others are not judged."""
        schema = self.xml.get(etree.QName(root).namespace)
        # OWS Common wants an answer without sections where the client has the newest, the schema of WPS 1.0.0 does not know it.
        short = root.tag == "{http://www.opengis.net/wps/1.0.0}Capabilities" and not len(root)
        if schema is None or short:
            return
        name, _ = XML[etree.QName(root).namespace]
        valid = schema.validate(root)
        self.judged[name][valid] += 1
        if not valid:
            error = schema.error_log[0]
            raise Invalid(f"not valid by {name}, line {error.line}: {error.message[:300]}")

    def document(self, name, document):
        """Raises Invalid where a JSON document is not what the schema of this name says."""
        fault = None
        if self.yaml:
            error = next(self.json[name].iter_errors(document), None)
            fault = error and f"{error.json_path}: {error.message[:300]}"
        elif name in MODELS:
            try:
                MODELS[name].from_dict(document)
            except Exception as error:  # Whatever the foreign model raises.
                fault = f"{error}"[:300]
        else:
            return
        self.judged[JSON][fault is None] += 1
        if fault:
            raise Invalid(f"not valid by {JSON}, {name}: {fault}")

    def answer(self, path, answer, results):
        """Judges one answer. `path`: below the root of the interface; `results`: a document of results was asked for."""
        if not answer.body:
            return
        if answer.media_type in ("text/xml", "application/xml"):
            try:
                root = etree.fromstring(answer.body, etree.XMLParser(resolve_entities=False, huge_tree=True))
            except etree.XMLSyntaxError as error:
                raise Invalid(f"no XML: {error}") from None
            self.element(root)
        elif answer.media_type in ("application/json", "application/problem+json"):
            name = "exception" if answer.status >= 400 else self._name(path, answer, results)
            if name:
                self.document(name, answer.json())

    @staticmethod
    def _name(path, answer, results):
        if path.endswith("/execution") and answer.status == 201:
            return "statusInfo"
        if re.fullmatch(r"/processes/[^/]+/execution|/jobs/[^/]+/results", path):
            # Raw outputs are whatever the process makes.
            return "results" if results else None
        return next((name for pattern, name in RESOURCES if re.fullmatch(pattern, path)), None)


class Local(etree.Resolver):
    """Finds in the folder what schemas import by its address on the web."""

    PLACES = (
        (r"http://schemas\.opengis\.net/(.*)", r"ogc/\1"),
        (r"http://www\.w3\.org/2001/XMLSchema\.xsd", "XMLSchema.xsd"),
        (r"http://www\.w3\.org/1999/xlink(?:/xlink)?\.xsd", "w3c/1999/xlink.xsd"),
        (r"http://www\.w3\.org/(.*)", r"w3c/\1"),
    )

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def resolve(self, system_url, public_id, context):
        for pattern, place in self.PLACES:
            if found := re.fullmatch(pattern, system_url or ""):
                return self.resolve_filename(os.path.join(self.folder, found.expand(place)), context)
        return None


def folder():
    """Where the schemas are."""
    beside = os.path.join(HERE, "../../shared/schemas")
    return os.environ.get("OGC_SCHEMAS") or (beside if os.path.isdir(beside) else os.path.join(HERE, ".cache/schemas"))
