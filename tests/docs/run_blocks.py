"""Run the Python blocks of documents: `python -m tests.docs.run_blocks README.md docs/turns.md`.

Each block is a whole program: it runs alone, as a file in an empty folder, in a process forked from this one
(the large imports are paid for once). It must print what its comments say. A block whose first line is a
file name (`# test_guide.py`) belongs to a test and is not run.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import runpy
import sys
import tempfile
import traceback
from pathlib import Path

from tests.docs.markdown import code_blocks, files_in, print_calls, promised_by

PRELOADED = ("agents", "openai_sessions", "openai_sessions.emulator", "openai_sessions.testing")
"""What most programs import: loaded before any of them is run."""


class OutputError(AssertionError):
    """A program printed something else than its comments say."""


def main(paths):
    """Run all programs; print their output, and exit with the document of each program that failed."""
    for name in PRELOADED:
        importlib.import_module(name)
    failed = [
        str(path)
        for path in paths
        for program in programs_in(Path(path).read_text())
        if not in_a_process_of_its_own(program)
    ]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def programs_in(document):
    """Return the programs of a document."""
    files = files_in(document).values()
    return [block for block in code_blocks(document, "python") if block not in files]


def in_a_process_of_its_own(program):
    """Run a program in a new process and an empty folder; return whether it succeeded."""
    sys.stdout.flush()
    with tempfile.TemporaryDirectory() as folder:
        child = os.fork()
        if child == 0:
            os.chdir(folder)
            os._exit(exit_code_of(program))
        _, status = os.waitpid(child, 0)
    return status == 0


def exit_code_of(program):
    """Run a program and return the exit code of its process; print the traceback if it fails."""
    try:
        run(program)
    except BaseException:  # noqa: BLE001 - the process ends here, whatever it was
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def run(program):
    """Run a program as the only file of the current folder, and print its output.

    Raises:
        OutputError: The output is not what its comments say.
    """
    path = Path("program.py").absolute()
    path.write_text(program)
    with contextlib.redirect_stdout(io.StringIO()) as output:
        runpy.run_path(str(path), run_name="__main__")
    print(output.getvalue(), end="")  # noqa: T201 - it is a program
    printed = output.getvalue().splitlines()
    promised = [promised_by(call, program) for call in print_calls(program)]
    lines = [line for each in promised for line in each]
    if printed != lines and (all(promised) or not in_order(lines, printed)):
        raise OutputError(f"{program}\npromised {lines}\nprinted  {printed}")


def in_order(lines, printed):
    """Return whether all lines were printed in this order, perhaps with others between them."""
    remaining = iter(printed)
    return all(line in remaining for line in lines)


if __name__ == "__main__":
    main(sys.argv[1:])
