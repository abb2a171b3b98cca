"""PyWPS with the one process that is compared: echo of a string."""
import os

from pywps import LiteralInput, LiteralOutput, Process
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


application = Service([Echo()], [os.environ["BENCH_PYWPS_CFG"]])
