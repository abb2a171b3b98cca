"""pygeoapi with an echo of every kind of data it has, under the names that the tests use."""

import time
import urllib.request

from pygeoapi.process.base import BaseProcessor, ProcessorExecuteError

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
KINDS = {
    "literal": {"type": "string"},
    "double": {"type": "number", "format": "double"},
    "integer": {"type": "integer"},
    "boolean": {"type": "boolean"},
    "dateTime": {"type": "string", "format": "date-time"},
    "choice": {"type": "integer", "enum": [1, 2, 3, 5, 8]},
    "array": {"type": "number"},
    "object": {"type": "object"},
    "mixed": {"oneOf": [
        {"type": "object", "contentMediaType": "application/json"},
        {"type": "string", "contentMediaType": "application/xml"},
        {"type": "string", "contentMediaType": "text/plain"},
    ]},
    "complex": {"oneOf": [
        {"type": "string", "contentMediaType": "application/xml"},
        {"type": "object", "contentMediaType": "application/json"},
        {"type": "string", "contentMediaType": "text/plain"},
    ]},
    "image": {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/png"},
    "boundingBox": {"type": "object", "format": "ogc-bbox", "required": ["bbox"], "properties": {
        "bbox": {"type": "array", "items": {"type": "number"}}, "crs": {"type": "string", "format": "uri", "default": CRS84},
    }},
}


def description(identifier, inputs, outputs):
    def put(name, schema, **more):
        return {"title": name, "schema": schema, **more}

    return {
        "version": "1.0.0", "id": identifier, "title": identifier, "description": identifier, "keywords": [], "links": [],
        "jobControlOptions": ["sync-execute", "async-execute"], "outputTransmission": ["value"],
        "inputs": {name: put(name, schema, minOccurs=0, maxOccurs=9 if name == "arrayInput" else 1) for name, schema in inputs.items()},
        "outputs": {name: put(name, schema) for name, schema in outputs.items()}, "example": {"inputs": {}},
    }


class Echo(BaseProcessor):
    def __init__(self, definition):
        inputs = {f"{kind}Input": schema for kind, schema in KINDS.items()}
        outputs = {f"{kind}Output": schema for kind, schema in KINDS.items()}
        super().__init__(definition, description("echo", {**inputs, "pause": {"type": "number"}}, outputs))
        self.supports_outputs = True

    def execute(self, data, outputs=None):
        time.sleep(data.get("pause", 0))
        found = {}
        for name, value in data.items():
            output = name.removesuffix("Input") + "Output"
            # pygeoapi leaves references to its processes.
            if isinstance(value, dict) and "href" in value:
                try:
                    with urllib.request.urlopen(value["href"], timeout=10) as answer:
                        value = answer.read().decode()
                except OSError as error:
                    raise ProcessorExecuteError(f"{name}: {error}") from error
            if name.endswith("Input") and (not outputs or output in outputs):
                found[output] = value
        one = next(iter(found.values())) if len(found) == 1 else None
        if outputs and isinstance(one, str):
            return "text/plain", one.encode()
        return "application/json", found


class Simplify(BaseProcessor):
    """Only for its second description."""

    def __init__(self, definition):
        kinds = {"data": {"type": "object"}, "tolerance": {"type": "number"}}
        super().__init__(definition, description("simplify_douglas_peucker", kinds, {"result": {"type": "object"}}))
        self.supports_outputs = True

    def execute(self, data, outputs=None):
        return "application/json", {"id": "result", "value": data["data"]}
