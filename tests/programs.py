"""Python programs in processes of their own that have the large packages imported already.

Importing openai and the Agents SDK takes two seconds of a processor. `run` is `subprocess.run` without
them: one process (`python -m tests.programs`) imports them, and forks a process for each program. The program
has its own arguments, variables, folder and files, imports openai_sessions itself, and ends as Python ends.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]

OF_OPENAI = ("openai.resources.conversations",)
"""For programs that look whether the Agents SDK is imported."""

LARGE = (
    *OF_OPENAI,
    "agents",
    "rich.live",
    "rich.markdown",
    "sqlalchemy.ext.asyncio",
    "starlette.applications",
    "typer",
    "uvicorn",
)


def run(*arguments, env, cwd=ROOT, stdin="", timeout=120, imported=LARGE):
    """Run `python *arguments` to its end: options -W, then -m, -c or a file, then the program's arguments.

    Returns:
        A `subprocess.CompletedProcess` with its output as text.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, output, errors = (Path(folder, name) for name in ("given", "output", "errors"))
        given.write_text(stdin, encoding="utf-8")
        order = {
            "arguments": arguments,
            "env": dict(env),
            "cwd": str(cwd),
            "files": [str(given), str(output), str(errors)],
        }
        status = _launcher(imported).run(order, timeout)
        texts = (path.read_text(encoding="utf-8") for path in (output, errors))
        return subprocess.CompletedProcess(arguments, status, *texts)


def run_pytest(pytester, *arguments, imported=LARGE):
    """Run pytest as `pytester.runpytest_subprocess` does; its plugins are the modules given with -p."""
    words = ["-m", "pytest", f"--basetemp={pytester.path / 'run'}", *arguments]
    paths = os.pathsep.join(filter(None, [str(pytester.path), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": paths}
    start = time.monotonic()
    finished = run(*words, env=env, cwd=pytester.path, imported=imported)
    print(finished.stdout, finished.stderr)  # noqa: T201 - what a test that fails shows
    output, errors = (text.splitlines() for text in (finished.stdout, finished.stderr))
    return pytest.RunResult(finished.returncode, output, errors, time.monotonic() - start)


@functools.cache
def _launcher(imported):
    launcher = _Launcher(imported)
    atexit.register(launcher.close)
    return launcher


class _Launcher:
    """The process that forks, as this one sees it."""

    def __init__(self, imported):
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "PYTEST_"))
        }
        kept.pop("PYTHONPATH", None)
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, *imported],
            cwd=ROOT,
            env=kept,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def run(self, order, timeout):
        """Run a program; return its exit status, or minus the signal that ended it."""
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        pid = self._answer()
        in_time, _, _ = select.select([self._process.stdout], [], [], timeout)
        if not in_time:
            os.kill(pid, signal.SIGKILL)
        status = self._answer()
        if not in_time:
            raise subprocess.TimeoutExpired(order["arguments"], timeout)
        return status

    def _answer(self):
        line = self._process.stdout.readline()
        assert line, "the process that forks programs has ended"
        return json.loads(line)

    def close(self):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def main(imported):
    """Fork a process for each order; answer with its id, and then with how it ended."""
    for name in imported:
        importlib.import_module(name)
    gc.freeze()
    while line := sys.stdin.buffer.readline():
        pid = os.fork()
        if not pid:
            return json.loads(line)
        print(pid, flush=True)  # noqa: T201 - the answer
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201 - the answer
    return None


def become(order):
    """Be the process of a program: run it, as Python does with such arguments."""
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    for number, path in enumerate(order["files"]):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT if number else os.O_RDONLY)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - stays open
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - stays open
    sys.stderr = open(2, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115 - stays open
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    words = [*order["arguments"]]
    options = [each for each in os.environ.get("PYTHONWARNINGS", "").split(",") if each]
    while words[0] == "-W":
        options.append(words[1])
        del words[:2]
    sys.warnoptions[:] = options
    warnings._processoptions(options)  # what Python calls as it starts
    _run(words)


def _run(words):
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:1] = ["", *paths]
    if words[0] == "-m":
        sys.path[0] = str(Path.cwd())
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        module = sys.modules["__main__"] = ModuleType("__main__")
        exec(compile(words[1], "<string>", "exec"), module.__dict__)  # noqa: S102 - as Python does
    else:
        sys.path[0] = str(Path(words[0]).resolve().parent)
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    program = main(sys.argv[1:])
    if program:
        become(program)
