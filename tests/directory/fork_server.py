"""A fork server: a program that has imported everything, and forks a process for each command.

`python -m tests.directory.fork_server` reads commands from its input, one JSON object per line:
`{"do": ..., ...}` forks a process that runs that function of `tests.directory.deeds`, and prints its id;
`{"wait": pid}` prints how that process ended: its exit status, or minus a signal.
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


class ForkServer:
    """The program, as the tests use it."""

    def __init__(self):
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed at the end
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.directory.fork_server"],
            cwd=ROOT,
            env=environment("http://127.0.0.1:9/v1"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def start(self, deed, **arguments):
        """Start a process; return its id."""
        return self._send({"do": deed, **arguments})

    def kill(self, pid):
        """End a process with SIGKILL. Its id is not reused until `wait`."""
        os.kill(pid, signal.SIGKILL)

    def wait(self, pid):
        """Return how a process ended."""
        return self._send({"wait": pid})

    def errors(self):
        """Return the standard error of the processes."""
        self._errors.seek(0)
        return self._errors.read()

    def close(self):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _send(self, command):
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the fork server ended: {self.errors()}"
        return json.loads(line)


def main(deeds):
    for line in sys.stdin:
        command = json.loads(line)
        if "wait" in command:
            _, status = os.waitpid(command["wait"], 0)
            reply(os.waitstatus_to_exitcode(status))
        else:
            reply(fork(getattr(deeds, command.pop("do")), command))


def fork(deed, arguments):
    """Run a coroutine function in a forked process; return its id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        asyncio.run(deed(**arguments))
    except BaseException:  # noqa: BLE001 - reported by the exit status and on standard error
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def reply(value):
    print(json.dumps(value), flush=True)  # noqa: T201 - it is a program


if __name__ == "__main__":
    from tests.directory import deeds

    main(deeds)
