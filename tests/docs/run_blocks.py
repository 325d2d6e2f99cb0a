"""Run the Python blocks of documents: `python -m tests.docs.run_blocks README.md docs/turns.md`.

Each block is a whole program: it runs alone, as a file in an empty folder, in a process forked from this one
(the large imports are paid for once). It must print what its comments say. A block whose first line is a
file name (`# test_guide.py`) belongs to a test and is not run.

In a document with a block that awaits at its top level (the older form), all blocks share one namespace.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib
import inspect
import io
import os
import re
import runpy
import sys
import tempfile
import traceback
import types
from pathlib import Path

from tests.docs.markdown import code_blocks, files_in, print_calls, promised_by

PRELOADED = ("agents", "openai_sessions", "openai_sessions.emulator", "openai_sessions.testing")
"""What most blocks import: loaded before any of them is run."""


class OutputError(AssertionError):
    """A program printed something else than its comments say."""


def main(paths):
    """Run all blocks; print their output, and exit with the document of each block that failed."""
    documents = {str(path): Path(path).read_text() for path in paths}
    for name in (*PRELOADED, *modules_in("".join(documents.values()))):
        importlib.import_module(name)
    failed = [
        path
        for path, document in documents.items()
        for program in programs_in(document)
        if not in_a_process_of_its_own(program)
    ]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def modules_in(documents):
    """Return the modules of this library that the programs of documents import."""
    return sorted(set(re.findall(r"^from (openai_sessions\.\w+) import", documents, re.MULTILINE)))


def programs_in(document):
    """Return the programs of a document, each a function that runs it."""
    files = files_in(document).values()
    blocks = [block for block in code_blocks(document, "python") if block not in files]
    if any(compiled(block).co_flags & inspect.CO_COROUTINE for block in blocks):
        return [lambda: run_together(blocks)]
    return [lambda block=block: run_alone(block) for block in blocks]


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
    """Run a program; print the traceback of what it raises."""
    try:
        program()
    except BaseException:  # noqa: BLE001 - the process ends here, whatever it was
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def run_alone(block):
    """Run a block as the only file of the current folder.

    Raises:
        OutputError: It printed something else than it says.
    """
    path = Path("program.py").absolute()
    path.write_text(block)
    with checked_output(block):
        runpy.run_path(str(path), run_name="__main__")


def run_together(blocks):
    """Run blocks in one namespace; each may await at its top level.

    Raises:
        OutputError: One printed something else than it says.
    """
    namespace = {"__name__": "__main__"}
    for block in blocks:
        code = compiled(block)
        with checked_output(block):
            if code.co_flags & inspect.CO_COROUTINE:
                asyncio.run(types.FunctionType(code, namespace)())
            else:
                exec(code, namespace)  # noqa: S102 - the blocks are the document's own


def compiled(block):
    return compile(block, "<block>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@contextlib.contextmanager
def checked_output(block):
    """Print what is printed inside, and compare it with what the comments of the block say."""
    with contextlib.redirect_stdout(io.StringIO()) as output:
        yield
    printed = output.getvalue().splitlines()
    print(*printed, sep="\n", end="\n" if printed else "")  # noqa: T201 - it is a program
    promised = [promised_by(call, block) for call in print_calls(block)]
    lines = [line for each in promised for line in each]
    if printed != lines and (all(promised) or not in_order(lines, printed)):
        raise OutputError(f"{block}\npromised {lines}\nprinted  {printed}")


def in_order(lines, printed):
    """Return whether all lines were printed in this order, whatever else was."""
    remaining = iter(printed)
    return all(line in remaining for line in lines)


if __name__ == "__main__":
    main(sys.argv[1:])
