"""Processes that start at once: a program that has everything imported, and forks one for each order.

`python -m tests.directory.nursery` reads orders from its input, one JSON object a line: `{"do": ..., ...}`
forks a process that runs that function of `tests.directory.deeds`, and is answered with its process id;
`{"wait": pid}` is answered with how that process ended: minus a signal, or its exit status.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback

from tests.examples.stand_in import ROOT, environment


class Nursery:
    """The program as tests see it."""

    def __init__(self):
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed at the end
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.directory.nursery"],
            cwd=ROOT,
            env=environment("http://127.0.0.1:9/v1"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def start(self, deed, **arguments):
        """Start a process; return its id."""
        return self._order({"do": deed, **arguments})

    def kill(self, pid):
        """End a process with SIGKILL, whatever it is doing. Until it is waited for, its id is its own."""
        os.kill(pid, signal.SIGKILL)

    def wait(self, pid):
        """Return how a process ended."""
        return self._order({"wait": pid})

    def complaints(self):
        """Return what the processes have written to standard error."""
        self._errors.seek(0)
        return self._errors.read()

    def close(self):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _order(self, order):
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the nursery ended: {self.complaints()}"
        return json.loads(line)


def main(deeds):
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            _, status = os.waitpid(order["wait"], 0)
            answer(os.waitstatus_to_exitcode(status))
        else:
            answer(fork(getattr(deeds, order.pop("do")), order))


def fork(deed, arguments):
    """Run a coroutine function in a process of its own; return its id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        asyncio.run(deed(**arguments))
    except BaseException:  # noqa: BLE001 - told by the exit status, and on standard error
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def answer(value):
    print(json.dumps(value), flush=True)  # noqa: T201 - it is a program


if __name__ == "__main__":
    from tests.directory import deeds

    main(deeds)
