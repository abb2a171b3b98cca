"""pygeoapi with the two processes that are compared: echo of a string, simplification with shapely."""
import json
import urllib.request

from pygeoapi.process.base import BaseProcessor


def description(identifier, inputs, output):
    return {
        "version": "1.0.0", "id": identifier, "title": identifier, "description": identifier, "keywords": [], "links": [],
        "jobControlOptions": ["sync-execute", "async-execute"],
        "inputs": {name: {"title": name, "schema": {"type": kind}, "minOccurs": 1, "maxOccurs": 1} for name, kind in inputs.items()},
        "outputs": {"result": {"title": "result", "schema": output}}, "example": {"inputs": {}},
    }


class Echo(BaseProcessor):
    def __init__(self, definition):
        super().__init__(definition, description("echo", {"text": "string"}, {"type": "string"}))
        self.supports_outputs = True

    def execute(self, data, outputs=None):
        return "application/json", {"id": "result", "value": data["text"]}


class Simplify(BaseProcessor):
    """As one writes it: pygeoapi hands a reference to the process, the geometry work is done for all lines in one call."""

    def __init__(self, definition):
        output = {"type": "object", "contentMediaType": "application/geo+json"}
        super().__init__(definition, description("simplify", {"data": "object", "tolerance": "number"}, output))
        self.supports_outputs = True

    def execute(self, data, outputs=None):
        import shapely
        from shapely.geometry import mapping, shape

        with urllib.request.urlopen(data["data"]["href"]) as answer:
            collection = json.load(answer)
        features = collection["features"]
        lines = shapely.simplify([shape(feature["geometry"]) for feature in features], float(data["tolerance"]), preserve_topology=False)
        for feature, line in zip(features, lines):
            feature["geometry"] = mapping(line)
        return "application/geo+json", collection
