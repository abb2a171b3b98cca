"""The table of all results, printed and kept in README.md between two markers."""

import os
from dataclasses import dataclass

import official

README = os.path.join(os.path.dirname(os.path.abspath(__file__)), "README.md")
BEGIN, END = "<!-- results: written by `make conformance` -->\n", "<!-- end of results -->\n"

NONE = "-"


@dataclass(frozen=True)
class Column:
    """One server: suite -> (identifier, status, reason) of each test, and the schemas that judged its answers."""

    name: str
    results: dict
    schemas: object

    def score(self, suite):
        tests = self.results.get(suite)
        if tests is None:
            return NONE
        counts = [(sum(status == wanted for _, status, _ in tests), wanted) for wanted in ("passed", "failed", "skipped")]
        return ", ".join(f"{count} {wanted}" for count, wanted in counts if count)

    def valid(self):
        """How many of its answers are valid, as a share: their number is another at each run, because states are polled."""
        judged = self.schemas.judged.values()
        right, wrong = sum(counts[True] for counts in judged), sum(counts[False] for counts in judged)
        share = "all" if not wrong else f"{100 * right // (right + wrong)} %"
        missing = [name for name, source in self.schemas.sources().items() if source is None]
        return share + "".join(f", without {name}" for name in missing)


class Page:
    def __init__(self, suites, columns):
        self.columns = columns
        self.suites = [suite for suite in suites if any(suite in column.results for column in columns)]

    def table(self):
        names = [column.name for column in self.columns]
        rows = [("suite", "tests", *names)]
        for suite in self.suites:
            tests = next(len(column.results[suite]) for column in self.columns if suite in column.results)
            rows.append((suite, str(tests), *(column.score(suite) for column in self.columns)))
        rows.append(("answers valid by OGC's schemas", NONE, *(column.valid() for column in self.columns)))
        nobody = [NONE] * (len(self.columns) - 1)
        rows += [(f"OGC's {name} {version}", NONE, "not on Maven Central", *nobody) for name, version in official.SUITES.items()]
        widths = [max(map(len, cells)) for cells in zip(*rows)]
        lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
        return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])

    def notes(self):
        """What the first server does not pass, each with its reason."""
        return [
            f"- {suite}, {identifier}: {status}, because {(reason or 'of something unknown').splitlines()[0]}"
            for suite, tests in self.columns[0].results.items()
            for identifier, status, reason in tests
            if status != "passed"
        ]

    def kept(self, read_only):
        """Keeps the table in README.md. `read_only`: says whether what stands there is true of the first server."""
        with open(README, encoding="utf-8") as file:
            before, rest = file.read().split(BEGIN)
        old, after = rest.split(END)
        new = "\n" + self.table() + "\n\n" + "".join(f"{note}\n" for note in self.notes() or ["Everything is passed."]) + "\n"
        if read_only:
            return ours(old) == ours(new)
        # Peers differ a little from run to run; that alone is no change.
        if ours(old) != ours(new):
            with open(README, "w", encoding="utf-8") as file:
                file.write(before + BEGIN + new + END + after)
        return True


def ours(text):
    """What the page says of the first server, without what depends on the machine it runs on (which schemas are there)."""
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in text.splitlines() if line.startswith("|")]
    return [row for row in rows if not row[0].startswith(("answers", "-"))], [
        # A reason may name a job, which is another one each time.
        line.partition(", because ")[0]
        for line in text.splitlines()
        if line[:2] == "- "
    ]
