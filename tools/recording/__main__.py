"""Run it with `python -m tools.recording`, or `make record`; exit code 1 when nothing was recorded."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.recording.errors import RecordingError
from tools.recording.flows import FLOWS
from tools.recording.recorder import FOLDER, record_all
from tools.recording.servers import live, offline


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
    """Record what the real service can be made to do, and say what it cannot."""
    record_all([flow for flow in FLOWS if not flow.faults], asyncio.run(live()), folder)
    provoked = ", ".join(flow.name for flow in FLOWS if flow.faults)
    print(f"{provoked}: left as they are, for the real service cannot be made to do this")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.recording", description=__doc__)
    parser.add_argument(
        "--target",
        choices=("offline", "live"),
        default="offline",
        help="offline: smg and the emulator, on loopback; live: OpenAI, with OPENAI_API_KEY (%(default)s)",
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the cassettes are")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
