"""Draw `docs/demo.svg`, the terminal after `openai-sessions demo`: `python -m tools.demo_picture`.

The demonstration runs, and what it prints is drawn; only the ids of the conversations differ from run to run.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import MONOKAI

from openai_sessions.cli import _demo

PICTURE = Path(__file__).parents[1] / "docs" / "demo.svg"

_FORMAT = re.sub(r"@font-face {{.*?}}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    "Fira Code, monospace", "ui-monospace, Menlo, Consolas, monospace"
)
"""rich's template without its fonts, which a reader's browser would fetch from another site."""


def main(arguments: list[str] | None = None) -> int:
    """Draw the picture, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.demo_picture", description=__doc__)
    parser.add_argument("--output", type=Path, default=PICTURE)
    options = parser.parse_args(arguments)
    options.output.write_text(drawn())
    return 0


def drawn() -> str:
    """Run the demonstration, and return the terminal as an SVG."""
    console = Console(
        record=True, file=io.StringIO(), force_terminal=True, width=82, height=40, highlight=False
    )
    _demo.run_offline(console)
    return console.export_svg(
        title="openai-sessions demo", theme=MONOKAI, code_format=_FORMAT, unique_id="demo"
    )


if __name__ == "__main__":
    sys.exit(main())
