"""Run the Python blocks of a document: `python -m tests.docs.run_blocks README.md`.

They share one namespace, and may await at their top level, as in `python -m asyncio`.
What a block prints must be what its comments say. A block that begins with the name of a file is a file
of a test, and not run here.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import sys
import types
from pathlib import Path

from tests.docs.markdown import code_blocks, files_in, promised_output


async def run_block(block, namespace):
    """Run one block that awaits at its top level."""
    code = compile(block, "<block>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    await types.FunctionType(code, namespace)()


def printed_by(block, namespace):
    """Run one block, and return the lines that it printed."""
    code = compile(block, "<block>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        if code.co_flags & inspect.CO_COROUTINE:
            asyncio.run(run_block(block, namespace))
        else:
            exec(code, namespace)  # noqa: S102 - the blocks are the document's own
    return printed.getvalue().splitlines()


def main(path):
    """Run all blocks; print the output of those that promise none, complain of those that differ."""
    namespace = {"__name__": "__main__"}
    document = Path(path).read_text()
    files = files_in(document).values()
    for block in code_blocks(document, "python"):
        if block in files:
            continue
        printed, promised = printed_by(block, namespace), promised_output(block)
        if promised and promised != printed:
            sys.exit(f"{block}\nprinted {printed}")
        for line in printed:
            print(line)  # noqa: T201 - it is a program


if __name__ == "__main__":
    main(sys.argv[1])
