"""Runs the suites against a server, and against peers beside it: main.py [--peers] BINARY, or main.py --ogcapi URL --wps URL.

Exit code 1 where a result of ours is worse than expected.json says, or, under CI, other than README.md says.
"""

import argparse
import concurrent.futures
import json
import os
import signal
import sys

import clients
import documents
import official
import ogcapi
import ogcapi_beyond
import openapi
import page
import servers
import wps_1_0
import wps_2_0

HERE = os.path.dirname(os.path.abspath(__file__))
OURS = "anabranch"
OGC_API, WPS_1, WPS_2 = ogcapi.SUITE, wps_1_0.SUITE, wps_2_0.SUITE
SUITES = [OGC_API, ogcapi_beyond.SUITE, WPS_1, WPS_2, documents.SUITE, clients.SUITE, openapi.SUITE]


def arguments():
    parser = argparse.ArgumentParser(description="What the standards demand, and foreign clients, as a table.")
    parser.add_argument("binary", nargs="?", help="the server's binary, which is started")
    parser.add_argument("--peers", action="store_true", help="runs the suites against PyWPS and pygeoapi too")
    parser.add_argument("--ogcapi", metavar="URL", help="root of OGC API - Processes of a server that is running")
    parser.add_argument("--wps", metavar="URL", help="address of WPS 1.0.0 and 2.0 of a server that is running")
    given = parser.parse_args()
    if bool(given.binary) == bool(given.ogcapi or given.wps):
        parser.error("name a binary, or the addresses of a running server")
    return given


def subjects(given):
    """What is under test: name, how to start it, which suites are for it."""
    if not given.binary:
        suites = [OGC_API] * bool(given.ogcapi) + [WPS_1, WPS_2] * bool(given.wps)
        return [(given.ogcapi or given.wps, servers.running(given.ogcapi, given.wps), suites)]
    found = [(OURS, servers.anabranch(given.binary), SUITES)]
    if given.peers:
        with open(os.path.join(HERE, "../benches/requirements.txt"), encoding="utf-8") as file:
            versions = dict(line.split()[0].split("==") for line in file if "==" in line)
        found += [
            (f"PyWPS {versions['pywps']}", servers.pywps(), [WPS_1]),
            (f"pygeoapi {versions['pygeoapi']}", servers.pygeoapi(), [OGC_API]),
        ]
    return found


def measured(name, start, suites):
    """Runs the suites: one column of the table."""
    with start as server:
        results = {suite.name: list(suite.run(server)) for suite in suites}
    for suite, tests in results.items():
        for identifier, status, reason in tests:
            if status != "passed":
                print(f"{name}: {status:7} {suite}: {identifier}: {reason}")
    print(f"{name}: answers judged by the schemas in {server.schemas.folder}:")
    for schema, source in server.schemas.sources().items():
        counts = server.schemas.judged[schema]
        print(f"  {schema}: {counts[True]} valid, {counts[False]} not ({source or 'NOT JUDGED: the schema is not there'})")
    print(flush=True)
    return page.Column(name, results, server.schemas)


def surprises(results):
    """Whatever is other than expected.json says: what is worse, and what is better."""
    with open(os.path.join(HERE, "expected.json"), encoding="utf-8") as file:
        expected = json.load(file)
    worse, better = [], []
    for suite, tests in results.items():
        known = expected.get(suite, {})
        for identifier, status, _ in tests:
            wanted = known.get(identifier, {"status": "passed"})["status"]
            if status != wanted:
                # What passes now is no fault, but its line is out of date.
                (better if status == "passed" else worse).append(f"{suite}: {identifier}: expected {wanted}, but {status}")
        for identifier in known.keys() - {identifier for identifier, _, _ in tests}:
            worse.append(f"{suite}: {identifier}: expected, but there is no such test")
    return worse, better


def main():
    given = arguments()
    # Asked while the tests run, because Maven takes its time.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        asked = pool.submit(official.asked)
        columns = [measured(*subject) for subject in subjects(given)]
    whole = page.Page([suite.name for suite in SUITES], columns)
    print(whole.table())
    for line in asked.result():
        print(f"\n{line}")
    if not given.binary:
        return 0
    worse, better = surprises(columns[0].results)
    if better:
        print("\nbetter than expected.json says; take these out of it:", *better, sep="\n  ")
    if worse:
        print("\nnot as expected.json says:", *worse, sep="\n  ")
        return 1
    if given.peers and not whole.kept(os.environ.get("CI") == "true"):
        print("\nREADME.md says something else: run `make conformance` and commit what it writes")
        return 1
    print("\nas expected")
    return 0


if __name__ == "__main__":
    # As an exception, so that the servers are stopped too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
