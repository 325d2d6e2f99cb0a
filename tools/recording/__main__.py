"""Record `fixtures/cassettes`: `python -m tools.recording`, or `make record`.

The exit code is 1 if nothing was recorded.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.recording.flows import FLOWS
from tools.recording.recorder import FOLDER, record_all
from tools.recording.servers import RecordingError, live, offline


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as the command line says, and return the exit code."""
    options = _options(arguments)
    record = _record_live if options.target == "live" else _record_offline
    try:
        record(options.folder)
    except RecordingError as error:
        print(f"{error} No cassette was replaced.", file=sys.stderr)
        return 1
    return 0


def _record_offline(folder: Path) -> None:
    record_all(FLOWS, offline, folder)


def _record_live(folder: Path) -> None:
    """Record the flows without faults, and print which ones OpenAI cannot record."""
    record_all([flow for flow in FLOWS if not flow.faults], asyncio.run(live()), folder)
    with_faults = ", ".join(flow.name for flow in FLOWS if flow.faults)
    print(f"{with_faults}: not recorded, because faults cannot be injected into OpenAI")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.recording", description=__doc__)
    parser.add_argument(
        "--target",
        choices=("offline", "live"),
        default="offline",
        help="offline: smg and the emulator, on loopback; live: OpenAI, with OPENAI_API_KEY (%(default)s)",
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="the folder of the cassettes")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
