"""Record `fixtures/cassettes`: `python -m tools.recording`, or `make record`.

The exit code is 1 if nothing was recorded.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.recording.flows import FLOWS
from tools.recording.recorder import FOLDER, record_all
from tools.recording.servers import RecordingError, server_of


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as the command line says, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.recording", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="the folder of the cassettes")
    try:
        record_all(FLOWS, server_of, parser.parse_args(arguments).folder)
    except RecordingError as error:
        print(f"{error} No cassette was replaced.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
