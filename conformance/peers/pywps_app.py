"""PyWPS with an echo of every kind of data it has, under the names that the tests use."""

import os
import time

from pywps import ComplexInput, ComplexOutput, Format, LiteralInput, LiteralOutput, Process
from pywps import BoundingBoxInput, BoundingBoxOutput
from pywps.app.Service import Service
from werkzeug.middleware.shared_data import SharedDataMiddleware

LITERALS = {"literal": "string", "double": "float", "integer": "integer", "boolean": "boolean", "dateTime": "dateTime"}
COMPLEX = {
    "complex": ["text/xml", "application/xml", "application/json", "text/plain"],
    "mixed": ["application/json", "application/xml", "text/plain"],
    "object": ["application/json"],
}
CRSS = ["urn:ogc:def:crs:EPSG::4326", "EPSG:4326"]
KEEPS = {"version": "1.0.0", "store_supported": True, "status_supported": True}


def sides(kind, make_input, make_output, **both):
    """An input that may be left out, and the output of the same kind."""
    return make_input(f"{kind}Input", kind, min_occurs=0, **both), make_output(f"{kind}Output", kind, **both)


class Echo(Process):
    def __init__(self):
        pairs = [sides(kind, LiteralInput, LiteralOutput, data_type=data_type) for kind, data_type in LITERALS.items()]
        for kind, media_types in COMPLEX.items():
            pairs.append(sides(kind, ComplexInput, ComplexOutput, supported_formats=[Format(name) for name in media_types]))
        image = [Format("image/png", encoding="base64")]
        pairs.append(sides("image", ComplexInput, ComplexOutput, supported_formats=image))
        pairs.append(sides("boundingBox", BoundingBoxInput, BoundingBoxOutput, crss=CRSS))
        choice = LiteralInput("choiceInput", "choice", data_type="integer", allowed_values=[1, 2, 3, 5, 8], min_occurs=0)
        pairs.append((choice, LiteralOutput("choiceOutput", "choice", data_type="integer")))
        pause = LiteralInput("pause", "seconds until it ends", data_type="float", min_occurs=0)
        super().__init__(self.run, "echo", "Echo", abstract="Gives back what it is given.",
                         inputs=[pause, *(pair[0] for pair in pairs)], outputs=[pair[1] for pair in pairs], **KEEPS)

    @staticmethod
    def run(request, response):
        if "pause" in request.inputs:
            begin, pause = time.monotonic(), request.inputs["pause"][0].data
            while (passed := time.monotonic() - begin) < pause:
                response.update_status("pausing", 100 * passed / pause)
                time.sleep(0.05)
        for name, given in request.inputs.items():
            output = response.outputs.get(name.removesuffix("Input") + "Output")
            if output is None:
                continue
            output.data = given[0].data
            if isinstance(output, ComplexOutput):
                output.data_format = given[0].data_format
        # Outputs of inputs that were not given have no value, and PyWPS fails where it has to write one.
        for name in [name for name in response.outputs if name.removesuffix("Output") + "Input" not in request.inputs]:
            del response.outputs[name]
        return response


class Simplify(Process):
    """Only for its second description and its required inputs."""

    def __init__(self):
        data = [Format("application/geo+json")]
        super().__init__(self.run, "simplify_douglas_peucker", "Simplify", abstract="Gives its data back.",
                         inputs=[ComplexInput("data", "data", supported_formats=data), LiteralInput("tolerance", "tolerance", data_type="float")],
                         outputs=[ComplexOutput("result", "result", supported_formats=data)], **KEEPS)

    @staticmethod
    def run(request, response):
        response.outputs["result"].data = request.inputs["data"][0].data
        return response


# Its answers refer to what it has stored, which something beside it has to serve.
application = SharedDataMiddleware(
    Service([Echo(), Simplify()], [os.environ["PYWPS_CFG"]]), {"/outputs": os.environ["PYWPS_OUTPUTS"]}, cache=False
)
