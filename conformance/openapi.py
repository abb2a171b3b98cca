"""The API definition against the server that serves it: schemathesis makes requests from the one and judges the answers of the other.

Everything that is declared has to be answered so, and everything that is answered has to be declared. What is left out, and why:

* `pause`, the one input by which a request takes as long as it says; the definition is patched before it is used.
* The maximum of `limit`: the standard has it declared and has larger numbers taken as the maximum (/req/core/pl-limit-response),
  so that they are no errors.
* `format: byte`: base64 without its padding is taken too, as clients of WPS send it.
* A job that has been removed is gone, and its address was right once: 410 is taken as 404 is.
* Of executions and results, what is the process's own affair: that what fits the schema is accepted (no schema of OpenAPI 3.0 can say
  whether a text is GeoJSON), that it does not fail (the standard answers a process that did with 500, which is declared), and that its
  outputs are what it calls them.
"""

import json
import os
import subprocess
import sys
import tempfile

import openapi_spec_validator

from harness import Suite, check

#: Examples for each operation: about half a minute.
EXAMPLES = 25
#: The same requests each time.
SEED = "1"
#: Longest run, in seconds; it takes half a minute.
RUN_S_MAX = 120
#: What depends on the process and not on the server.
PROCESS_CHECKS = "positive_data_acceptance,not_a_server_error,response_schema_conformance"
#: What is no refusal of the request: schemathesis' own list, and 410.
CONFIGURATION = """[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", "401", "403", "404", "409", "410", "429", "5xx"]
"""
#: Operations in which processes have a part.
BY_CONTENT = "/(execution|results(/.*)?)$"

SUITE = Suite("OpenAPI: schemathesis")


def patched(node):
    """The definition without the input `pause`, as a property or a parameter, the maximum of `limit` and `byte`."""
    if isinstance(node, list):
        return [patched(item) for item in node if not (isinstance(item, dict) and item.get("name") == "pause")]
    if not isinstance(node, dict):
        return node
    kept = {name: patched(value) for name, value in node.items() if name != "pause"}
    if kept.get("name") == "limit":
        kept["schema"].pop("maximum")
    if kept.get("format") == "byte":
        kept.pop("format")
    return kept


def schemathesis(server, *options):
    with tempfile.TemporaryDirectory() as folder:
        definition = os.path.join(folder, "api.json")
        with open(definition, "w", encoding="utf-8") as file:
            json.dump(patched(server.get("/api").json()), file)
        with open(os.path.join(folder, "schemathesis.toml"), "w", encoding="utf-8") as file:
            file.write(CONFIGURATION)
        command = [os.path.join(os.path.dirname(sys.executable), "schemathesis"), "run", definition, "--url", server.url]
        command += ["--seed", SEED, "--max-examples", str(EXAMPLES), "--request-timeout", "30", "--no-color", *options]
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=RUN_S_MAX, check=False)
    found = run.stdout.partition("= FAILURES =")[2] or run.stdout
    check(run.returncode == 0, f"schemathesis, exit code {run.returncode}: {found[:3000]}\n{run.stderr[-1000:]}")


@SUITE.test("the definition is valid OpenAPI 3.0")
def _(server):
    openapi_spec_validator.validate(server.get("/api").json())


@SUITE.test("all checks, for everything but executions and results")
def _(server):
    schemathesis(server, "--checks", "all", "--exclude-path-regex", BY_CONTENT)


@SUITE.test("all checks but three, for executions and results")
def _(server):
    schemathesis(server, "--checks", "all", "--exclude-checks", PROCESS_CHECKS, "--include-path-regex", BY_CONTENT)
