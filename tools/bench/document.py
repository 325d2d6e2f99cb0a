"""Write the results of both benchmarks into docs/performance.md: `python -m tools.bench.document`.

It replaces the text between the comments `BEGIN` and `END`, and between those of the turns. With `--check` it
changes nothing, and its exit code is 1 if the document differs from the results.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.bench.report import DELAY_MS, milliseconds
from tools.bench.results import RESULTS, Results, Row, load
from tools.bench.stage import FLOOR, OURS, SDK
from tools.bench.turns import TURNS, load_turns, turn_section

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
BEGIN_TURNS, END_TURNS = "<!-- turns: begin -->", "<!-- turns: end -->"
DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"
PICTURE = DOCUMENT.with_suffix(".svg")


class MarkerError(ValueError):
    """The document does not contain both comments, once each and in order."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as the command line says, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.document", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if the document differs")
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--turns", type=Path, default=TURNS)
    options = parser.parse_args(arguments)
    document = options.document.read_text()
    try:
        rewritten = rewrite(document, section(load(options.results)))
        turns = turn_section(load_turns(options.turns))
        rewritten = rewrite(rewritten, turns, begin=BEGIN_TURNS, end=END_TURNS)
    except MarkerError as error:
        print(f"{options.document}: {error}", file=sys.stderr)
        return 1
    if rewritten == document:
        return 0
    if options.check:
        print(
            f"{options.document} differs from {options.results} or {options.turns}: "
            "run python -m tools.bench.document",
            file=sys.stderr,
        )
        return 1
    options.document.write_text(rewritten)
    return 0


def rewrite(document: str, text: str, *, begin: str = BEGIN, end: str = END) -> str:
    """Return the document with the text between two comments replaced.

    Raises:
        MarkerError: It does not contain both, once each and in order.
    """
    before, begins, rest = document.partition(begin)
    _, ends, after = rest.partition(end)
    if not (begins and ends) or begin in rest or end in before + after:
        raise MarkerError(f"{begin} and {end} must appear once each, in this order")
    return f"{before}{begin}\n{text}{end}{after}"


def section(results: Results) -> str:
    """Return what the document says about a run, in Markdown."""
    return "\n".join([*_picture(results), "", *_table(results), "", *_conditions(results), ""])


def _picture(results: Results) -> Iterator[str]:
    reads = []
    for name in ("cold read of 990", "warm read of 990"):
        ours, sdk = results.find(name, OURS, DELAY_MS), results.find(name, SDK, DELAY_MS)
        if ours and sdk:
            seconds = f"{ours.wall_ms / 1000:.2f} s instead of {sdk.wall_ms / 1000:.2f}"
            reads.append(f"{name} items takes {seconds}")
    yield f"![A {', a '.join(reads)}]({PICTURE.name})"


def _table(results: Results) -> Iterator[str]:
    yield (
        "| | requests, ours | SDK | ms, ours | SDK | bare | SDK/ours | CPU ms, ours | SDK | SDK/ours "
        "| peak kB, ours | SDK |"
    )
    yield "|---" + "|--:" * 11 + "|"
    for scenario in results.scenarios():
        ours, sdk = results.find(scenario, OURS, DELAY_MS), results.find(scenario, SDK, DELAY_MS)
        if ours and sdk:
            cells = _cells(ours, sdk, results.find(scenario, FLOOR, DELAY_MS))
            yield f"| {scenario} | " + " | ".join(cells) + " |"


def _cells(ours: Row, sdk: Row, floor: Row | None) -> Iterator[str]:
    yield from (_requests(row) for row in (ours, sdk))
    yield from (milliseconds(ours.wall_ms), milliseconds(sdk.wall_ms))
    yield milliseconds(floor.wall_ms) if floor else ""
    yield f"{sdk.wall_ms / ours.wall_ms:.1f}"
    yield from (milliseconds(ours.cpu_ms), milliseconds(sdk.cpu_ms), f"{sdk.cpu_ms / ours.cpu_ms:.1f}")
    yield from (f"{row.peak_kb:,}" for row in (ours, sdk))


def _requests(row: Row) -> str:
    return f"{row.requests:,}" if row.depth in (None, row.requests) else f"{row.requests:,}, {row.depth}"


def _conditions(results: Results) -> Iterator[str]:
    packages = ", ".join(f"{name} {number}" for name, number in results.versions.items())
    repeats = " to ".join(map(str, sorted({row.repeats for row in results.rows})))
    yield f"Medians of {repeats} repetitions, the sides in turns; Python {results.python}, {results.system},"
    yield f"{results.cpus} processors; {packages}; {results.date[:10]}."
    yield (
        f"The emulator runs in a second process and waits {DELAY_MS:g} ms before each request. *Bare* is an "
        "HTTP client that fetches and\ndecodes the same pages, and knows their cursors beforehand. *Peak* is "
        "what the call allocates. Where two numbers of requests stand,\nthe second is the longest chain of "
        "requests that wait for each other."
    )


if __name__ == "__main__":
    sys.exit(main())
