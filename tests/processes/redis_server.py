"""A real Redis server, for locks that processes share."""

import shutil
import tempfile
from contextlib import contextmanager

import pytest

from tests.servers import free_ports, listening


@contextmanager
def redis_server():
    """Run a Redis server that keeps nothing, on a free port of the loopback interface.

    Yields:
        Its URL.

    Skips the test where Redis is not installed: neither its server, nor the package redis.
    """
    pytest.importorskip("redis", reason="the package redis is not installed")
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed (on Debian: apt-get install redis-server)")
    (port,) = free_ports(1)
    with (
        tempfile.TemporaryDirectory() as folder,
        listening(launch(program, port, folder), ready="Ready to accept connections"),
    ):
        yield f"redis://127.0.0.1:{port}"


def launch(program, port, folder):
    return [
        *(program, "--bind", "127.0.0.1", "--port", str(port), "--dir", folder),
        *("--save", "", "--appendonly", "no", "--logfile", "", "--daemonize", "no"),
    ]
