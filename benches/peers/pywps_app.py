"""PyWPS with the processes that are compared: echo of a string, and of a raster."""
import os

from pywps import ComplexInput, ComplexOutput, Format, LiteralInput, LiteralOutput, Process
from pywps.app.Service import Service


class Echo(Process):
    def __init__(self):
        super().__init__(self.run, identifier="echo", title="Echo", version="1.0",
                         inputs=[LiteralInput("text", "Text", data_type="string")],
                         outputs=[LiteralOutput("text", "Text", data_type="string")],
                         store_supported=True, status_supported=True)

    @staticmethod
    def run(request, response):
        response.outputs["text"].data = request.inputs["text"][0].data
        return response


class EchoRaster(Process):
    formats = [Format("image/tiff; application=geotiff", encoding="base64")]

    def __init__(self):
        super().__init__(self.run, identifier="echo_raster", title="Echo of a raster", version="1.0",
                         inputs=[ComplexInput("raster", "Raster", supported_formats=self.formats)],
                         outputs=[ComplexOutput("raster", "Raster", supported_formats=self.formats)])

    @staticmethod
    def run(request, response):
        response.outputs["raster"].file = request.inputs["raster"][0].file
        return response


application = Service([Echo(), EchoRaster()], [os.environ["BENCH_PYWPS_CFG"]])
