"""Runs every suite against one server: main.py BINARY. Exit code 1 where a result is worse than expected.json says."""

import json
import os
import signal
import sys

import clients
import ogcapi
import wps_1_0
import wps_2_0
from servers import anabranch

SUITES = [ogcapi.SUITE, wps_1_0.SUITE, wps_2_0.SUITE, clients.SUITE]
EXPECTED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "expected.json")


def main(binary):
    with open(EXPECTED, encoding="utf-8") as file:
        expected = json.load(file)
    rows, notes, surprises, mended = [], [], [], []
    with anabranch(binary) as server:
        for suite in SUITES:
            results = list(suite.run(server))
            known = expected.get(suite.name, {})
            counts = [sum(status == wanted for _, status, _ in results) for wanted in ("passed", "failed", "skipped")]
            rows.append((suite.name, len(results), *counts))
            for identifier, status, reason in results:
                wanted = known.get(identifier, {"status": "passed"})["status"]
                if status != "passed":
                    notes.append(f"{status:7} {suite.name}: {identifier}: {reason}")
                if status == wanted:
                    continue
                # What passes now is no fault, but its line is out of date.
                line = f"{suite.name}: {identifier}: expected {wanted}, but {status}"
                (mended if status == "passed" else surprises).append(line)
            for identifier in known.keys() - {identifier for identifier, _, _ in results}:
                surprises.append(f"{suite.name}: {identifier}: expected, but there is no such test")
    print("\n".join(notes), end="\n\n" if notes else "")
    table(rows)
    judged(server.schemas)
    if mended:
        print("\nbetter than expected.json says; take these out of it:", *mended, sep="\n  ")
    if surprises:
        print("\nnot as expected.json says:", *surprises, sep="\n  ")
        return 1
    passed, failed, skipped = (sum(row[column] for row in rows) for column in (2, 3, 4))
    print(f"\nas expected: {passed} passed, {failed} known failures, {skipped} skipped")
    return 0


def judged(schemas):
    """Prints how many answers were judged by which schemas."""
    print(f"\nanswers judged by the schemas in {schemas.folder}:")
    for name, source in schemas.sources().items():
        counts = schemas.judged[name]
        print(f"  {name}: {counts[True]} valid, {counts[False]} not ({source or 'NOT JUDGED: the schema is not there'})")


def table(rows):
    """Prints `suite | tests | passed | failed | skipped`."""
    heads = ("suite", "tests", "passed", "failed", "skipped")
    lines = [heads, *[tuple(str(cell) for cell in row) for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    for number, line in enumerate(lines):
        print(" | ".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths))))
        if number == 0:
            print("-|-".join("-" * width for width in widths))


if __name__ == "__main__":
    # As an exception, so that the server is stopped too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1]))
