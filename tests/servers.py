"""Servers of the Conversations API that others wrote, and a client, for tests over a socket."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest

START_SECONDS = 20


def client_of(base_url):
    transport = openai.DefaultAsyncHttpxClient(verify=False)  # plain HTTP: spares the loading of certificates
    return openai.AsyncOpenAI(base_url=base_url, api_key="sk-stand-in", http_client=transport)


class Replaceable:
    """An ASGI application that passes requests to the application of the current test.

    So one server does for many tests: stopping one takes longer than most tests.
    """

    app = None

    async def __call__(self, scope, receive, send):
        await self.app(scope, receive, send)


@contextmanager
def smg_server(*arguments):
    """Run smg, a gateway that keeps conversations in memory, on free ports of the loopback interface.

    Args:
        *arguments: Added to its command line, for example "--api-key", "key".

    Yields:
        Its base URL, as AsyncOpenAI takes it.

    Skips the test where smg is not installed.
    """
    port, metrics_port = free_ports(2)
    command = [find_smg(), *launch_arguments(port, metrics_port), *arguments]
    with tempfile.TemporaryFile() as log, running(command, log) as process:
        wait_until_alive(f"http://127.0.0.1:{port}/liveness", process, log)
        yield f"http://127.0.0.1:{port}/v1"


def launch_arguments(port, metrics_port):
    options = {
        "--host": "127.0.0.1",
        "--port": port,
        "--prometheus-host": "127.0.0.1",
        "--prometheus-port": metrics_port,
        "--backend": "openai",
        "--history-backend": "memory",
        "--log-level": "warn",
        "--shutdown-grace-period-secs": 0,
    }
    return ["launch", *(str(word) for option in options.items() for word in option)]


def find_smg(folder=Path(sys.executable).parent):
    """Return the path of smg: in the folder of this Python, on PATH, or as the variable SMG has it."""
    beside_python = shutil.which("smg", path=str(folder))
    found = beside_python or shutil.which("smg") or os.environ.get("SMG")
    if not found:
        pytest.skip("smg is not installed: neither beside this Python, nor on PATH, nor named by SMG")
    return found


def free_ports(number):
    sockets = [socket.socket() for _ in range(number)]
    try:
        for opened in sockets:
            opened.bind(("127.0.0.1", 0))
        return [opened.getsockname()[1] for opened in sockets]
    finally:
        for opened in sockets:
            opened.close()


@contextmanager
def running(command, log):
    """Run the command inside the block, its output in the log; kill it then, for it has nothing to save."""
    with subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def listening(command, *, ready, stop=signal.SIGKILL, cwd=None, env=None, seconds=START_SECONDS):
    """Run a server inside the block, from when its log says that it is ready; send it `stop` then.

    Yields:
        Its process.
    """
    with tempfile.TemporaryFile() as log:  # a pipe that nobody reads would stop the server once it is full
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=cwd, env=env)
        with process:
            try:
                wait_until_logged(ready, process, log, seconds)
                yield process
            finally:
                process.send_signal(stop)


def wait_until_logged(text, process, log, seconds=START_SECONDS):
    """Return once the log of a server holds the text; raise with it if it ended or took too long."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        if text.encode() in logged(log):
            return
        time.sleep(0.02)
    state = "is not ready" if process.poll() is None else f"ended with {process.returncode}"
    written = logged(log).decode(errors="replace")
    raise RuntimeError(f"{' '.join(map(str, process.args))} {state}; its log:\n{written}")


def logged(log):
    return os.pread(log.fileno(), os.fstat(log.fileno()).st_size, 0)  # the server writes at the position


def wait_until_alive(url, process, log, seconds=START_SECONDS):
    """Return once the server answers; raise with its log if it ended or did not answer in time."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        if answers(url):
            return
        time.sleep(0.05)
    log.seek(0)
    state = "is not ready" if process.poll() is None else f"ended with {process.returncode}"
    raise RuntimeError(f"{process.args[0]} {state}; its log:\n{log.read().decode(errors='replace')}")


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=1) as reply:  # noqa: S310 - a URL of the loopback interface
            return reply.status == 200
    except OSError:
        return False
